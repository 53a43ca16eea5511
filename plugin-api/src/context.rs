//! What an executor may ask of jobmgr while it runs a job.

use std::time::Duration;

use crate::{Error, Result};

/// Where output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// The job's standard output.
    Stdout,
    /// The job's standard error.
    Stderr,
}

/// Why a job has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Somebody asked for it, or the server ends.
    Cancel,
    /// It ran longer than its jobspec allows.
    Timeout,
}

/// Something to tell about a running job.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// How far it is; the last one counts.
    Progress {
        /// 0 to 100.
        percent: f64,
        /// What it is doing.
        message: String,
    },
    /// Something that its owner should know; kept with the job.
    Warning(String),
}

/// What is called when a stop is asked for.
pub type OnStop = Box<dyn FnMut(Stop) + Send>;

/// The other side of a [`Context`]: the runner, or [`test::Host`](crate::test::Host).
pub trait Host: Sync {
    /// Appends to a stream. Blocks while the server is slower.
    ///
    /// # Errors
    /// When the server is gone.
    fn log(&self, stream: Stream, data: &[u8]) -> Result<()>;
    /// Tells something; may be merged with later ones.
    fn event(&self, event: Event);
    /// Waits for a stop, at most `limit`.
    fn wait_stop(&self, limit: Duration) -> Option<Stop>;
    /// Sets what is called, once, on a thread of the host, when a stop is asked for; at once if one
    /// already was. `None` takes it back, and returns only when it is not running.
    fn on_stop(&self, call: Option<OnStop>);
}

/// The executor's handle to jobmgr, good for one call of `run`. May be used from any thread.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    host: &'a dyn Host,
}

impl<'a> Context<'a> {
    /// Wraps a host.
    pub fn new(host: &'a dyn Host) -> Self {
        Self { host }
    }

    /// Appends to the job's standard output.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn stdout(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.host.log(Stream::Stdout, data.as_ref())
    }

    /// Appends to the job's standard error.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn stderr(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.host.log(Stream::Stderr, data.as_ref())
    }

    /// Appends to a stream.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn log(&self, stream: Stream, data: &[u8]) -> Result<()> {
        self.host.log(stream, data)
    }

    /// Says how far the job is: 0 to 100, and what it is doing.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        self.host.event(Event::Progress { percent, message: message.into() });
    }

    /// Leaves a note with the job that its owner should read.
    pub fn warn(&self, message: impl Into<String>) {
        self.host.event(Event::Warning(message.into()));
    }

    /// The stop that was asked for, if one was.
    pub fn stop(&self) -> Option<Stop> {
        self.host.wait_stop(Duration::ZERO)
    }

    /// Waits for a stop, at most `limit`.
    pub fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.host.wait_stop(limit)
    }

    /// Sleeps, unless a stop is asked for.
    ///
    /// # Errors
    /// [`Kind::Stopped`](crate::Kind::Stopped) when it was.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        self.wait_stop(duration).map_or(Ok(()), |_| Err(Error::stopped()))
    }

    /// Has `call` called when a stop is asked for, to break a blocking call, until the guard is dropped.
    /// One at a time.
    #[must_use = "the call is taken back when the guard is dropped"]
    pub fn on_stop(&self, call: impl FnMut(Stop) + Send + 'static) -> StopGuard<'a> {
        self.host.on_stop(Some(Box::new(call)));
        StopGuard { host: self.host }
    }
}

/// Takes the call of [`Context::on_stop`] back when it is dropped.
pub struct StopGuard<'a> {
    host: &'a dyn Host,
}

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.host.on_stop(None);
    }
}
