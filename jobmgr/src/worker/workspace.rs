//! Temporary directories: one root per worker, one directory per attempt.
//!
//! Beside the root lies a file that the worker keeps locked; a root whose file can be locked belongs to a dead worker.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::platform;
use super::remove::remove_tree;
use crate::config;
use crate::domain::job::{Claim, JobId, Status};
use crate::store::Store;

/// The directory below which this worker's attempts have theirs.
pub(super) struct Root {
    /// The worker's name in the queue.
    pub(super) id: std::sync::Arc<str>,
    path: PathBuf,
    /// Where the directories are of jobs that outlive the worker, by their keys.
    elsewhere: PathBuf,
    lock: PathBuf,
    _held: File,
}

/// What a worker left that died.
pub(super) struct Dead {
    pub(super) id: String,
    pub(super) path: PathBuf,
    lock: PathBuf,
    _held: File,
}

fn prefix(installation: &str) -> String {
    format!("jobmgr-{installation}-")
}

impl Root {
    /// Makes a root below `parent`.
    pub(super) fn create(parent: &Path, installation: &str) -> io::Result<Root> {
        loop {
            let random = uuid::Uuid::new_v4().simple().to_string();
            let id = format!("{}{}-{}", prefix(installation), std::process::id(), &random[..8]);
            let lock = parent.join(format!("{id}.lock"));
            let held = File::options().read(true).write(true).create_new(true).open(&lock)?;
            // Somebody who looks for dead workers may have been quicker.
            if held.try_lock().is_err() || !lock.exists() {
                continue;
            }
            let path = std::path::absolute(parent.join(&id))?;
            platform::private_dir(&path)?;
            let elsewhere = std::path::absolute(parent.join(format!("{}elsewhere", prefix(installation))))?;
            return Ok(Root { id: id.into(), path, elsewhere, lock, _held: held });
        }
    }

    /// Makes the directory of an attempt, with `artifacts` in it; from a spare one where there is one.
    pub(super) fn directory(&self, claim: &Claim, spare: Option<Spare>) -> io::Result<Directory> {
        let path = self.path.join(format!("{}-{}", claim.id, claim.attempt));
        if spare.is_some_and(|spare| fs::rename(spare.path, &path).is_ok()) {
            return Ok(Directory { path });
        }
        if let Err(error) = platform::private_dir(&path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Whoever cleans up temporary files has taken the root for one.
            platform::private_dir(&self.path)?;
            platform::private_dir(&path)?;
        }
        platform::private_dir(&path.join("artifacts"))?;
        Ok(Directory { path })
    }

    /// Makes the directory of an attempt that may outlive this worker.
    pub(super) fn elsewhere(&self, key: &str) -> io::Result<Directory> {
        if let Err(error) = platform::private_dir(&self.elsewhere)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let path = self.elsewhere.join(key);
        platform::private_dir(&path)?;
        platform::private_dir(&path.join("artifacts"))?;
        Ok(Directory { path })
    }

    /// Removes the directories of attempts that are over.
    pub(super) async fn forget_elsewhere(&self, store: &Store) {
        let Ok(entries) = fs::read_dir(&self.elsewhere) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some((id, attempt)) = name.to_str().and_then(numbers) else { continue };
            match store.status(id).await {
                Ok(Some((Status::Started, of))) if of == attempt => {}
                Ok(_) => drop(remove_tree(&entry.path())),
                Err(_) => return,
            }
        }
    }

    /// Where an output stream of an attempt is kept while it grows.
    pub(super) fn spool(&self, claim: &Claim, stream: &str) -> PathBuf {
        self.path.join(format!("{}-{}.{stream}", claim.id, claim.attempt))
    }

    /// Removes the root with all that is in it.
    pub(super) fn remove(&self) {
        if let Err(error) = remove_tree(&self.path) {
            warn!(path = %self.path.display(), %error, "a temporary directory stays");
        }
        drop(fs::remove_file(&self.lock));
    }
}

