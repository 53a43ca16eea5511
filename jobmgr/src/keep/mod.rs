//! How long things are kept: old jobs, old artifacts, and objects that belong to nothing.
//!
//! A pass first sweeps the store, then looks through all jobs by their ids. Rows go before their objects, so that
//! nobody is shown what is not there; what a crash leaves between the two, a later sweep finds. Nothing is remembered
//! from one pass to the next, any process may make one, and two at once do each other no harm.

/// What jobspecs say.
mod book;
/// Objects that no row names.
mod orphans;
/// What goes, in words.
mod report;
/// Which rule applies.
mod rules;
/// The walk over all jobs.
mod walk;

use std::time::Duration;

use tracing::{info, warn};

use crate::blobs::{BlobError, Blobs};
use crate::config::Retention;
use crate::jobspecs::Jobspecs;
use crate::store::{PAGE, Store, StoreError};
use orphans::Orphan;
pub use report::{Gone, Totals};
use walk::Walk;

/// What only one process does at a time.
const DUTY: &str = "retention";
/// How long after the start of a process the first pass is at the latest.
const FIRST: Duration = Duration::from_secs(300);
/// How long messages to webhooks are remembered that were delivered or given up.
const DELIVERIES: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a process is remembered that does not say that it is there.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What a pass works with.
#[derive(Clone)]
pub struct Keeper {
    /// The jobs.
    pub store: Store,
    /// Their objects.
    pub blobs: Blobs,
    /// The jobspecs of this process, which may be none.
    pub jobspecs: Jobspecs,
    /// `[Retention]`
    pub config: Retention,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Told of each thing that goes.
type Tell<'t> = &'t mut (dyn FnMut(&Gone<'_>) + Send);

impl Keeper {
    /// Makes a pass now and then, where no other process does, until it is dropped.
    pub async fn run(self) {
        let id = format!("keeper-{}", uuid::Uuid::new_v4().simple());
        let mut pause = self.config.every.min(FIRST);
        loop {
            tokio::time::sleep(pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            pause = self.config.every;
            // Shorter than the shortest pause, so that whoever is next gets it.
            match self.store.take_duty(&id, DUTY, pause.mul_f64(0.8)).await {
                Ok(true) => self.turn().await,
                Ok(false) => {}
                Err(error) => warn!(%error, "can't look for what is old"),
            }
        }
    }

    async fn turn(&self) {
        let totals = self.pass(false, &mut |gone| tracing::debug!(%gone, "removed")).await;
        if !totals.is_empty() {
            info!(removed = %totals, "removed what was kept for long enough");
        }
        for trouble in totals.troubles {
            warn!(%trouble, "not all that is old could be removed; it is tried again");
        }
        if let Err(error) = self.forget_deliveries().await {
            warn!(%error, "can't forget old messages to webhooks");
        }
        if let Err(error) = self.store.forget_silent(SILENCE).await {
            warn!(%error, "can't forget processes that are gone");
        }
    }

    /// Removes what has been in the audit log for long enough.
    async fn shorten_audit(&self) -> Result<(), StoreError> {
        let Some(age) = self.config.keep_audit else { return Ok(()) };
        while self.store.drop_audit(age).await? > 0 {}
        Ok(())
    }

    /// A bit at a time, so that nobody waits for it.
    async fn forget_deliveries(&self) -> Result<(), StoreError> {
        while self.store.forget_deliveries(DELIVERIES).await? > 0 {}
        Ok(())
    }

    /// Removes all that has been kept for long enough, and tells of each; on a dry run only tells.
    pub async fn pass(&self, dry_run: bool, tell: Tell<'_>) -> Totals {
        let mut pass = Pass { keeper: self, dry_run, tell, totals: Totals::default() };
        // Each for itself: a store that is full takes no object to tell the time by, but can be emptied.
        if let Err(error) = pass.sweep().await {
            pass.totals.troubles.push(error.to_string());
        }
        if let Err(error) = pass.walk().await {
            pass.totals.troubles.push(error.to_string());
        }
        if let Err(error) = pass.inputs().await {
            pass.totals.troubles.push(error.to_string());
        }
        let mut totals = pass.totals;
        if !dry_run && let Err(error) = self.shorten_audit().await {
            totals.troubles.push(error.to_string());
        }
        if !dry_run && let Err(error) = self.drop_events().await {
            totals.troubles.push(error.to_string());
        }
        totals
    }

    /// Events are many and small: nobody is told of each.
    async fn drop_events(&self) -> Result<(), StoreError> {
        while self.store.drop_events(self.config.events).await? {}
        Ok(())
    }
}

/// One pass.
struct Pass<'p> {
    keeper: &'p Keeper,
    dry_run: bool,
    tell: Tell<'p>,
    totals: Totals,
}

impl Pass<'_> {
    fn note(&mut self, gone: &Gone<'_>) {
        self.totals.add(gone);
        (self.tell)(gone);
    }

    async fn sweep(&mut self) -> Result<(), KeepError> {
        let Keeper { store, blobs, config, .. } = self.keeper;
        let grace_ms = i64::try_from(config.grace.as_millis()).unwrap_or(i64::MAX);
        let mut sweep = orphans::Sweep::begin(store, blobs, grace_ms).await?;
        while let Some(batch) = sweep.next().await? {
            if !self.dry_run {
                let (uploads, objects): (Vec<_>, Vec<_>) =
                    batch.iter().partition(|(_, why)| *why == Orphan::Unfinished);
                let keys: Vec<String> = objects.into_iter().map(|(object, _)| object.key.clone()).collect();
                blobs.delete_all(&keys).await?;
                for (upload, _) in uploads {
                    blobs.delete_unfinished(upload).await?;
                }
            }
            batch.iter().for_each(|(object, why)| self.note(&Gone::Object(object, *why)));
        }
        Ok(())
    }

    /// Removes uploaded files that no job has used in time.
    async fn inputs(&mut self) -> Result<(), KeepError> {
        let Keeper { store, blobs, config, .. } = self.keeper;
        loop {
            let unused = store.unused_inputs(config.unused_inputs).await?;
            if !self.dry_run && !unused.is_empty() {
                let keys = store.drop_inputs(unused.iter().map(|input| input.id).collect()).await?;
                blobs.delete_all(&keys).await?;
            }
            unused.iter().for_each(|input| self.note(&Gone::Input(input)));
            if self.dry_run || unused.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn walk(&mut self) -> Result<(), KeepError> {
        match Walk::begin(self.keeper).await? {
            Some(walk) => walk.go(self).await,
            None => Ok(()),
        }
    }
}
