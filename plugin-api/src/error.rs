//! How an executor fails.

use std::fmt;

use crate::abi::status;

/// Shorthand for what executors return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the server makes of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The options, the command or the configuration are wrong; trying again does not help.
    Invalid,
    /// The executor could not do it; trying again does not help.
    Failed,
    /// The executor could not do it now; the job is queued again.
    Retry,
    /// The work ended because a stop was asked for.
    Stopped,
    /// There is no such function or method.
    Unsupported,
    /// A programming error was caught.
    Panicked,
    /// [`recover`](crate::Recover::recover): the job can't be found any more.
    Lost,
    /// [`recover`](crate::Recover::recover): the job has surely never begun; `run` may be called again.
    NeverStarted,
    /// A process of the job is still on this machine, whatever was done to end it: the kernel holds it. The worker
    /// takes no more jobs after that.
    Unkillable,
}

impl Kind {
    /// As the C interface has it.
    pub fn status(self) -> i32 {
        match self {
            Kind::Invalid => status::INVALID,
            Kind::Failed => status::FAILED,
            Kind::Retry => status::RETRY,
            Kind::Stopped => status::STOPPED,
            Kind::Unsupported => status::UNSUPPORTED,
            Kind::Panicked => status::PANICKED,
            Kind::Lost => status::LOST,
            Kind::NeverStarted => status::NEVER_STARTED,
            Kind::Unkillable => status::UNKILLABLE,
        }
    }

    /// From the C interface; what is not known there is a failure.
    pub fn from_status(status: i32) -> Self {
        match status {
            status::INVALID => Kind::Invalid,
            status::RETRY => Kind::Retry,
            status::STOPPED => Kind::Stopped,
            status::UNSUPPORTED => Kind::Unsupported,
            status::PANICKED => Kind::Panicked,
            status::LOST => Kind::Lost,
            status::NEVER_STARTED => Kind::NeverStarted,
            status::UNKILLABLE => Kind::Unkillable,
            _ => Kind::Failed,
        }
    }
}

/// A failure of the executor, not of the job.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
}

impl Error {
    /// The options, the command or the configuration are wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, message: message.into() }
    }

    /// The executor could not do it.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into() }
    }

    /// The executor could not do it now.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { kind: Kind::Retry, message: message.into() }
    }

    /// A stop was asked for.
    pub fn stopped() -> Self {
        Self { kind: Kind::Stopped, message: "stopped".into() }
    }

    /// `recover`: the job can't be found any more.
    pub fn lost(message: impl Into<String>) -> Self {
        Self { kind: Kind::Lost, message: message.into() }
    }

    /// `recover`: the job has surely never begun.
    pub fn never_started() -> Self {
        Self { kind: Kind::NeverStarted, message: "never started".into() }
    }

    /// Of any kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What the server makes of it.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    /// A failure of the executor; map it to [`Error::retry`] where trying again may help.
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
