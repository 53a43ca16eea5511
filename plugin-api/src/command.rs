//! A command of this machine as a job.

use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Context, Error, KillReason, Outcome, Result, Stop, Stream};

/// How long a command that was asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is still read when the command has ended and somebody else holds it open.
const REST: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);

impl Context<'_> {
    /// Runs a command to its end: its output becomes the job's, a stop ends it (politely first, on Unix with its
    /// process group). For tools that do the work themselves; a job's own command is the process executor's business.
    ///
    /// # Errors
    /// [`Error::invalid`] when there is no such program, [`Error::retry`] when it can't be started now, and when
    /// jobmgr is gone.
    pub fn run_command(&self, command: &mut Command) -> Result<Outcome> {
        if let Some(why) = self.stop() {
            return Ok(Outcome::killed(reason(why)));
        }
        own_group(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Error::invalid(format!("{name}: {error}")),
            _ => Error::retry(format!("{name}: {error}")),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let state = Shared::default();
        std::thread::scope(|scope| {
            let out = stdout.map(|output| scope.spawn(|| pass_on(self, Stream::Stdout, output, &state)));
            let err = stderr.map(|output| scope.spawn(|| pass_on(self, Stream::Stderr, output, &state)));
            let ended = wait(self, &mut child, &state.gone);
            let until = Instant::now() + REST;
            let reads = || [&out, &err].into_iter().flatten().any(|reader| !reader.is_finished());
            while reads() && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
            if reads() {
                // Whoever still holds the output is of the command's making.
                kill(&mut child);
            }
            state.over.store(true, Ordering::Relaxed);
            ended
        })
    }
}

/// What the readers and who waits share.
#[derive(Default)]
struct Shared {
    /// Why nobody takes the output any more.
    gone: Mutex<Option<Error>>,
    /// The output is not waited for any more.
    over: AtomicBool,
}

/// Waits until there is something to read; `false`: there never will be.
#[cfg(unix)]
fn readable(output: &impl std::os::fd::AsFd, over: &AtomicBool) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while !over.load(Ordering::Relaxed) {
        if !matches!(poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&pause)), Ok(0)) {
            return true;
        }
    }
    false
}

/// A pipe can't be waited for here: the job object of the runner ends who holds it.
#[cfg(not(unix))]
fn readable<R>(_output: &R, _over: &AtomicBool) -> bool {
    true
}

#[cfg(unix)]
trait Output: Read + std::os::fd::AsFd {}
#[cfg(unix)]
impl<R: Read + std::os::fd::AsFd> Output for R {}
#[cfg(not(unix))]
trait Output: Read {}
#[cfg(not(unix))]
impl<R: Read> Output for R {}

/// Reads until the end; remembers an error of the host.
fn pass_on(ctx: &Context<'_>, stream: Stream, mut output: impl Output, state: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    while readable(&output, &state.over) {
        let count = match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if let Err(error) = ctx.log(stream, &buffer[..count]) {
            *state.gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            return;
        }
    }
}

fn wait(ctx: &Context<'_>, child: &mut Child, gone: &Mutex<Option<Error>>) -> Result<Outcome> {
    let mut stopping: Option<(Stop, Instant)> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(stopping.map_or_else(|| outcome(status), |(why, _)| Outcome::killed(reason(why))));
        }
        if let Some(error) = gone.lock().unwrap_or_else(PoisonError::into_inner).take() {
            kill(child);
            child.wait()?;
            return Err(error);
        }
        match stopping {
            Some((_, until)) => {
                if Instant::now() >= until {
                    kill(child);
                }
                std::thread::sleep(LOOK);
            }
            None => {
                if let Some(why) = ctx.wait_stop(LOOK) {
                    stopping = Some((why, Instant::now() + GRACE));
                    terminate(child);
                }
            }
        }
    }
}

fn reason(why: Stop) -> KillReason {
    if why == Stop::Timeout { KillReason::Timeout } else { KillReason::Cancelled }
}

#[cfg(unix)]
fn outcome(status: ExitStatus) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::exited(code),
        (None, Some(signal)) => Outcome::signaled(signal),
        (None, None) => Outcome::killed(KillReason::Other),
    }
}

#[cfg(not(unix))]
fn outcome(status: ExitStatus) -> Outcome {
    status.code().map_or_else(|| Outcome::killed(KillReason::Other), Outcome::exited)
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

#[cfg(unix)]
fn signal(child: &Child, signal: rustix::process::Signal) {
    if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or_default()) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    signal(child, rustix::process::Signal::TERM);
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    kill(child);
}

fn kill(child: &mut Child) {
    #[cfg(unix)]
    signal(child, rustix::process::Signal::KILL);
    // It may have ended by itself.
    let _ = child.kill();
}
