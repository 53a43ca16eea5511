//! The runner's own process: reads requests, runs executors, answers.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jobmgr_plugin_api::{Context, Error, Kind, Outcome, Stop};

use super::host::Line;
use super::wire::{self, Frame, Type};
use super::{Request, executors, platform};

/// How long the end of a job's processes is waited for when the worker is gone.
const LAST_SWEEP: Duration = Duration::from_secs(60);

/// What `jobmgr runner` does: serves its worker until the line closes.
pub fn main() -> ExitCode {
    let (input, output) = match platform::become_runner() {
        Ok(line) => line,
        Err(error) => {
            eprintln!("jobmgr runner is started by jobmgr itself; it can't run alone: {error}");
            return ExitCode::from(2);
        }
    };
    let line = Arc::new(Line::new(output));
    let (requests, inbox) = mpsc::channel();
    let reader = Arc::clone(&line);
    std::thread::spawn(move || read_all(input, &reader, &requests));
    if line.send(Type::Ready, env!("CARGO_PKG_VERSION").as_bytes(), &[]).is_err() {
        return ExitCode::FAILURE;
    }
    for frame in inbox {
        line.begin(frame.job);
        let result = run(&frame, &line);
        let (status, json) = answer(result);
        if line.send(Type::Done, &[status], &json).is_err() {
            break;
        }
    }
    // The reader ends the process when the line closes; wait for it.
    loop {
        std::thread::park();
    }
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
                _ => 2,
            };
            (status, error.to_string().into_bytes())
        }
    }
}

/// Reads until the line closes; then ends everything that the job started, and the process.
fn read_all(mut input: File, line: &Line, requests: &mpsc::Sender<Frame>) {
    while let Ok(Some(frame)) = wire::read(&mut input) {
        match frame.kind {
            Type::Run => {
                if requests.send(frame).is_err() {
                    break;
                }
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
