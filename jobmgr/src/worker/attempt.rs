//! One claim to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::running::Running;
use super::verdict::Verdict;
use super::workspace::{Directory, Spare};
use super::{Shared, given};
use crate::domain::job::{Claim, Ended, Finish, Log, Reason};
use crate::runner::Runner;

/// When a job runs again that could not be run, or its result not be stored, now: doubled for each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest such pause: `AGAIN` doubled so often.
const DOUBLINGS: u32 = 9;

/// How an attempt ended, for the queue.
pub(super) enum Ending {
    /// The job ended.
    Finish(Box<Finish>),
    /// It could not be run now, or the worker ends: queued again, not counted.
    Release { delay: Duration, why: String },
    /// Its runner died.
    Crashed(String),
    /// The lease is lost.
    Fenced,
}

/// What a slot keeps from one attempt to the next.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) runner: Option<Runner>,
    pub(super) spare: Option<Spare>,
}

/// Where the objects of an attempt are in the store.
pub(super) fn key_prefix(claim: &Claim, attempt: i64) -> String {
    format!("jobs/{}/{attempt}", claim.id)
}

/// Runs the claim; gives its end, and its directory, which is still there.
pub(super) async fn run(
    shared: &Arc<Shared>,
    kept: &mut Kept,
    claim: &Claim,
    fence: &CancellationToken,
) -> (Ending, Option<Directory>) {
    let parts = &shared.parts;
    let spec = match parts.jobspecs.get(&claim.name) {
        Ok(spec) => spec,
        Err(why) => return (ended_early(claim, Verdict::failed(Reason::InvalidJob, why)), None),
    };
    let env = match given::parameters(claim, &spec) {
        Ok(env) => env,
        Err(verdict) => return (ended_early(claim, verdict), None),
    };
    let directory = match shared.root.directory(claim, kept.spare.take()) {
        Ok(directory) => directory,
        Err(error) => return (again(claim, format!("the temporary directory can't be made: {error}")), None),
    };
    let (request, warnings) = given::request(parts.store.installation(), claim, &spec, env, &directory);
    let mut running = Running::new(shared, claim, warnings);
    let said = running.run(&mut kept.runner, &spec, &request, fence).await;
    let ending = match said {
        Ok(outcome) => running.collect(&spec, outcome, &directory, fence).await,
        Err(ending) => ending,
    };
    (ending, Some(directory))
}

/// The job goes back to the queue, for longer each time.
pub(super) fn again(claim: &Claim, why: String) -> Ending {
    let before = u32::try_from(claim.attempt - 1).unwrap_or(0).min(DOUBLINGS);
    Ending::Release { delay: AGAIN * 2_u32.pow(before), why }
}

/// The end of a job that was never run.
fn ended_early(claim: &Claim, verdict: Verdict) -> Ending {
    let ended = Ended {
        error: verdict.error,
        exit_code: None,
        signal: None,
        stdout: Log::default(),
        stderr: Log::default(),
        output: None,
        warnings: Vec::new(),
        artifacts: Vec::new(),
        skipped: Vec::new(),
    };
    let finish = Finish { status: verdict.status, reason: verdict.reason, attempt: claim.attempt, ended };
    Ending::Finish(Box::new(finish))
}
