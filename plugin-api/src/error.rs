//! How an executor fails.

use std::fmt;

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
