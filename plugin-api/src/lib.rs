//! The interface between jobmgr and the executors that run its jobs.
//!
//! An executor implements [`Executor`]: one blocking function that runs one job to its end. It is called in a
//! process of its own (`jobmgr runner`), never in the server, so it may block, and a crash fails that one job.
//!
//! ```
//! use jobmgr_plugin_api::{Context, Executor, Job, NoConfig, NoOptions, Outcome, Result};
//!
//! /// Says hello and ends.
//! struct Hello;
//!
//! impl Executor for Hello {
//!     type Config = NoConfig;
//!     type Options = NoOptions;
//!     const NAME: &'static str = "hello";
//!
//!     fn new(_config: NoConfig) -> Result<Self> {
//!         Ok(Hello)
//!     }
//!
//!     fn run(&self, job: &Job<NoOptions>, ctx: &Context) -> Result<Outcome> {
//!         ctx.stdout(format!("hello from job {}\n", job.id))?;
//!         Ok(Outcome::exited(0))
//!     }
//! }
//! ```

mod context;
mod error;
mod job;
mod outcome;
pub mod test;

pub use context::{Context, Event, Host, OnStop, Stop, Stream};
pub use error::{Error, Kind, Result};
pub use job::{Job, Limits, NoConfig, NoOptions};
pub use outcome::{Ending, KillReason, Outcome};
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
