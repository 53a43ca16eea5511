//! Claim after claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Shared;
use super::attempt::{self, Ending, Kept};
use super::elsewhere::forget_uploads;
use super::gpus::Share;
use super::leases::{self, Hold};
use super::plugged::Origin;
use crate::crash;
use crate::domain::job::{Claim, Finish};
use crate::metrics;
use crate::runner::Runner;
use crate::store::{Scope, StoreError, Taken};
use crate::telemetry;

/// After which pauses the objects of an attempt that lost its lease are looked for again.
const LATE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(20)];
/// How long writes of an ended attempt are tried again while the database is away, beside the lease.
const PAUSE: Duration = Duration::from_millis(500);

/// Works until the worker drains.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut kept = Kept::default();
    let mut claimed = None;
    while let Some(held) = next(&shared, claimed.take()).await {
        claimed = work(&shared, &mut kept, held, Origin::Claimed, true).await;
    }
    if let Some(runner) = kept.runner {
        Runner::end(runner).await;
    }
}

/// A claim; its lease, which is renewed from the moment that it is made; the turn of a job with a last chance; and its
/// GPUs.
type Held = (Claim, Hold, Turn, Share);

/// The right to claim a job with a last chance, and to run it. A job that kills its worker takes those beside it along;
/// since two of them are never side by side, it takes none of them into its own end.
type Turn = Option<OwnedSemaphorePermit>;

fn turn(shared: &Shared) -> Turn {
    Arc::clone(&shared.last_chance).try_acquire_owned().ok()
}

/// `asked`: when the claim was asked for. One whose answer took too long is not begun: the first look at the fences
/// would end it.
fn hold(shared: &Shared, claim: Claim, asked: Duration, turn: Turn, gpus: Share) -> Held {
    crash::at(crash::Point::AfterClaim);
    let hold = shared.leases.hold(&claim, asked);
    shared.leases.fence_stale(shared.parts.config.lease);
    let turn = turn.filter(|_| claim.last_chance);
    (claim, hold, turn, gpus)
}

/// Works for an executor that runs several jobs at once, beside the slots, until the worker drains.
pub(super) async fn run_group(shared: Arc<Shared>, name: String, room: Arc<Semaphore>) {
    while !shared.draining.is_cancelled() {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Some(held) = next_of_group(&shared, &name).await else { return };
        let shared = Arc::clone(&shared);
        let task = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let mut kept = Kept::default();
            work(&task, &mut kept, held, Origin::Claimed, false).await;
            forget_kept(kept).await;
            drop(place);
        });
    }
}

/// Goes on with a job that was taken over; `asked`: when that was asked for.
pub(super) async fn resume(shared: &Arc<Shared>, taken: Taken, asked: Duration, room: &Arc<Semaphore>) {
    let gpus = shared.gpus.held(taken.gpus.clone());
    let Ok(place) = Arc::clone(room).acquire_owned().await else { return };
    let held = hold(shared, taken.claim.clone(), asked, None, gpus);
    held.1.elsewhere.store(true, Ordering::Relaxed);
    if taken.canceled {
        held.1.cancel.cancel();
    }
    let task = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let mut kept = Kept::default();
        work(&task, &mut kept, held, Origin::Taken(Box::new(taken)), false).await;
        forget_kept(kept).await;
        drop(place);
    });
}

async fn forget_kept(kept: Kept) {
    if let Some(runner) = kept.runner {
        runner.end().await;
    }
    if let Some(spare) = kept.spare {
        spare.remove();
    }
}

async fn next_of_group(shared: &Shared, name: &str) -> Option<Held> {
    let config = &shared.parts.config;
    while !shared.draining.is_cancelled() {
        let signal = shared.parts.store.any_work().notified();
        tokio::pin!(signal);
        signal.as_mut().enable();
        if let Some(held) = claim(shared, || shared.groups.borrow().get(name).cloned()).await {
            return Some(held);
        }
        let mut groups = shared.groups.clone();
        groups.mark_unchanged();
        let jitter = config.poll.mul_f64(fastrand::f64() * 0.1);
        tokio::select! {
            () = signal => {}
            _ = groups.changed() => {}
            () = tokio::time::sleep(config.poll + jitter) => {}
            () = shared.draining.cancelled() => {}
        }
    }
    None
}

