use std::path::{Path, PathBuf};

use super::{CollectError, Limits};
use crate::domain::job::Skipped;

/// So many skipped files are named; of the rest, the number. They are kept with the job.
const NAMED: usize = 1000;

/// A regular file below the folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to the folder.
    pub path: PathBuf,
    /// Its name as clients see it.
    pub name: String,
}

/// What a walk has found so far; ends the walk when it is too much, so that no job fills the worker's memory.
pub(super) struct Listing<'l> {
    limits: &'l Limits,
    bytes: u64,
    folders: u64,
    files: Vec<Found>,
    skipped: Vec<Skipped>,
    unnamed: u64,
}

impl<'l> Listing<'l> {
    pub fn new(limits: &'l Limits) -> Self {
        Self { limits, bytes: 0, folders: 0, files: Vec::new(), skipped: Vec::new(), unnamed: 0 }
    }

    /// Takes a file of `size` bytes.
    pub fn file(&mut self, path: PathBuf, size: u64) -> Result<(), CollectError> {
        self.bytes = self.bytes.saturating_add(size);
        let name = name_of(&path);
        self.files.push(Found { path, name });
        let count = self.files.len() as u64;
        if count > self.limits.max_files {
            return Err(too_many("files", self.limits.max_files));
        }
        self.limits.check_bytes(self.bytes, count)
    }

    /// Takes a folder: those that hold no file cost a walk as much.
    pub fn folder(&mut self) -> Result<(), CollectError> {
        self.folders += 1;
        let most = self.limits.max_files.max(10_000);
        if self.folders > most { Err(too_many("folders", most)) } else { Ok(()) }
    }

    /// Leaves out what is not a plain file.
    pub fn skip(&mut self, path: &Path, reason: impl Into<String>) {
        if self.skipped.len() < NAMED {
            self.skipped.push(Skipped { name: name_of(path), reason: reason.into() });
        } else {
            self.unnamed += 1;
        }
    }

    /// The files, and what is to be said of the rest, each in the order of its names.
    pub fn finish(mut self) -> (Vec<Found>, Vec<Skipped>) {
        self.files.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
        self.skipped.sort_by(|a, b| a.name.cmp(&b.name));
        if self.unnamed > 0 {
            self.skipped.push(Skipped { name: "...".to_owned(), reason: format!("and {} more", self.unnamed) });
        }
        (self.files, self.skipped)
    }
}

impl Limits {
    /// # Errors
    /// [`CollectError::Limit`] when `bytes`, in `files` files, are too many.
    pub(super) fn check_bytes(&self, bytes: u64, files: u64) -> Result<(), CollectError> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        Err(CollectError::Limit(format!(
            "the artifacts are too large: at least {bytes} bytes, {files} files counted; the limit is {} bytes",
            self.max_bytes
        )))
    }
}

fn too_many(what: &str, limit: u64) -> CollectError {
    CollectError::Limit(format!(
        "too many artifacts: more than {limit} {what} in the folder artifacts; the limit is {limit}"
    ))
}

/// The path with `/` between its parts; what is not Unicode becomes U+FFFD. The folder itself is `.`.
pub(super) fn name_of(path: &Path) -> String {
    if path.as_os_str().is_empty() {
        return ".".to_owned();
    }
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}
