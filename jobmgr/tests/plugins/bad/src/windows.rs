use jobmgr_plugin_api::{Context, Job, Outcome, Result};

use crate::Options;

/// Nothing that only works there.
pub fn run(_mode: &str, _job: &Job<Options>, _ctx: &Context<'_>) -> Option<Result<Outcome>> {
    None
}
