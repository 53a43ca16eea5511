//! Objects that no row will ever name.

use std::collections::BTreeSet;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use super::KeepError;
use crate::blobs::{BlobError, Blobs, Object};
use crate::domain::job::{JobId, Status};
use crate::domain::keys;
use crate::store::Store;

/// How many objects are looked up at once.
const BATCH: usize = 1000;

/// Why an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// The job that it was of is gone.
    NoJob,
    /// Its job has ended, and names it nowhere.
    Unnamed,
    /// A later attempt of its job has begun.
    DeadAttempt,
    /// It is an upload that was never finished.
    Unfinished,
    /// It was uploaded for jobs, and nobody knows it.
    NoInput,
}

impl Orphan {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Orphan::NoJob => "its job is gone",
            Orphan::Unnamed => "its job has ended without it",
            Orphan::DeadAttempt => "of an attempt that is over",
            Orphan::Unfinished => "an upload that was never finished",
            Orphan::NoInput => "an uploaded file that nobody knows",
        }
    }
}

/// Whether an object of this job and attempt may be an orphan, by its job's row, read after the object was seen.
///
/// An upload comes before the row that names it, so an object of an attempt that may still be running is never one. A
/// job that is not there is gone for good if its id is one that was given before.
fn suspect((job, attempt): (JobId, i64), standing: Option<&(Option<Status>, i64)>, highest: JobId) -> Option<Orphan> {
    match standing {
        None => (job <= highest).then_some(Orphan::NoJob),
        // A row that somebody broke.
        Some((None, _)) => None,
        Some((Some(status), _)) if status.is_terminal() => Some(Orphan::Unnamed),
        Some((Some(_), now)) => (attempt < *now).then_some(Orphan::DeadAttempt),
    }
}

/// A look through the objects of this installation.
pub struct Sweep<'s> {
    store: &'s Store,
    blobs: &'s Blobs,
    highest: JobId,
    /// What is younger stays.
    before_ms: i64,
    objects: Option<BoxStream<'static, Result<Object, BlobError>>>,
    uploads_seen: bool,
}

impl<'s> Sweep<'s> {
    /// # Errors
    /// When the store or the database fails.
    pub async fn begin(store: &'s Store, blobs: &'s Blobs, grace_ms: i64) -> Result<Self, KeepError> {
        // Before anything is listed: an id that is given later may be one of a job that uploads just then.
        let highest = store.highest_id().await?;
        // Only the store's clock tells how old its objects are.
        let before_ms = blobs.clock_ms().await?.saturating_sub(grace_ms);
        let [jobs, inputs] = prefixes(store).map(|prefix| blobs.list(&prefix));
        let objects = Some(jobs.chain(inputs).boxed());
        Ok(Self { store, blobs, highest, before_ms, objects, uploads_seen: false })
    }

    /// The next orphans, which may be none; `None` at the end.
    ///
    /// # Errors
    /// When the store or the database fails.
    pub async fn next(&mut self) -> Result<Option<Vec<(Object, Orphan)>>, KeepError> {
        let Some(objects) = &mut self.objects else { return self.uploads().await };
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match objects.try_next().await? {
                Some(object) if object.modified_ms <= self.before_ms => batch.push(object),
                Some(_) => {}
                None => {
                    self.objects = None;
                    break;
                }
            }
        }
        among(self.store, batch, self.highest).await.map(Some)
    }

    async fn uploads(&mut self) -> Result<Option<Vec<(Object, Orphan)>>, KeepError> {
        if std::mem::replace(&mut self.uploads_seen, true) {
            return Ok(None);
        }
        let mut uploads = Vec::new();
        for prefix in prefixes(self.store) {
            uploads.extend(self.blobs.unfinished(&prefix).await?);
        }
        uploads.retain(|upload| upload.modified_ms <= self.before_ms);
        Ok(Some(uploads.into_iter().map(|upload| (upload, Orphan::Unfinished)).collect()))
    }
}

/// Where all objects of this installation are: those of jobs, and uploaded files.
fn prefixes(store: &Store) -> [String; 2] {
    [keys::of_installation(store.installation()), keys::of_inputs(store.installation())]
}

/// The orphans among objects that were there before this is called.
async fn among(store: &Store, objects: Vec<Object>, highest: JobId) -> Result<Vec<(Object, Orphan)>, KeepError> {
    let [_, inputs] = prefixes(store);
    let is_input = |object: &Object| object.key.strip_prefix(&inputs).is_some_and(|rest| rest.starts_with('/'));
    let (inputs, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_input);
    let mut orphans = of_jobs(store, objects, highest).await?;
    orphans.extend(of_inputs(store, inputs).await?);
    Ok(orphans)
}

/// An upload comes before its row, but not for long.
async fn of_inputs(store: &Store, objects: Vec<Object>) -> Result<Vec<(Object, Orphan)>, KeepError> {
    let known = store.known_inputs(objects.iter().map(|object| object.key.clone()).collect()).await?;
    let unknown = objects.into_iter().filter(|object| !known.contains(&object.key));
    Ok(unknown.map(|object| (object, Orphan::NoInput)).collect())
}

async fn of_jobs(store: &Store, objects: Vec<Object>, highest: JobId) -> Result<Vec<(Object, Orphan)>, KeepError> {
    let owner = |object: &Object| keys::owner(store.installation(), &object.key);
    let jobs: BTreeSet<JobId> = objects.iter().filter_map(owner).map(|(job, _)| job).collect();
    let standings = store.standings(jobs.into_iter().collect()).await?;
    let mut suspects = Vec::new();
    for object in objects {
        let Some(owner) = owner(&object) else { continue };
        if let Some(orphan) = suspect(owner, standings.get(&owner.0), highest) {
            suspects.push((object, owner.0, orphan));
        }
    }
    let there: BTreeSet<JobId> = suspects.iter().map(|suspect| suspect.1).collect();
    let named = store.named_keys(there.into_iter().collect(), true).await?;
    // Of a job with a row that can't be read, nobody knows what it names.
    suspects.retain(|(object, job, _)| matches!(named.get(job), Some(Some(keys)) if !keys.contains(&object.key)));
    Ok(suspects.into_iter().map(|(object, _, orphan)| (object, orphan)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_an_attempt_that_may_run_is_none() {
        let of = |status, attempt| Some((status, attempt));
        for status in [Status::Queued, Status::Started] {
            assert_eq!(suspect((7, 2), of(Some(status), 2).as_ref(), 9), None, "{status}");
            assert_eq!(suspect((7, 3), of(Some(status), 2).as_ref(), 9), None, "{status}: claimed since");
            assert_eq!(suspect((7, 1), of(Some(status), 2).as_ref(), 9), Some(Orphan::DeadAttempt), "{status}");
        }
        assert_eq!(suspect((7, 1), of(None, 2).as_ref(), 9), None, "a broken row");
    }

    #[test]
    fn a_job_that_may_still_come_keeps_its_objects() {
        assert_eq!(suspect((9, 1), None, 9), Some(Orphan::NoJob));
        assert_eq!(suspect((10, 1), None, 9), None);
    }

    #[test]
    fn an_ended_job_keeps_what_it_names() {
        for status in [Status::Completed, Status::Failed, Status::Canceled] {
            for attempt in 1..4 {
                assert_eq!(suspect((7, attempt), Some(&(Some(status), 2)), 9), Some(Orphan::Unnamed));
            }
        }
    }
}
