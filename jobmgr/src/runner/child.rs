//! The runner's own process: reads requests, runs executors, answers.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobmgr_plugin_api::{Context, Error, Kind, Outcome, Stop};

use super::host::Line;
use super::wire::{self, Frame, Type};
use super::{Request, executors, platform};
use crate::crash;

/// How long the end of a job's processes is waited for when the worker is gone.
const LAST_SWEEP: Duration = Duration::from_secs(60);

/// What `jobmgr runner` does: serves its worker until the line closes.
///
/// Two threads take turns. Whoever reads a request runs it, and leaves the reading to the other one meanwhile, so that
/// no request waits for a thread to wake up.
pub fn main() -> ExitCode {
    let (input, output) = match platform::become_runner() {
        Ok(line) => line,
        Err(error) => {
            eprintln!("jobmgr runner is started by jobmgr itself; it can't run alone: {error}");
            return ExitCode::from(2);
        }
    };
    let line = Arc::new(Line::new(output));
    let input = Arc::new(Mutex::new(input));
    if line.send(Type::Ready, env!("CARGO_PKG_VERSION").as_bytes(), &[]).is_err() {
        return ExitCode::FAILURE;
    }
    let second = std::thread::spawn({
        let (line, input) = (Arc::clone(&line), Arc::clone(&input));
        move || serve(&input, &line)
    });
    serve(&input, &line);
    // Who saw the line close is ending the jobs, and then the process.
    drop(second.join());
    ExitCode::FAILURE
}

/// Reads, and runs what it is asked to, in turn with the other thread.
fn serve(input: &Mutex<File>, line: &Line) {
    loop {
        let frame = next_request(input, line);
        let (status, json) = answer(run(&frame, line));
        crash::at(crash::Point::RunnerAfterExit);
        if line.send(Type::Done, &[status], &json).is_err() {
            return;
        }
    }
}

/// Reads until there is a request to run; stops are passed on. Ends the process when the line closes.
fn next_request(input: &Mutex<File>, line: &Line) -> Frame {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(Some(frame)) = wire::read(&mut *input) {
        match frame.kind {
            Type::Run => {
                // Before the other thread can read a stop for it.
                line.begin(frame.job);
                return frame;
            }
            Type::Stop => {
                let why = if frame.payload.first() == Some(&3) { Stop::Timeout } else { Stop::Cancel };
                line.stop(frame.job, why);
            }
            _ => break,
        }
    }
    jobmgr_executor_process::close(LAST_SWEEP);
    platform::exit_now();
}

fn run(frame: &Frame, line: &Line) -> Result<Outcome, Error> {
    let request: Request =
        serde_json::from_slice(&frame.payload).map_err(|error| Error::failed(format!("the request: {error}")))?;
    let host: &dyn jobmgr_plugin_api::Host = line;
    let ctx = Context::new(host);
    catch_unwind(AssertUnwindSafe(|| executors::run(&request.executor, request.job, &ctx))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned();
        // A payload's own Drop may panic again.
        std::mem::forget(panic);
        Err(Error::failed(format!("the executor panicked: {text}")))
    })
}

fn answer(result: Result<Outcome, Error>) -> (u8, Vec<u8>) {
    match result {
        Ok(outcome) => (0, serde_json::to_vec(&outcome).unwrap_or_default()),
        Err(error) => {
            let status = match error.kind() {
                Kind::Invalid => 1,
                Kind::Retry => 3,
                Kind::Stopped => 5,
                Kind::Unkillable => 9,
                _ => 2,
            };
            (status, error.to_string().into_bytes())
        }
    }
}
