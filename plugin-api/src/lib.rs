#![doc = include_str!("../README.md")]

/// The C interface.
pub mod abi;
pub mod clustered;
mod command;
mod context;
mod error;
/// The library's half of the C interface.
#[doc(hidden)]
pub mod export;
mod job;
/// jobmgr's half of the C interface: calls the functions of a library's table.
pub mod loaded;
mod outcome;
pub mod progress;
/// Executors on a runtime of tokio.
#[cfg(feature = "tokio")]
pub mod runtime;
mod size;
mod stops;
pub mod test;
pub mod wrapped;

pub use clustered::{Cluster, Clustered, Poll};
pub use context::{Context, Event, Host, MAX_HANDLE, OnStop, Stop, StopGuard, Stream};
pub use error::{Error, Kind, Result};
pub use job::{Job, Limits, Logged, NoConfig, NoOptions};
pub use outcome::{Ending, KillReason, Outcome};
pub use size::Size;
pub use stops::Stops;
pub use {schemars, serde, serde_json};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// What runs jobs. Everything blocks; the runner gives every job a thread of its own.
pub trait Executor: Sized + Send + Sync + 'static {
    /// What the server's configuration says about this executor, once for all jobs.
    type Config: DeserializeOwned + JsonSchema;
    /// What a jobspec may say in `[Options]`. Its schema is checked when the jobspec loads.
    type Options: DeserializeOwned + JsonSchema;
    /// The name by which a jobspec selects it.
    const NAME: &'static str;

    /// Makes the executor from its configuration.
    ///
    /// # Errors
    /// When the configuration can't serve; no job runs then.
    fn new(config: Self::Config) -> Result<Self>;

    /// Checks what a schema can't say. No side effects, no network.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with a text that names the option.
    fn validate(&self, _options: &Self::Options) -> Result<()> {
        Ok(())
    }

    /// Runs the job to its end.
    ///
    /// `Ok` says that the job ended, with whatever exit code; `Err` that the executor failed.
    ///
    /// # Errors
    /// See [`Kind`].
    fn run(&self, job: &Job<Self::Options>, ctx: &Context<'_>) -> Result<Outcome>;
}

/// What executors do whose jobs outlive the process that began them: in a container engine, on a cluster. jobmgr
/// detaches from them when it ends, and goes on with them when it is back. Ask for it with
/// `export_executor!(Mine, recover)`.
pub trait Recover: Executor {
    /// Goes on with a job in a new process when the old one is gone.
    ///
    /// `handle` is the last [`checkpoint`](Context::checkpoint), or `None` when the old process ended before its first:
    /// the job is then to be looked for by [`Job::key`]. Of its output only what comes after [`Job::logged`] is given.
    ///
    /// # Errors
    /// [`Error::lost`] when it can't be found any more, [`Error::never_started`] when it has surely never begun, and as
    /// for [`run`](Executor::run).
    fn recover(&self, job: &Job<Self::Options>, handle: Option<&[u8]>, ctx: &Context<'_>) -> Result<Outcome>;

    /// Removes what the job left behind: containers, scratch. Called after every end, also a forced one; may be called
    /// twice.
    ///
    /// # Errors
    /// When something is left; it is tried again later and never changes the job's result.
    fn cleanup(&self, _job: &Job<Self::Options>, _handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<()> {
        Ok(())
    }
}
