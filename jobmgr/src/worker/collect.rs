//! From the folder `artifacts` to the store. A job owns what is in that folder and may try to make us upload what is
//! not its: nothing is followed, only plain files are taken, and each is looked at again once it is open.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::listing::{Found, Listing};
use super::mime;
use crate::blobs::{BlobError, Blobs, Shown};
use crate::crash;
use crate::domain::disposition::disposition;
use crate::domain::job::{Artifact, JobId, Skipped};

/// What a walk has found so far.
mod listing;

#[cfg(target_os = "linux")]
#[path = "collect/linux.rs"]
mod platform;
#[cfg(windows)]
#[path = "collect/windows.rs"]
mod platform;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

/// Uploads at once: a small file costs a round trip or a sync, and hardly any bytes.
const PARALLEL: usize = 4;
/// What the uploads of one job hold in memory, in MiB: three parts of a large file, or some small ones.
const MEMORY: u32 = 24;

/// What a job may leave.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many files.
    pub max_files: u64,
    /// How many bytes in all of them.
    pub max_bytes: u64,
}

/// What was collected.
#[derive(Debug, Default)]
pub struct Collected {
    /// In the order of their names; `id` and `created_ms` are 0.
    pub artifacts: Vec<Artifact>,
    /// What was not taken, and why; at most 1,000, then one entry with the number of the rest.
    pub skipped: Vec<Skipped>,
}

/// Why nothing was collected. What was uploaded by then lies under the attempt's prefix.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The job left more than it may; the text says how much that is.
    #[error("{0}")]
    Limit(String),
    /// The store failed.
    #[error(transparent)]
    Infra(#[from] BlobError),
    /// It was asked to stop before all was uploaded.
    #[error("the upload was given up")]
    Stopped,
    /// The machine failed.
    #[error("the folder of artifacts can't be read: {0}")]
    Workspace(io::Error),
}

/// Why a file is not opened.
#[derive(Debug)]
enum Refused {
    /// By what it is.
    Skip(String),
    /// By the machine.
    Failed(io::Error),
}

/// Uploads the plain files below `dir` (the folder `artifacts`) as `{key_prefix}/{n}`, with n from 1 in the order of
/// their names. A folder that is not there has none. Once `stop` is cancelled, only what is on its way then is waited
/// for: a write that has begun can't be called back.
///
/// # Errors
/// [`CollectError::Limit`] before anything is uploaded; [`CollectError::Stopped`]; the others when the store or the
/// machine fails.
pub async fn collect(
    blobs: &Blobs,
    dir: &Path,
    job: JobId,
    key_prefix: &str,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<Collected, CollectError> {
    // Most jobs leave nothing: three system calls are less than the way to another thread.
    if platform::is_empty(dir) {
        return Ok(Collected::default());
    }
    let (root, files, mut skipped) = list(dir, limits).await?;
    let upload = Upload {
        blobs,
        root,
        job,
        key_prefix,
        limits,
        stop,
        bytes: AtomicU64::new(0),
        memory: Semaphore::new(MEMORY as usize),
    };
    let results: Vec<_> = stream::iter(files.into_iter().zip(1..))
        .map(|(found, n)| upload.file(found, n))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let mut artifacts = Vec::with_capacity(results.len());
    for result in results {
        match result {
            Ok(artifact) => artifacts.push(artifact),
            Err(left_out) => skipped.push(left_out),
        }
    }
    Ok(Collected { artifacts, skipped })
}

type Listed = (Option<Arc<platform::Root>>, Vec<Found>, Vec<Skipped>);

async fn list(dir: &Path, limits: &Limits) -> Result<Listed, CollectError> {
    let (dir, limits) = (dir.to_owned(), limits.clone());
    let walk = move || {
        let mut listing = Listing::new(&limits);
        let root = match platform::Root::open(&dir) {
            Ok(root) => Some(Arc::new(root)),
            Err(Refused::Failed(error)) => return Err(CollectError::Workspace(error)),
            Err(Refused::Skip(reason)) => {
                listing.skip(Path::new(""), format!("the folder artifacts itself: {reason}"));
                None
            }
        };
        if let Some(root) = &root {
            root.list(&mut listing)?;
        }
        let (files, skipped) = listing.finish();
        Ok((root, files, skipped))
    };
    spawn_blocking(walk).await.map_err(|e| CollectError::Workspace(io::Error::other(e)))?
}

/// The uploads of one attempt.
struct Upload<'u> {
    blobs: &'u Blobs,
    root: Option<Arc<platform::Root>>,
    job: JobId,
    key_prefix: &'u str,
    limits: &'u Limits,
    stop: &'u CancellationToken,
    /// The sizes of the files as they were opened.
    bytes: AtomicU64,
    /// In MiB.
    memory: Semaphore,
}

impl Upload<'_> {
    async fn file(&self, found: Found, n: u64) -> Result<Result<Artifact, Skipped>, CollectError> {
        if self.stop.is_cancelled() {
            return Err(CollectError::Stopped);
        }
        let name = found.name.clone();
        let (file, size) = match self.open(found).await {
            Ok(opened) => opened,
            Err(Refused::Skip(reason)) => return Ok(Err(Skipped { name, reason })),
            Err(Refused::Failed(error)) => return Err(CollectError::Workspace(error)),
        };
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        self.limits.check_bytes(bytes, n)?;
        let mebibytes = u32::try_from(size >> 20).unwrap_or(MEMORY).clamp(1, MEMORY);
        let _held =
            self.memory.acquire_many(mebibytes).await.map_err(|e| CollectError::Workspace(io::Error::other(e)))?;
        let mime = mime::of(&name);
        let key = format!("{}/{n}", self.key_prefix);
        let shown = Shown { mime, disposition: &disposition(&name, mime) };
        let uploaded = self.blobs.put_file_as(&key, file, size, Some(&shown)).await?;
        crash::at(crash::Point::MidUpload);
        Ok(Ok(Artifact {
            id: 0,
            job_id: self.job,
            name,
            mime: mime.to_owned(),
            size: uploaded.size,
            uuid: uuid::Uuid::new_v4().to_string(),
            sha256: uploaded.sha256,
            key,
            created_ms: 0,
        }))
    }

    async fn open(&self, found: Found) -> Result<(File, u64), Refused> {
        let Some(root) = self.root.clone() else { return Err(Refused::Skip("not readable".to_owned())) };
        let opened = spawn_blocking(move || root.open_file(&found.path)).await;
        opened.unwrap_or_else(|e| Err(Refused::Failed(io::Error::other(e))))
    }
}

/// Reads a small file that a job wrote, with the care that artifacts get; `None` where there is none.
///
/// # Errors
/// When it is no plain file, is larger than `max` bytes, or can't be read.
pub fn read_small(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let (file, size) = match platform::open_plain(path) {
        Ok(None) => return Ok(None),
        Ok(Some(opened)) => opened,
        Err(Refused::Skip(reason)) => return Err(io::Error::other(format!("it is not read: {reason}"))),
        Err(Refused::Failed(error)) => return Err(error),
    };
    let mut bytes = Vec::new();
    if size <= max {
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > max {
        let text = format!("it is larger than {max} bytes ({size})");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}