/// Removes what this holder has uploaded, unless another one goes on with the attempt: the two share its place. What was
/// on its way just then arrives all the same, so it is done again a little later; nobody else has this place.
async fn forget_own(shared: &Shared, claim: &Claim, hold: &Hold) {
    if hold.elsewhere.load(Ordering::Relaxed) {
        return;
    }
    let prefix = attempt::key_prefix(shared, claim, claim.attempt);
    let blobs = shared.parts.blobs.clone();
    drop(blobs.delete_prefix(&prefix).await);
    tokio::spawn(async move {
        for pause in LATE {
            tokio::time::sleep(pause).await;
            drop(blobs.delete_prefix(&prefix).await);
        }
    });
}

/// The claim at hand, or the next one; `None` when the worker drains.
async fn next(shared: &Shared, claimed: Option<Held>) -> Option<Held> {
    let config = &shared.parts.config;
    if claimed.is_some() {
        return claimed;
    }
    while !shared.draining.is_cancelled() {
        // Listens before it looks, so that no signal is lost in between.
        let signal = shared.parts.store.work().notified();
        tokio::pin!(signal);
        signal.as_mut().enable();
        if let Some(held) = claim(shared, || Some(Arc::clone(&shared.scope.borrow()))).await {
            return Some(held);
        }
        let jitter = config.poll.mul_f64(fastrand::f64() * 0.1);
        tokio::select! {
            () = signal => {}
            () = tokio::time::sleep(config.poll + jitter) => {}
            () = shared.draining.cancelled() => {}
        }
    }
    None
}

/// One look at the queue; `scope`: what may be claimed at that moment.
async fn claim(shared: &Shared, scope: impl Fn() -> Option<Arc<Scope>>) -> Option<Held> {
    let may = || scope().filter(|_| !shared.draining.is_cancelled());
    let (choice, scope) = shared.draining.run_until_cancelled(shared.gpus.choose(may)).await??;
    let (asked, turn) = (leases::now(), turn(shared));
    let claiming = shared.claiming(scope, turn.is_none());
    let claimed = shared.parts.store.claim(&claiming, 1).await;
    let claimed = claimed.unwrap_or_else(|error| {
        warn!(%error, "can't claim");
        Vec::new()
    });
    let claim = claimed.into_iter().next();
    let gpus = choice.keep(claim.as_ref(), &claiming.scope);
    claim.map(|claim| hold(shared, claim, asked, turn, gpus))
}

/// Runs a claim to its end; gives the claim that was made with it.
async fn work(shared: &Arc<Shared>, kept: &mut Kept, held: Held, origin: Origin, claims: bool) -> Option<Held> {
    let _busy = metrics::busy(if claims { metrics::Place::Slot } else { metrics::Place::Beside });
    let next = to_its_end(shared, kept, held, origin, claims).await;
    if shared.parts.plugins.names().next().is_some() {
        shared.untidy.notify_one();
        shared.parts.plugins.refill();
    }
    next
}

/// From when it could start to its claim.
fn waited(claim: &Claim) -> Duration {
    let since = claim.created_ms.max(claim.run_after_ms);
    Duration::from_millis(u64::try_from(claim.started_ms - since).unwrap_or_default())
}

