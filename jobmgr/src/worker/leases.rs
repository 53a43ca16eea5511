//! The leases that this worker holds.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, platform};
use crate::crash;
use crate::domain::job::{Claim, JobId};
use crate::store::{Held, Renewal};

/// What is held, and since when it is known to be.
#[derive(Default)]
pub(super) struct Leases {
    held: Arc<Mutex<HashMap<JobId, Holding>>>,
}

struct Holding {
    epoch: i64,
    known: Duration,
    fence: CancellationToken,
    cancel: CancellationToken,
}

/// A held lease; renewed until this is dropped.
pub(super) struct Hold {
    held: Arc<Mutex<HashMap<JobId, Holding>>>,
    id: JobId,
    epoch: i64,
    /// Cancelled when the lease is lost, or can't be known to hold any more.
    pub(super) fence: CancellationToken,
    /// Cancelled when somebody asks for the job's end.
    pub(super) cancel: CancellationToken,
    /// Something of it runs where this worker's end does not end it: another holder goes on with this attempt.
    pub(super) elsewhere: AtomicBool,
    /// Something may have been uploaded for it from elsewhere.
    pub(super) granted: AtomicBool,
}

fn lock(held: &Mutex<HashMap<JobId, Holding>>) -> MutexGuard<'_, HashMap<JobId, Holding>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    /// `asked`: when the claim was asked for, by the clock of the platform; the lease may have begun then.
    pub(super) fn hold(&self, claim: &Claim, asked: Duration) -> Hold {
        let (fence, cancel) = (CancellationToken::new(), CancellationToken::new());
        let known = asked;
        let holding = Holding { epoch: claim.epoch, known, fence: fence.clone(), cancel: cancel.clone() };
        lock(&self.held).insert(claim.id, holding);
        Hold {
            held: Arc::clone(&self.held),
            id: claim.id,
            epoch: claim.epoch,
            fence,
            cancel,
            elsewhere: AtomicBool::new(false),
            granted: AtomicBool::new(false),
        }
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        lock(&self.held).len()
    }

    fn claims(&self) -> Vec<(JobId, i64)> {
        lock(&self.held).iter().map(|(id, held)| (*id, held.epoch)).collect()
    }

    /// `asked`: what was held at `when`, when the renewal was asked for.
    fn settle(&self, asked: &[(JobId, i64)], renewal: &Renewal, when: Duration) {
        let mut held = lock(&self.held);
        for (id, epoch) in asked {
            let Some(holding) = held.get_mut(id).filter(|holding| holding.epoch == *epoch) else { continue };
            match renewal.held.iter().find(|row| (row.id, row.epoch) == (*id, *epoch)) {
                None => holding.fence.cancel(),
                Some(row) => {
                    if renewal.renewed.contains(id) {
                        holding.known = when;
                    }
                    if row.canceled {
                        holding.cancel.cancel();
                    }
                }
            }
        }
    }

    /// Somebody asked for the end of a job; of which claim is not said by a signal.
    fn cancel(&self, id: JobId, epoch: Option<i64>) {
        if let Some(holding) = lock(&self.held).get(&id)
            && epoch.is_none_or(|epoch| epoch == holding.epoch)
        {
            holding.cancel.cancel();
        }
    }

    /// Gives up what was not renewed for two thirds of its lease: another worker may have it soon.
    pub(super) fn fence_stale(&self, lease: Duration) {
        let now = platform::since_boot();
        for held in lock(&self.held).values() {
            if now.saturating_sub(held.known) > lease * 2 / 3 {
                held.fence.cancel();
            }
        }
    }
}

/// When something is asked for.
pub(super) fn now() -> Duration {
    platform::since_boot()
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if held.get(&self.id).is_some_and(|held| held.epoch == self.epoch) {
            held.remove(&self.id);
        }
    }
}

/// Renews every sixth of a lease.
pub(super) async fn renew(shared: Arc<Shared>) {
    let lease = shared.parts.config.lease;
    let mut unknown = Vec::new();
    loop {
        tokio::time::sleep(lease / 6).await;
        let claims = shared.leases.claims();
        let when = platform::since_boot();
        if !claims.is_empty() {
            crash::at(crash::Point::BeforeRenewal);
        }
        // Also where nothing is held: the answer to a claim may have been lost.
        match tokio::time::timeout(lease / 6, shared.parts.store.renew(&shared.root.id, lease)).await {
            Ok(Ok(renewal)) => {
                if !renewal.renewed.is_empty() {
                    crash::at(crash::Point::AfterRenewal);
                }
                shared.leases.settle(&claims, &renewal, when);
                unknown = give_back(&shared, &renewal, &unknown).await;
            }
            Ok(Err(error)) => warn!(%error, "can't renew leases"),
            Err(_) => warn!("can't renew leases: the database does not answer"),
        }
        shared.leases.fence_stale(lease);
    }
}

/// Gives up leases that were not renewed for too long, also while a renewal hangs.
pub(super) async fn watch(shared: Arc<Shared>) {
    let lease = shared.parts.config.lease;
    loop {
        tokio::time::sleep(lease / 12).await;
        shared.leases.fence_stale(lease);
    }
}

/// Gives back what was held without anybody knowing last time and is so still; the rest is looked at next time.
async fn give_back(shared: &Shared, renewal: &Renewal, before: &[Held]) -> Vec<Held> {
    let claims = shared.leases.claims();
    let known = |row: &Held| claims.contains(&(row.id, row.epoch));
    let mut unknown = Vec::new();
    for row in renewal.held.iter().filter(|row| !known(row)) {
        let again = before.iter().any(|one| (one.id, one.epoch) == (row.id, row.epoch));
        if again && shared.parts.store.give_back(&shared.root.id, *row).await.is_ok() {
            warn!(job = row.id, "gave back a job whose claim was not answered");
        } else {
            unknown.push(*row);
        }
    }
    unknown
}

/// Ends jobs on request: at once where a signal tells of it, else within the poll interval.
pub(super) async fn cancel(shared: Arc<Shared>) {
    let mut told = shared.parts.store.cancels();
    loop {
        tokio::select! {
            id = told.recv() => match id {
                Ok(id) => shared.leases.cancel(id, None),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(shared.parts.config.poll) => look_for_canceled(&shared).await,
        }
    }
}

async fn look_for_canceled(shared: &Shared) {
    if shared.leases.count() == 0 {
        return;
    }
    if let Ok(canceled) = shared.parts.store.canceled(&shared.root.id).await {
        canceled.into_iter().for_each(|(id, epoch)| shared.leases.cancel(id, Some(epoch)));
    }
}
