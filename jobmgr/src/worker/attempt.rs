//! One claim to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jobmgr_plugin_api::Job;
use tokio_util::sync::CancellationToken;

use super::elsewhere::Uploads;
use super::gpus::Share;
use super::leases::Hold;
use super::plugged::{Origin, Plugged};
use super::running::Running;
use super::verdict::Verdict;
use super::workspace::{Directory, Spare};
use super::{Shared, elsewhere, given, stage};
use crate::domain::job::{Claim, Ended, Failure, Finish, Log, Reason};
use crate::domain::jobspec::Jobspec;
use crate::domain::keys;
use crate::runner::Runner;
use crate::store::{Giving, Taken, Worker};

/// When a job runs again that could not be run, or its result not be stored, now: doubled for each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest such pause: `AGAIN` doubled so often, 80 seconds. What was away is found soon after it is back.
const DOUBLINGS: u32 = 4;

/// How long a job waits whose GPUs others turned out to have.
const BUSY: Duration = Duration::from_secs(1);

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
    /// It goes on elsewhere; whoever takes it over goes on with it, after `delay` at the earliest.
    Detach { delay: Duration, why: String },
    /// The lease is lost.
    Fenced,
}

impl Ending {
    /// What the metrics call it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Ending::Finish(finish) => finish.status.as_str(),
            Ending::Release { .. } => "released",
            Ending::Retry { .. } => "retried",
            Ending::Crashed(_) => "crashed",
            Ending::Detach { .. } => "detached",
            Ending::Fenced => "lost",
        }
    }

    /// Whether the job had a jobspec: the name of one that had none may be anything.
    pub(super) fn had_jobspec(&self) -> bool {
        match self {
            Ending::Finish(finish) => finish.reason != Some(Reason::InvalidJob),
            Ending::Retry { .. } | Ending::Crashed(_) => true,
            Ending::Release { .. } | Ending::Detach { .. } | Ending::Fenced => false,
        }
    }
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
    (hold, gpus): (&Hold, &mut Share),
    origin: Origin,
) -> (Ending, Option<Directory>) {
    let parts = &shared.parts;
    if hold.fence.is_cancelled() {
        return (Ending::Fenced, None);
    }
    let spec = match (parts.jobspecs.get(&claim.name), origin) {
        (Ok(spec), Origin::Taken(taken)) => return resume(shared, &spec, claim, hold, taken).await,
        // It runs, whether its jobspec is to be had now or not.
        (Err(why), Origin::Taken(_)) => return (Ending::Detach { delay: UNKNOWN, why }, None),
        (Ok(spec), Origin::Claimed) => spec,
        (Err(why), Origin::Claimed) => return (unknown(shared, claim, why).await, None),
    };
    let mut env = match given::parameters(&parts.secrets, claim, &spec) {
        Ok(env) => env,
        Err(verdict) => return (ended_early(claim, verdict), None),
    };
    if !spec.rerun_after_crash
        && let Err(ending) = only_once(shared, claim, &hold.fence).await
    {
        return (ending, None);
    }
    if let Err(ending) = give(shared, claim, &spec, hold, gpus).await {
        return (ending, None);
    }
    let plugged = parts.plugins.has(&spec.executor);
    let made = if plugged && parts.plugins.capabilities(&spec.executor).recover {
        shared.root.elsewhere(&given::key(parts.store.installation(), claim))
    } else {
        shared.root.directory(claim, kept.spare.take())
    };
    let directory = match made {
        Ok(directory) => directory,
        Err(error) => return (again(claim, format!("the temporary directory can't be made: {error}")), None),
    };
    match stage::inputs(shared, claim, &spec, &directory, hold).await {
        Ok(files) => env.extend(files),
        Err(ending) => return (ending, Some(directory)),
    }
    let (request, warnings) = given::request(parts.store.installation(), claim, &spec, env, (&directory, gpus.ids()));
    let mut running = Running::new(shared, claim, warnings);
    let said = if plugged {
        Plugged::new(shared, &spec, request.job, hold, Origin::Claimed).run(&mut running).await
    } else {
        running.run(&mut kept.runner, &spec, &request, hold).await
    };
    ended(running, said, &spec, directory, hold).await
}