async fn to_its_end(
    shared: &Arc<Shared>,
    kept: &mut Kept,
    (mut claim, hold, turn, mut gpus): Held,
    origin: Origin,
    claims: bool,
) -> Option<Held> {
    let waited = matches!(origin, Origin::Claimed).then(|| waited(&claim));
    if let Some(waited) = waited {
        metrics::claimed(waited);
    }
    let trace = telemetry::attempt(&claim, waited);
    claim.trace_parent = trace.parent().map(|parent| parent.to_string());
    let begun = Instant::now();
    let (ending, directory) = attempt::run(shared, kept, &claim, (&hold, &mut gpus), origin).await;
    if hold.elsewhere.load(Ordering::Relaxed) && matches!(ending, Ending::Detach { .. } | Ending::Fenced) {
        gpus.leave();
    }
    metrics::attempted(&claim.name, ending.had_jobspec(), ending.word(), begun.elapsed());
    trace.end(ending.word());
    let next = match ending {
        Ending::Finish(finish) => {
            let finish = Arc::new(*finish);
            let removal = async {
                match directory {
                    Some(directory) => directory.remove(&shared.parts.config, finish.status).await,
                    None => None,
                }
            };
            // The commit waits for the disk; the directory goes meanwhile.
            let (next, spare) =
                tokio::join!(self::finish(shared, (&claim, &finish), &hold, (turn, gpus), claims), removal);
            kept.spare = spare.or(kept.spare.take());
            if claim.attempt > 1 {
                tokio::spawn(forget_earlier(Arc::clone(shared), claim));
            }
            return next;
        }
        Ending::Release { delay, why } => {
            warn!(job = claim.id, attempt = claim.attempt, %why, "gave the job back");
            let done = until_done(shared, &hold.fence, || shared.parts.store.release(&claim, delay, &why)).await;
            crash::at(crash::Point::AfterRelease);
            left(shared, &claim, &hold, done).await;
            None
        }
        Ending::Detach { delay, why } => {
            info!(job = claim.id, attempt = claim.attempt, %why, "left the job running");
            let done = until_done(shared, &hold.fence, || shared.parts.store.detach(&claim, delay)).await;
            left(shared, &claim, &hold, done).await;
            None
        }
        Ending::Retry { delay, failure } => {
            warn!(job = claim.id, attempt = claim.attempt, error = failure.error, ?delay, "failed; is tried again");
            let failure = Arc::new(*failure);
            let retry = || shared.parts.store.retry(&claim, Arc::clone(&failure), delay);
            let done = until_done(shared, &hold.fence, retry).await;
            left(shared, &claim, &hold, done).await;
            None
        }
        Ending::Crashed(why) => {
            error!(job = claim.id, attempt = claim.attempt, %why, "the runner died");
            let swept = until_done(shared, &hold.fence, || shared.parts.store.crashed(&claim)).await;
            super::forget(&shared.parts, &swept.unwrap_or_default().ended).await;
            None
        }
        Ending::Fenced => {
            warn!(job = claim.id, attempt = claim.attempt, "lease lost: the attempt was ended and is not reported");
            metrics::lease_lost();
            forget_own(shared, &claim, &hold).await;
            tokio::spawn(give_up(Arc::clone(shared), claim));
            None
        }
    };
    if let Some(directory) = directory {
        kept.spare = directory.discard().await;
    }
    next
}

/// After an attempt that did not end its job: somebody else may have the job already.
async fn left(shared: &Arc<Shared>, claim: &Claim, hold: &Hold, done: Option<bool>) {
    if done != Some(true) {
        metrics::lease_lost();
        warn!(job = claim.id, attempt = claim.attempt, "lease lost: the job was no longer this worker's");
    }
    match done {
        Some(true) => {}
        Some(false) => forget_own(shared, claim, hold).await,
        // It may have been done, and the attempt may go on elsewhere.
        None => drop(tokio::spawn(forget_superseded(Arc::clone(shared), claim.clone()))),
    }
}

