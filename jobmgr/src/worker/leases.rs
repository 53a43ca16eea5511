//! The leases that this worker holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, platform};
use crate::domain::job::{Claim, JobId};

/// What is held, and since when it is known to be.
#[derive(Default)]
pub(super) struct Leases {
    held: Arc<Mutex<HashMap<JobId, Held>>>,
}

struct Held {
    epoch: i64,
    known: Duration,
    fence: CancellationToken,
}

/// A held lease; renewed until this is dropped.
pub(super) struct Hold {
    held: Arc<Mutex<HashMap<JobId, Held>>>,
    id: JobId,
    epoch: i64,
    /// Cancelled when the lease is lost, or can't be known to hold any more.
    pub(super) fence: CancellationToken,
}

fn lock(held: &Mutex<HashMap<JobId, Held>>) -> MutexGuard<'_, HashMap<JobId, Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    pub(super) fn hold(&self, claim: &Claim) -> Hold {
        let fence = CancellationToken::new();
        let held = Held { epoch: claim.epoch, known: platform::since_boot(), fence: fence.clone() };
        lock(&self.held).insert(claim.id, held);
        Hold { held: Arc::clone(&self.held), id: claim.id, epoch: claim.epoch, fence }
    }

    fn claims(&self) -> Vec<(JobId, i64)> {
        lock(&self.held).iter().map(|(id, held)| (*id, held.epoch)).collect()
    }

    /// `asked`: those that were to be renewed at `when`; `kept`: those that were.
    fn settle(&self, asked: &[(JobId, i64)], kept: &[JobId], when: Duration) {
        let mut held = lock(&self.held);
        for (id, epoch) in asked {
            match held.get_mut(id) {
                Some(one) if one.epoch != *epoch => {}
                Some(one) if kept.contains(id) => one.known = when,
                Some(one) => one.fence.cancel(),
                None => {}
            }
        }
    }

    /// Gives up what was not renewed for two thirds of its lease: another worker may have it soon.
    fn fence_stale(&self, lease: Duration) {
        let now = platform::since_boot();
        for held in lock(&self.held).values() {
            if now.saturating_sub(held.known) > lease * 2 / 3 {
                held.fence.cancel();
            }
        }
    }
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
    loop {
        tokio::time::sleep(lease / 6).await;
        let claims = shared.leases.claims();
        if !claims.is_empty() {
            let when = platform::since_boot();
            match tokio::time::timeout(lease / 6, shared.parts.store.renew(claims.clone(), lease)).await {
                Ok(Ok(kept)) => shared.leases.settle(&claims, &kept, when),
                Ok(Err(error)) => warn!(%error, "can't renew leases"),
                Err(_) => warn!("can't renew leases: the database does not answer"),
            }
        }
        shared.leases.fence_stale(lease);
    }
}
