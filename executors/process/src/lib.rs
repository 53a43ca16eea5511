//! jobmgr's built-in executor: runs a job as a process and ends everything that it started.
//!
//! It expects a process of its own (`jobmgr runner`) that has no other children and runs one job at a time. On Linux
//! that process must be a child subreaper: what a job leaves behind is then found among its descendants, however it
//! tried to get away. On Windows each job gets a Job Object.

/// Which program a command means, and what is said when it can't be started.
mod command;
/// What a jobspec may say in `[Options]`.
mod options;

/// Process groups, descendants, pipes without threads.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as platform;

/// Job Objects, threads that read pipes.
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

use std::time::Duration;

use jobmgr_plugin_api::{Context, Error, Executor, Job, KillReason, Kind, NoConfig, Outcome, Result, Stop};

pub use command::lacking;
pub use jobmgr_plugin_api::Size;
pub use options::{Limits, Options, Sandbox};

/// How long a process that outlived the job's own may keep the output open before it is killed.
const OPEN_PIPE_LIMIT: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone; longer means that the kernel holds it.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// In debug builds the variable that says how many milliseconds that is, for tests.
pub const KILL_LIMIT_VARIABLE: &str = "JOBMGR_KILL_LIMIT_MS";
/// How much output is read at once.
const PIECE: usize = 64 * 1024;
/// How often it is looked whether those that outlived a stopped job's own process have ended.
const REST_EVERY: Duration = Duration::from_millis(20);

/// Runs each job as a process of this machine.
pub struct Process;

impl Executor for Process {
    type Config = NoConfig;
    type Options = Options;
    const NAME: &'static str = "process";

    fn new(_config: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn validate(&self, options: &Options) -> Result<()> {
        options.check()?;
        platform::check_options(options)
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        match ctx.stop() {
            Some(why) => Ok(Outcome::killed(reason(why))),
            None => platform::run(job, ctx),
        }
    }
}

/// What of `User`, `Limits` and `Sandbox` this machine can do: the option's name (of a limit, its own), and why not.
pub fn abilities() -> Vec<(&'static str, Result<(), String>)> {
    platform::abilities()
}

/// The first argument with which this executor starts the program that it is in: see [`launch`].
pub const LAUNCH: &str = "runner-exec";

/// What a program that has this executor does first: where it was started to become the process of a job that has
/// `User`, `Limits` or `Sandbox`, it takes them on and becomes that job's command, and never returns. Otherwise it
/// does nothing.
///
/// Such a job is started in two steps: this program again, with [`LAUNCH`] as its first argument, which limits itself
/// and then executes the command. So the runner stays as it is and can run the next job.
pub fn launch() {
    if std::env::args_os().nth(1).is_some_and(|first| first == LAUNCH) {
        platform::launch();
    }
}

/// Kills what the job of this process has started, and returns when all of it is gone: `false` when something is left
/// after `deadline` (a process that the kernel holds). May be called from any thread.
///
/// On Linux it kills and reaps every descendant of this process, on Windows the running job's Job Object.
pub fn end_descendants(deadline: Duration) -> bool {
    platform::end_descendants(deadline)
}

/// As [`end_descendants`], and from now on no job starts in this process. For a runner whose server is gone: a job
/// that was about to start can't slip through.
pub fn close(deadline: Duration) -> bool {
    platform::close();
    let gone = platform::end_descendants(deadline);
    platform::clear();
    gone
}

fn reason(why: Stop) -> KillReason {
    match why {
        Stop::Cancel => KillReason::Cancelled,
        Stop::Timeout => KillReason::Timeout,
        _ => KillReason::Other,
    }
}

fn warn_of_open_pipe(ctx: &Context<'_>) {
    ctx.warn(format!(
        "output pipe left open: a process that the job started still held it {} s after the job's own had exited; it was \
         killed",
        OPEN_PIPE_LIMIT.as_secs()
    ));
}

fn kill_limit() -> Duration {
    let said = cfg!(debug_assertions).then(|| std::env::var(KILL_LIMIT_VARIABLE).ok()).flatten();
    said.and_then(|text| text.parse().ok()).map_or(KILL_LIMIT, Duration::from_millis)
}

fn unkillable() -> Error {
    let text = format!(
        "unkillable: a process that the job started is still there {:?} after it was killed; the kernel holds it (a hung \
         disk or network mount?)",
        kill_limit()
    );
    Error::new(Kind::Unkillable, text)
}