impl Dead {
    /// Removes what it left.
    pub(super) fn remove(self) {
        if let Err(error) = remove_tree(&self.path) {
            warn!(path = %self.path.display(), %error, "a temporary directory of a dead worker stays");
        }
        drop(fs::remove_file(&self.lock));
    }
}

/// The workers of this installation that died on this machine.
pub(super) fn dead(parent: &Path, installation: &str) -> io::Result<Vec<Dead>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".lock")) else { continue };
        if !id.starts_with(&prefix(installation)) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(held) = File::options().read(true).write(true).open(entry.path()) else { continue };
        match held.try_lock() {
            Ok(()) => {
                let path = std::path::absolute(parent.join(id))?;
                found.push(Dead { id: id.to_owned(), path, lock: entry.path(), _held: held });
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => warn!(path = %entry.path().display(), %error, "can't be locked"),
        }
    }
    Ok(found)
}

/// The directory of an attempt.
pub(super) struct Directory {
    path: PathBuf,
}

/// The directory of an attempt that is over, as good as new.
///
/// Ext4 does not use a deleted directory's inode again for five seconds, and looks through all of those whenever it
/// makes one: at some hundred jobs per second that takes longer than the jobs do. So a directory that a job left as it
/// was becomes the next job's by a rename.
pub(super) struct Spare {
    path: PathBuf,
}

/// The job and the attempt of a key.
fn numbers(key: &str) -> Option<(JobId, i64)> {
    let mut parts = key.rsplit('-');
    let attempt = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, attempt))
}

impl Spare {
    /// Removes it.
    pub(super) fn remove(self) {
        drop(remove_tree(&self.path));
    }
}

impl Directory {
    /// One that another worker of this machine has made.
    pub(super) fn at(path: &str) -> Option<Self> {
        let path = PathBuf::from(path);
        path.join("artifacts").is_dir().then_some(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// Where the files are that it was given.
    pub(super) fn inputs(&self) -> PathBuf {
        self.path.join("inputs")
    }

    /// Where the job may leave a structured result.
    pub(super) fn output(&self) -> PathBuf {
        self.path.join(".jobmgr-output.json")
    }

    /// Where the job may say how far it is.
    pub(super) fn progress(&self) -> PathBuf {
        self.path.join(".jobmgr-progress")
    }

    /// Removes the directory, or keeps that of a failed job for `KeepFailed`; gives it back if the job left it as it was.
    pub(super) async fn remove(self, config: &config::Worker, status: Status) -> Option<Spare> {
        if status != Status::Failed || config.keep_failed.is_zero() {
            return self.discard().await;
        }
        let later = config.keep_failed;
        tokio::spawn(async move {
            tokio::time::sleep(later).await;
            if let Some(spare) = self.discard().await {
                drop(remove_tree(&spare.path));
            }
        });
        None
    }

    /// Removes the directory, or gives it back if the job left it as it was.
    pub(super) async fn discard(self) -> Option<Spare> {
        if self.is_untouched().unwrap_or(false) {
            let spare = self.path.with_extension("spare");
            if fs::rename(&self.path, &spare).is_ok() {
                return Some(Spare { path: spare });
            }
        }
        let path = self.path;
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || remove_tree(&path)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(path = shown, %error, "a temporary directory stays"),
            Err(error) => warn!(path = shown, %error, "a temporary directory stays"),
        }
        None
    }

    /// Whether it holds nothing but an empty `artifacts`, with the rights that both were made with.
    fn is_untouched(&self) -> io::Result<bool> {
        let artifacts = self.artifacts();
        for folder in [&self.path, &artifacts] {
            let found = fs::symlink_metadata(folder)?;
            if !found.is_dir() || !platform::is_private(folder, &found) {
                return Ok(false);
            }
        }
        let mut entries = fs::read_dir(&self.path)?;
        let only = entries.next().is_some_and(|entry| entry.is_ok_and(|entry| entry.file_name() == "artifacts"));
        Ok(only && entries.next().is_none() && fs::read_dir(&artifacts)?.next().is_none())
    }
}
