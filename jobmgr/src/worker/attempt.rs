//! One claim to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::leases::Hold;
use super::running::Running;
use super::verdict::Verdict;
use super::workspace::{Directory, Spare};
use super::{Shared, given};
use crate::domain::job::{Claim, Ended, Failure, Finish, Log, Reason};
use crate::domain::keys;
use crate::runner::Runner;
use crate::store::Worker;

/// When a job runs again that could not be run, or its result not be stored, now: doubled for each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest such pause: `AGAIN` doubled so often.
const DOUBLINGS: u32 = 9;

/// How long a job waits for a worker that has its jobspec.
pub(super) const UNKNOWN: Duration = Duration::from_secs(10);

/// How an attempt ended, for the queue.
pub(super) enum Ending {
    /// The job ended.
    Finish(Box<Finish>),
    /// It could not be run now, or the worker ends: queued again, not counted.
    Release { delay: Duration, why: String },
    /// It failed, and its jobspec says that it is tried again.
    Retry { delay: Duration, failure: Box<Failure> },
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
pub(super) fn key_prefix(shared: &Shared, claim: &Claim, attempt: i64) -> String {
    keys::of_attempt(shared.parts.store.installation(), claim.id, attempt)
}

/// Runs the claim; gives its end, and its directory, which is still there.
pub(super) async fn run(
    shared: &Arc<Shared>,
    kept: &mut Kept,
    claim: &Claim,
    hold: &Hold,
) -> (Ending, Option<Directory>) {
    let parts = &shared.parts;
    if hold.fence.is_cancelled() {
        return (Ending::Fenced, None);
    }
    let spec = match parts.jobspecs.get(&claim.name) {
        Ok(spec) => spec,
        Err(why) => return (unknown(shared, claim, why).await, None),
    };
    let env = match given::parameters(claim, &spec) {
        Ok(env) => env,
        Err(verdict) => return (ended_early(claim, verdict), None),
    };
    if !spec.rerun_after_crash
        && let Err(ending) = only_once(shared, claim, &hold.fence).await
    {
        return (ending, None);
    }
    let directory = match shared.root.directory(claim, kept.spare.take()) {
        Ok(directory) => directory,
        Err(error) => return (again(claim, format!("the temporary directory can't be made: {error}")), None),
    };
    let (request, warnings) = given::request(parts.store.installation(), claim, &spec, env, &directory);
    let mut running = Running::new(shared, claim, warnings);
    let said = running.run(&mut kept.runner, &spec, &request, hold).await;
    let ending = match said {
        Ok(outcome) => running.collect(&spec, outcome, &directory, hold).await,
        Err(ending) => ending,
    };
    (ending, Some(directory))
}

/// A job whose jobspec this worker does not have, or can't use: another one's, if that is alive, or nobody's.
async fn unknown(shared: &Shared, claim: &Claim, why: String) -> Ending {
    let store = &shared.parts.store;
    let (workers, offered) = match (store.workers().await, store.offered().await) {
        (Ok(workers), Ok(offered)) => (workers, offered),
        (Err(error), _) | (_, Err(error)) => return again(claim, error.to_string()),
    };
    let other = |worker: &Worker| worker.alive && worker.presence.slots > 0 && *worker.presence.id != *shared.root.id;
    let others = workers.iter().any(other);
    if others {
        shared.leave_to_others(&claim.name).await;
    }
    if others && offered.contains(&claim.name) {
        return Ending::Release { delay: Duration::ZERO, why: "another worker has its jobspec".into() };
    }
    // A worker that just started may not have said yet what it has.
    let age = u64::try_from(claim.started_ms - claim.created_ms).unwrap_or_default();
    if others && age < u64::try_from(UNKNOWN.as_millis()).unwrap_or(u64::MAX) {
        return Ending::Release { delay: Duration::from_secs(1), why: "no worker has its jobspec yet".into() };
    }
    ended_early(claim, Verdict::failed(Reason::InvalidJob, why))
}

/// Before anything of it runs, the row says that the job is not run again when its worker dies.
async fn only_once(shared: &Shared, claim: &Claim, fence: &CancellationToken) -> Result<(), Ending> {
    match super::slot::until_done(shared, fence, || shared.parts.store.limit_crashes(claim, 1)).await {
        Some(true) => Ok(()),
        Some(false) | None => Err(Ending::Fenced),
    }
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
    let finish =
        Finish { status: verdict.status, reason: verdict.reason, attempt: claim.attempt, chunks: false, ended };
    Ending::Finish(Box::new(finish))
}
