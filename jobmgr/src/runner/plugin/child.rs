use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::{Buf, Bytes};
use jobmgr_plugin_api::loaded::{Instance, Shown};
use jobmgr_plugin_api::{Error, Host, Kind, Outcome, Result, Stop, abi};
use serde_json::Value;

use super::host::{Calling, Line};
use super::line::{Load, Work};
use super::{Loaded, library};
use crate::runner::platform::{self, Role};
use crate::runner::wire::{self, Frame, Type};

/// How long the end of a job's processes is waited for when the worker is gone.
const LAST_SWEEP: Duration = Duration::from_secs(60);

/// How many threads a runner has of its own when its library is open: one reads the line, one takes calls.
pub const THREADS: usize = 2;

/// What `jobmgr runner --plugin --forks` does: forks runners; each of them comes out of it, as one.
pub fn forks() -> ExitCode {
    match platform::serve_forks(Helper::start) {
        Ok(Role::Runner(helper)) => serve(&helper),
        Ok(Role::Served) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jobmgr runner --forks, which is started by jobmgr itself, has ended: {error}");
            ExitCode::from(2)
        }
    }
}

/// What `jobmgr runner --plugin` does: opens the library that the worker names, and calls it until the line closes.
pub fn main() -> ExitCode {
    serve(&Helper::start())
}

fn serve(helper: &Helper) -> ExitCode {
    let (mut input, output) = match platform::become_runner() {
        Ok(line) => line,
        Err(error) => {
            eprintln!("jobmgr runner is started by jobmgr itself; it can't run alone: {error}");
            return ExitCode::from(2);
        }
    };
    let line = Arc::new(Line::new(output));
    if line.send(Type::Ready, 0, env!("CARGO_PKG_VERSION").as_bytes(), &[]).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(Some(frame)) = wire::read(&mut input) else { return ExitCode::FAILURE };
    drop(helper.begin.send((frame, Arc::clone(&line))));
    let mut made = None;
    while let Ok(Some(frame)) = wire::read(&mut input) {
        match frame.kind {
            Type::Stop => line.stop(frame.job, stop(frame.payload.first())),
            Type::Reply => line.answer(frame.job, frame.payload),
            Type::Call => {
                // The worker calls only what has said that it is loaded.
                let made: &Made = match made {
                    Some(ref made) => made,
                    None => match helper.made.try_recv() {
                        Ok(library) => made.insert(library),
                        Err(_) => break,
                    },
                };
                let calling = line.begin(frame.job);
                if made.idle.swap(false, Ordering::Acquire) {
                    drop(made.hand.send((frame, calling)));
                } else {
                    let instance = made.instance;
                    std::thread::spawn(move || call(instance, &frame, calling));
                }
            }
            _ => break,
        }
    }
    jobmgr_executor_process::close(LAST_SWEEP);
    platform::exit(0);
}

/// The thread that opens the library, and then takes a call whenever it has none; the others have threads of their own.
///
/// The library's constructors may hang, with the dynamic linker's lock; the worker's end must be seen all the same. A
/// thread needs that lock when it begins, so that none may begin while the library is being opened.
struct Helper {
    begin: Sender<(Frame, Arc<Line>)>,
    made: Receiver<Made>,
}

/// A library that is open.
struct Made {
    instance: &'static Instance<'static>,
    /// To the thread that has opened it.
    hand: Sender<(Frame, Calling)>,
    /// Whether that one has no call.
    idle: Arc<AtomicBool>,
}

impl Helper {
    fn start() -> Self {
        let (begin, begun) = channel::<(Frame, Arc<Line>)>();
        let (tell, made) = channel();
        std::thread::spawn(move || {
            let Ok((frame, line)) = begun.recv() else { return };
            let Some(instance) = load(&frame, &line) else { return };
            let (hand, calls) = channel();
            let idle = Arc::new(AtomicBool::new(true));
            // It is told before the worker knows that it may call.
            drop(tell.send(Made { instance, hand, idle: Arc::clone(&idle) }));
            if line.send(Type::Loaded, 0, &[], &[]).is_err() {
                return;
            }
            while let Ok((frame, calling)) = calls.recv() {
                call(instance, &frame, calling);
                idle.store(true, Ordering::Release);
            }
        });
        Self { begin, made }
    }
}

