use std::path::Path;

use jobmgr_plugin_api::loaded::Shown;
use jobmgr_plugin_api::{Host, Outcome, Result};
use serde_json::Value;

use super::library;

/// Opens a library in this very process and runs one job, given as JSON, for a debugger. What it does wrong ends this
/// process.
///
/// # Errors
/// As the executor failed, or why it can't be had.
pub fn run_here(path: &Path, config: &Value, job: &[u8], host: &dyn Host) -> Result<Outcome> {
    let library = Box::leak(Box::new(library::open(path).map_err(jobmgr_plugin_api::Error::invalid)?));
    library.create(host, config, Shown::Whole)?.run(host, job)
}
