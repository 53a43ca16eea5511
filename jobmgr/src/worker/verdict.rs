//! What an outcome means for the job.

use jobmgr_plugin_api::{Ending, KillReason, Outcome};

use crate::domain::duration::GoDuration;
use crate::domain::job::{Reason, Status};

/// A terminal status, its reason, and one line about it.
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
    pub(super) error: Option<String>,
}

impl Verdict {
    pub(super) fn failed(reason: Reason, error: impl Into<String>) -> Self {
        Verdict { status: Status::Failed, reason: Some(reason), error: Some(error.into()) }
    }

    /// Of a job that ended, however it did.
    pub(super) fn of(outcome: &Outcome, timeout: std::time::Duration) -> Self {
        let said = |reason, otherwise: &str| {
            Verdict::failed(reason, outcome.message.clone().unwrap_or_else(|| otherwise.to_owned()))
        };
        match outcome.ending {
            Ending::Exited(0) => Verdict { status: Status::Completed, reason: None, error: None },
            Ending::Exited(code) => Verdict::failed(Reason::ExitCode, format!("exit status {code}")),
            Ending::Signaled(signal) => Verdict::failed(Reason::Signal, format!("signal: {}", signal_name(signal))),
            Ending::Killed(KillReason::Timeout) => {
                Verdict::failed(Reason::Timeout, format!("timeout after {}", GoDuration::from(timeout)))
            }
            Ending::Killed(KillReason::Cancelled) => {
                Verdict { status: Status::Canceled, reason: Some(Reason::Canceled), error: Some("canceled".into()) }
            }
            Ending::Killed(KillReason::OutOfMemory) => {
                said(Reason::OomKilled, "out of memory: it was killed by what ran it")
            }
            Ending::Killed(KillReason::Preempted) => {
                said(Reason::Preempted, "preempted: its place was given to another job")
            }
            Ending::Killed(KillReason::NodeLost) => said(Reason::NodeLost, "the machine that it ran on is gone"),
            _ => said(Reason::ExecutorError, "ended by its executor"),
        }
    }
}

/// Linux's signals by the words that the original used: those of Go's `syscall.Signal`.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