fn stop(byte: Option<&u8>) -> Stop {
    match byte {
        Some(2) => Stop::Detach,
        Some(3) => Stop::Timeout,
        _ => Stop::Cancel,
    }
}

/// Opens what the worker names; says so where it can't.
fn load(frame: &Frame, line: &Arc<Line>) -> Option<&'static Instance<'static>> {
    let calling = line.begin(0);
    match open(frame, line, &calling) {
        Ok(instance) => {
            // What it has printed belongs to its opening, not to the first job.
            flush();
            Some(Box::leak(Box::new(instance)))
        }
        Err(error) => {
            flush();
            // A worker that is gone needs no reason.
            drop(calling.done(error.kind().status(), error.to_string().as_bytes()));
            None
        }
    }
}

fn open(frame: &Frame, line: &Line, host: &dyn Host) -> Result<Instance<'static>> {
    let load: Load = serde_json::from_slice(&frame.payload).map_err(|error| Error::failed(error.to_string()))?;
    let limit = |error: io::Error| Error::failed(format!("the limits of its process can't be set: {error}"));
    platform::limit_runner(load.memory).map_err(limit)?;
    let library = Box::leak(Box::new(library::open(&load.path).map_err(Error::invalid)?));
    let description = library.describe(host)?;
    let loaded = Loaded { description, capabilities: library.capabilities(), abi: library.abi() };
    // The worker knows where its configuration says what does not fit.
    line.send(Type::Described, 0, &serde_json::to_vec(&loaded).unwrap_or_default(), &[])?;
    let shown = match load.shown.as_deref() {
        Some("first") => Shown::First,
        Some("larger") => Shown::Larger,
        _ => Shown::Whole,
    };
    library.create(host, &load.config, shown)
}

/// Calls one function of the executor.
fn call(instance: &Instance<'_>, frame: &Frame, calling: Calling) {
    let result = work(instance, frame.payload.clone(), &calling);
    flush();
    let (status, json) = match result {
        // What has no outcome ended well.
        Ok(outcome) => {
            let outcome = outcome.unwrap_or_else(|| Outcome::exited(0));
            (abi::status::OK, serde_json::to_vec(&outcome).unwrap_or_default())
        }
        Err(error) => (error.kind().status(), error.to_string().into_bytes()),
    };
    if calling.done(status, &json).is_err() {
        platform::exit(0);
    }
}

fn work(instance: &Instance<'_>, mut payload: Bytes, host: &dyn Host) -> Result<Option<Outcome>> {
    if payload.len() < 4 {
        return Err(Error::failed("a call without its head"));
    }
    let length = usize::try_from(payload.get_u32_le()).unwrap_or(usize::MAX);
    let head = payload.split_to(length.min(payload.len()));
    let work: Work = serde_json::from_slice(&head).map_err(|error| Error::failed(error.to_string()))?;
    match work {
        Work::Validate => {
            let options: Value = serde_json::from_slice(&payload).map_err(|error| Error::invalid(error.to_string()))?;
            instance.validate(host, &options).map(|()| None)
        }
        Work::Run => instance.run(host, &payload).map(Some),
        Work::Recover { handle } => match instance.recover(host, &payload, handle.as_deref()) {
            Err(error) if error.kind() == Kind::NeverStarted => instance.run(host, &payload).map(Some),
            other => other.map(Some),
        },
        Work::Cleanup { handle } => instance.cleanup(host, &payload, handle.as_deref()).map(|()| None),
    }
}

/// What C's standard output still holds is written.
fn flush() {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn fflush(stream: *mut std::ffi::c_void) -> std::ffi::c_int;
    }
    // SAFETY: null means every stream.
    #[allow(unsafe_code)]
    unsafe {
        fflush(std::ptr::null_mut());
    }
}