/// Writes the end, and claims the next job with it.
async fn finish(
    shared: &Arc<Shared>,
    (claim, finish): (&Claim, &Arc<Finish>),
    hold: &Hold,
    (turn, gpus): (Turn, Share),
    claims: bool,
) -> Option<Held> {
    // The next one's turn begins with the end of this one.
    let turn = turn.or_else(|| self::turn(shared));
    let tried = AtomicBool::new(false);
    let mut scope = Arc::clone(&shared.scope.borrow());
    let claims = claims && !shared.draining.is_cancelled();
    let (mut choice, mut own) = (None, None);
    if claims {
        choice = Some(shared.gpus.choose_now(&mut scope, gpus));
    } else {
        own = Some(gpus);
    }
    let next = claims.then(|| shared.claiming(Arc::clone(&scope), turn.is_none()));
    let asked = leases::now();
    let mut done = None;
    if !hold.fence.is_cancelled() {
        tried.store(true, Ordering::Relaxed);
        done = shared.parts.store.finish(claim, Arc::clone(finish), next).await.ok();
    }
    if done.is_none() {
        // An end that can't be written now keeps nobody from claiming; the next one is claimed when it has been written.
        own = own.or_else(|| choice.take().map(|choice| choice.keep_own()));
        done = until_done(shared, &hold.fence, || {
            tried.store(true, Ordering::Relaxed);
            shared.parts.store.finish(claim, Arc::clone(finish), None)
        })
        .await;
    }
    drop(own);
    match done {
        Some(Some(mut next)) => {
            // Only now: whoever goes on with an attempt that has not ended may still need them.
            if hold.granted.load(Ordering::Relaxed) {
                let (shared, claim, finish) = (Arc::clone(shared), claim.clone(), Arc::clone(finish));
                tokio::spawn(async move { forget_uploads(&shared, &claim, &finish.ended.artifacts).await });
            }
            let next = next.pop();
            let gpus = choice.map_or_else(|| shared.gpus.none(), |choice| choice.keep(next.as_ref(), &scope));
            next.map(|claim| self::hold(shared, claim, asked, turn, gpus))
        }
        Some(None) => {
            drop(choice);
            metrics::lease_lost();
            warn!(job = claim.id, attempt = claim.attempt, "lease lost: the result is dropped");
            forget_own(shared, claim, hold).await;
            None
        }
        None => {
            metrics::lease_lost();
            warn!(job = claim.id, attempt = claim.attempt, "lease lost: the result is dropped");
            // What was tried may have been done after all: then the objects are those of the job.
            if tried.load(Ordering::Relaxed) {
                tokio::spawn(forget_superseded(Arc::clone(shared), claim.clone()));
            } else {
                forget_own(shared, claim, hold).await;
            }
            None
        }
    }
}

/// Gives back what a database that was away for too long made this worker give up: that is no crash of the worker.
/// Where the lease was lost to somebody else, nothing changes.
async fn give_up(shared: Arc<Shared>, claim: Claim) {
    let until = Instant::now() + 2 * shared.parts.config.lease;
    while Instant::now() < until && shared.parts.store.leave_job(&claim).await.is_err() {
        tokio::time::sleep(PAUSE.min(shared.parts.config.lease / 6)).await;
    }
}

/// Tries a write until the database takes it or the lease is lost.
pub(super) async fn until_done<T, F: Future<Output = Result<T, StoreError>>>(
    shared: &Shared,
    fence: &tokio_util::sync::CancellationToken,
    write: impl Fn() -> F,
) -> Option<T> {
    let mut told = false;
    while !fence.is_cancelled() {
        match write().await {
            Ok(done) => return Some(done),
            Err(error) if !told => {
                told = true;
                warn!(%error, "what becomes of a job can't be written yet");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE.min(shared.parts.config.lease / 6)) => {}
            () = fence.cancelled() => {}
        }
    }
    None
}

/// Removes what an attempt uploaded of which nobody knows whether it ended its job, once there is a later one: then it
/// did not.
async fn forget_superseded(shared: Arc<Shared>, claim: Claim) {
    for pause in LATE {
        tokio::time::sleep(pause).await;
        if let Ok(Some((_, attempt))) = shared.parts.store.status(claim.id).await
            && attempt > claim.attempt
        {
            drop(shared.parts.blobs.delete_prefix(&attempt::key_prefix(&shared, &claim, claim.attempt)).await);
        }
    }
}

/// Removes what earlier attempts uploaded before they died.
async fn forget_earlier(shared: Arc<Shared>, claim: Claim) {
    for attempt in 1..claim.attempt {
        if let Err(error) = shared.parts.blobs.delete_prefix(&attempt::key_prefix(&shared, &claim, attempt)).await {
            warn!(job = claim.id, attempt, %error, "objects of an earlier attempt stay for now");
        }
    }
}
