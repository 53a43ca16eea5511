//! Executors in libraries of their own.
//!
//! The worker never opens such a library: a runner process does, for one job, or for all jobs of an executor that can
//! run several and can recover them. A library that crashes, hangs or leaks takes nothing along but its runner.

/// What executors say about options, beyond their schemas.
mod answers;
/// The runner's process: opens the library, calls its functions.
mod child;
/// Where a library is, and whether it may be opened.
mod file;
/// A library in this very process.
mod here;
/// What a library sees of jobmgr, from inside the runner.
mod host;
/// Opening a library; the only place that does.
mod library;
/// The worker's end of the line to a runner.
mod line;
/// Runners that are kept ready, and those that are shared.
mod pool;
/// Options against a library's schema.
mod schema;

pub use child::{THREADS, forks, main};
pub use file::{Found, find};
pub use here::run_here;
pub use line::{Call, Load, Loading, Runner, Work};
pub use pool::{About, Plugins, Ready, environment};
pub use schema::Wrong;

use jobmgr_plugin_api::loaded::{Capabilities, Description};
use serde::{Deserialize, Serialize};

/// What a runner tells of the library that it has opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// What the executor says of itself.
    pub description: Description,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The version of the interface that it was built with.
    pub abi: (u16, u16),
}
