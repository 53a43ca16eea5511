//! The child process that runs jobs, and the worker's end of the line to it.
//!
//! A worker keeps one `jobmgr runner` per slot, for many jobs. The runner has no credentials in its memory or its
//! environment, leads a session of its own, and adopts whatever the job leaves behind (subreaper), so that it can end
//! it before it gives the result. When the line closes, the runner ends everything and itself: the death of the worker
//! is the death of its jobs.

/// The runner's own process: reads requests, runs executors, answers.
mod child;
/// The executors that this binary has.
pub mod executors;
/// What an executor sees of jobmgr.
mod host;
/// The worker's end.
mod link;
pub(crate) mod platform;
/// Executors in libraries of their own.
pub mod plugin;
/// Frames.
mod wire;

pub use child::main;
pub use jobmgr_executor_process::{abilities, launch};
pub use link::{Failure, Runner, Said};

use jobmgr_plugin_api::Job;
use serde::{Deserialize, Serialize};

/// What a runner is asked to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The executor's name.
    pub executor: String,
    /// The job, its options as JSON.
    pub job: Job<serde_json::Value>,
}