/// Goes on with a job that runs elsewhere.
async fn resume(
    shared: &Arc<Shared>,
    spec: &Jobspec,
    claim: &Claim,
    hold: &Hold,
    taken: Box<Taken>,
) -> (Ending, Option<Directory>) {
    let job = elsewhere::opened(shared, (claim.id, claim.attempt), &taken.job);
    let job: Job<serde_json::Value> = match job.and_then(|job| serde_json::from_str(&job).map_err(|e| e.to_string())) {
        Ok(job) => job,
        Err(error) => {
            let why = format!("what its executor was given can't be read: {error}");
            return (ended_early(claim, Verdict::failed(Reason::CorruptRow, why)), None);
        }
    };
    let (directory, mut warnings) = (Directory::at(&job.dir), Vec::new());
    let directory = match directory {
        Some(directory) => directory,
        None => match shared.root.elsewhere(&job.key) {
            Ok(directory) => {
                warnings.push(
                    "the job began on another machine: what it left in its directory there is not collected".into(),
                );
                directory
            }
            Err(error) => {
                let why = format!("the temporary directory can't be made: {error}");
                return (Ending::Detach { delay: AGAIN, why }, None);
            }
        },
    };
    let mut running = Running::new(shared, claim, warnings);
    if let Err(error) = running.restore().await {
        return (Ending::Detach { delay: AGAIN, why: error.to_string() }, None);
    }
    running.uploads = Uploads::from_json(taken.uploads.as_deref());
    let said = Plugged::new(shared, spec, job, hold, Origin::Taken(taken)).run(&mut running).await;
    ended(running, said, spec, directory, hold).await
}

async fn ended(
    mut running: Running<'_>,
    said: super::running::Ran,
    spec: &Jobspec,
    directory: Directory,
    hold: &Hold,
) -> (Ending, Option<Directory>) {
    hold.granted.fetch_or(running.uploads.any(), Ordering::Relaxed);
    let ending = match said {
        Ok(outcome) => running.collect(spec, outcome, &directory, hold).await,
        Err(ending) => ending,
    };
    if !matches!(ending, Ending::Finish(_)) {
        hold.fence.run_until_cancelled(running.last_words()).await;
    }
    // Where the job goes on, it goes on in its directory.
    let stays = hold.elsewhere.load(Ordering::Relaxed) && matches!(ending, Ending::Detach { .. } | Ending::Fenced);
    (ending, (!stays).then_some(directory))
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

/// Gives the job the GPUs that its jobspec says. Where it has just changed, they are not at hand yet.
async fn give(shared: &Shared, claim: &Claim, spec: &Jobspec, hold: &Hold, gpus: &mut Share) -> Result<(), Ending> {
    loop {
        if !gpus.fit(spec.gpus) {
            shared.stale.notify_one();
            let why = format!("it needs {} GPUs, and this worker has not so many now", spec.gpus);
            return Err(Ending::Release { delay: BUSY, why });
        }
        if spec.gpus == 0 {
            return Ok(());
        }
        let give = || shared.parts.store.give_gpus(claim, gpus.ids().to_vec());
        match super::slot::until_done(shared, &hold.fence, give).await {
            Some(Giving::Given) => return Ok(()),
            // There may be others.
            Some(Giving::InUse(ids)) => gpus.lose(&ids),
            Some(Giving::Lost) | None => return Err(Ending::Fenced),
        }
    }
}

/// The job goes back to the queue, for longer each time.
pub(super) fn again(claim: &Claim, why: String) -> Ending {
    Ending::Release { delay: pause(claim.attempt), why }
}

/// How long a job waits after such an attempt: between half and the whole of its time, so that many that were given
/// back at once don't come back at once.
fn pause(attempt: i64) -> Duration {
    let before = u32::try_from(attempt - 1).unwrap_or(u32::MAX).min(DOUBLINGS);
    (AGAIN * 2_u32.pow(before)).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The end of a job that was never run.
pub(super) fn ended_early(claim: &Claim, verdict: Verdict) -> Ending {
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
        executor_log: Log::default(),
    };
    let finish =
        Finish { status: verdict.status, reason: verdict.reason, attempt: claim.attempt, chunks: false, ended };
    Ending::Finish(Box::new(finish))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_90_pauses_grow_to_a_limit_and_differ() {
        for (attempt, longest) in [(1, 5), (2, 10), (4, 40), (5, 80), (6, 80), (i64::MAX, 80)] {
            let longest = Duration::from_secs(longest);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(attempt)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{attempt}: {pauses:?}");
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*most - *least > longest / 4, "{attempt}: all at once: {least:?} to {most:?}");
        }
    }
}
