//! The walk over all jobs: what each loses by its age, then what has to go to make room.

use std::collections::BTreeMap;

use super::book::Book;
use super::rules::{Keep, Loss, Oldest, Rule, loss};
use super::{Gone, KeepError, Keeper, Pass};
use crate::domain::job::JobId;
use crate::domain::keys;
use crate::store::{Aging, HeldArtifacts, PAGE};

/// How many jobs go in one transaction.
const BATCH: usize = 64;

/// What a walk goes by.
pub(super) struct Walk {
    book: Book,
    retention: Keep,
    /// Where artifacts may take only so much room.
    room: Option<(u64, Oldest)>,
}

impl Walk {
    /// `None`: everything is kept for ever.
    pub(super) async fn begin(keeper: &Keeper) -> Result<Option<Walk>, KeepError> {
        let book = Book::read(&keeper.store, &keeper.jobspecs).await?;
        let retention = Keep::from(&keeper.config);
        let room = match keeper.config.max_artifact_bytes {
            Some(most) => Some((most, Oldest::new(keeper.store.all_artifacts().await?.bytes, most))),
            None => None,
        };
        let says = book.says() || retention.says() || room.is_some();
        Ok(says.then_some(Walk { book, retention, room }))
    }

    pub(super) async fn go(mut self, pass: &mut Pass<'_>) -> Result<(), KeepError> {
        let mut after = 0;
        loop {
            let page = pass.keeper.store.aging(after).await?;
            self.page(pass, &page).await?;
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.id,
                _ => break,
            }
        }
        self.make_room(pass).await
    }

    async fn page(&mut self, pass: &mut Pass<'_>, page: &[Aging]) -> Result<(), KeepError> {
        let loss_of = |job: &Aging| loss(job, self.book.of(&job.name)?, self.retention);
        let losses: Vec<Option<Loss>> = page.iter().map(loss_of).collect();
        let lists =
            page.iter().zip(&losses).filter(|(job, loss)| job.artifacts > 0 && (loss.is_some() || self.room.is_some()));
        let held = pass.keeper.store.artifacts_of(lists.map(|(job, _)| job.id).collect()).await?;
        let mut leaving = Vec::new();
        for (job, loss) in page.iter().zip(losses) {
            let held = held.get(&job.id).copied().unwrap_or_default();
            if let Some((_, oldest)) = &mut self.room {
                match (loss, job.age_ms) {
                    (Some(_), _) => oldest.freed(held.bytes),
                    (None, Some(age)) if job.status.is_some_and(|status| status.is_terminal()) => {
                        oldest.offer(job.id, age, held.bytes);
                    }
                    _ => {}
                }
            }
            match loss {
                Some(Loss::Job(rule)) => leaving.push((job, held, rule)),
                Some(Loss::Artifacts(rule)) => pass.strip(job, held, rule).await?,
                None => {}
            }
        }
        for batch in leaving.chunks(BATCH) {
            pass.remove(batch).await?;
        }
        Ok(())
    }

    async fn make_room(self, pass: &mut Pass<'_>) -> Result<(), KeepError> {
        let Some((most, oldest)) = self.room else { return Ok(()) };
        for id in oldest.jobs() {
            // As it is now: it may be gone.
            let job = pass.keeper.store.aging(id - 1).await?.into_iter().next().filter(|job| job.id == id);
            let held = pass.keeper.store.artifacts_of(vec![id]).await?;
            if let (Some(job), Some(held)) = (job, held.get(&id)) {
                pass.strip(&job, *held, Rule::Room(most)).await?;
            }
        }
        Ok(())
    }
}

impl Pass<'_> {
    /// Removes the artifacts of a job that stays.
    async fn strip(&mut self, job: &Aging, held: HeldArtifacts, rule: Rule) -> Result<(), KeepError> {
        if !self.dry_run {
            self.keeper.drop_artifacts(job.id).await?;
            let why = format!("its {} artifacts were removed: {rule}", held.count);
            self.keeper.store.mention(job.id, &why).await?;
        }
        self.note(&Gone::Artifacts(job, held, rule));
        Ok(())
    }

    /// Removes jobs with everything.
    async fn remove(&mut self, batch: &[(&Aging, HeldArtifacts, Rule)]) -> Result<(), KeepError> {
        if !self.dry_run {
            let Keeper { store, blobs, .. } = self.keeper;
            for (job, _, _) in batch.iter().filter(|(job, _, _)| job.artifacts > 0) {
                self.keeper.drop_artifacts(job.id).await?;
            }
            let ids: Vec<JobId> = batch.iter().map(|(job, _, _)| job.id).collect();
            let logs = store.named_keys(ids.clone(), false).await?;
            let dropped = store.drop_jobs(ids).await?;
            let mut keys: Vec<String> = logs.into_values().flatten().flatten().collect();
            keys.extend(dropped.inputs);
            blobs.delete_all(&keys).await?;
        }
        for (job, held, rule) in batch {
            self.note(&Gone::Job(job, *held, *rule));
        }
        Ok(())
    }
}

impl Keeper {
    /// Removes the artifacts of a job, a page at a time.
    async fn drop_artifacts(&self, job: JobId) -> Result<(), KeepError> {
        let Keeper { store, blobs, .. } = self;
        loop {
            let artifacts: BTreeMap<i64, String> = store.some_artifacts(job).await?.into_iter().collect();
            if artifacts.is_empty() {
                return Ok(());
            }
            let is_ours = |key: &String| keys::owner(store.installation(), key).is_some();
            let (ours, others): (Vec<_>, Vec<_>) = artifacts.values().cloned().partition(is_ours);
            // No sweep finds the objects of a database that was adopted, so they go before the rows that name them.
            blobs.delete_all(&others).await?;
            store.drop_artifacts(artifacts.into_keys().collect()).await?;
            blobs.delete_all(&ours).await?;
        }
    }
}
