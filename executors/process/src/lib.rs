//! jobmgr's built-in executor: runs a job as a process and ends everything that it started.
//!
//! It expects a process of its own (`jobmgr runner`) that has no other children and runs one job at a time. On Linux
//! that process must be a child subreaper: what a job leaves behind is then found among its descendants, however it
//! tried to get away. On Windows each job gets a Job Object.

/// Which program a command means, and what is said when it can't be started.
mod command;
/// The file in which a job says how far it is.
mod progress;

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

use jobmgr_plugin_api::{Context, Error, Executor, Job, KillReason, NoConfig, Outcome, Result, Stop};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a process that outlived the job's own may keep the output open before it is killed.
const OPEN_PIPE_LIMIT: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone; longer means that the kernel holds it.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// How much output is read at once.
const PIECE: usize = 64 * 1024;
/// How often it is looked whether those that outlived a stopped job's own process have ended.
const REST_EVERY: Duration = Duration::from_millis(20);
/// How often a running job's progress is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Runs each job as a process of this machine.
pub struct Process;

/// What a jobspec may say in `[Options]`. Known on every platform, so that a jobspec can move.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Options {
    /// Windows: the command may be a `.bat` or `.cmd` file. `cmd.exe` reads their arguments by rules of its own
    /// (CVE-2024-24576), so say yes only if none of them comes from a stranger.
    pub allow_batch: bool,
}

impl Executor for Process {
    type Config = NoConfig;
    type Options = Options;
    const NAME: &'static str = "process";

    fn new(_config: NoConfig) -> Result<Self> {
        Ok(Self)
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        match ctx.stop() {
            Some(why) => Ok(Outcome::killed(reason(why))),
            None => platform::run(job, ctx),
        }
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
    platform::end_descendants(deadline)
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

fn unkillable() -> Error {
    Error::failed(format!(
        "unkillable: a process that the job started is still there {} s after it was killed; the kernel holds it (a hung \
         disk or network mount?)",
        KILL_LIMIT.as_secs()
    ))
}
