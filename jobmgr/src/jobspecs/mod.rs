//! The folder of jobspecs: one TOML file per job, read when a job asks for it.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::domain::jobspec::{About, ExecutorCheck, Jobspec};

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "linux.rs")]
mod platform;
mod read;
#[cfg(test)]
mod tests;

/// How many entries of the folder are looked at.
const MAX_ENTRIES: usize = 100_000;

/// How old a file's last change must be for its content to be trusted: two changes within one tick of the file
/// system's clock, which is at most this long, look the same from outside.
const TICK: Duration = Duration::from_secs(2);

/// What the longest file name has.
const MAX_NAME: usize = 255;

/// What the result of a job says whose name no file can have; the original's words.
pub const INVALID_NAME: &str = "invalid job name";

/// What the result of a job says whose name no file has; the original's words.
pub const UNKNOWN: &str = "job does not exist";

/// A jobspec, or one line for the result of the job that asked for it.
type Answer = Result<Arc<Jobspec>, String>;

/// The folder; cheap to clone. What was read is kept as long as the file stays the same.
#[derive(Debug, Clone)]
pub struct Jobspecs {
    dir: Arc<Path>,
    check: Check,
    known: Arc<RwLock<HashMap<String, Known>>>,
}

/// Knows the executors.
#[derive(Clone)]
struct Check(Arc<ExecutorCheck>);

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

/// What a file said, and how it looked then.
#[derive(Debug)]
struct Known {
    looks: Looks,
    answer: Answer,
}

/// What changes with a file's content, as the file system tells it.
#[derive(Debug, Clone, PartialEq)]
struct Looks {
    size: u64,
    modified: Option<SystemTime>,
    identity: platform::Identity,
}

impl Looks {
    fn of(metadata: &Metadata) -> Self {
        let identity = platform::identity(metadata);
        Looks { size: metadata.len(), modified: metadata.modified().ok(), identity }
    }

    /// Whether the next change will show.
    fn settled(&self, now: SystemTime) -> bool {
        let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age > TICK);
        self.modified.is_some_and(old) && platform::changed(&self.identity).is_none_or(old)
    }
}

impl Jobspecs {
    /// The jobspecs in `dir`, which need not exist yet, whatever executors they name.
    pub fn new(dir: PathBuf) -> Self {
        Self::checked(dir, Arc::new(|_: &str, _: &serde_json::Value| Ok(())))
    }

    /// The jobspecs in `dir`, which need not exist yet; one whose executor or options `check` refuses is a mistake.
    pub fn checked(dir: PathBuf, check: Arc<ExecutorCheck>) -> Self {
        Self { dir: dir.into(), check: Check(check), known: Arc::default() }
    }

    /// Reads each file again when it is asked for next: what the check knows has changed.
    pub fn reread(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The jobspec of this name, as the file says now. Blocks, seldom for more than a `stat`.
    ///
    /// # Errors
    /// One line for the job's result: `job does not exist`, `invalid job name`, or the file and what is wrong in it.
    pub fn get(&self, name: &str) -> Result<Arc<Jobspec>, String> {
        if !is_name(name) {
            return Err(INVALID_NAME.to_owned());
        }
        let path = self.dir.join(format!("{name}.toml"));
        let looks = fs::metadata(&path).map(|metadata| Looks::of(&metadata));
        if let Some(answer) = looks.as_ref().ok().and_then(|looks| self.known(name, looks)) {
            return answer;
        }
        let (looks, answer) = match looks.and_then(|_| read::file(&path, &*self.check.0)) {
            Ok(read) => read,
            Err(error) => {
                self.forget(name);
                return Err(unreadable(&path, &error));
            }
        };
        let answer = answer.map(Arc::new).map_err(|text| format!("{}: {text}", path.display()));
        self.keep(name, looks, &answer);
        answer
    }

    /// What is to be known of a job of this name before it is run; the usual where there is no such jobspec.
    pub fn about(&self, name: &str) -> About {
        self.get(name).map_or_else(|_| About::default(), |jobspec| About::of(&jobspec))
    }

    /// All jobspecs by name, each with what [`get`](Self::get) says about it. Hidden files and those whose names do
    /// not end in `.toml` are none. Of a folder with too many entries the last item says so. Empty when the folder can't be read; see [`check`](Self::check).
    pub fn list(&self) -> Vec<(String, Result<Arc<Jobspec>, String>)> {
        self.list_at_most(MAX_ENTRIES)
    }

    fn list_at_most(&self, most: usize) -> Vec<(String, Answer)> {
        let Ok(mut entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut list: Vec<_> = entries.by_ref().take(most).flatten().filter_map(|entry| self.entry(&entry)).collect();
        list.sort_by(|one, other| one.0.cmp(&other.0));
        if entries.next().is_some() {
            let text = format!("the folder has more than {most} entries; the rest was not looked at");
            list.push((self.dir.display().to_string(), Err(text)));
        }
        list
    }

    /// Whether the folder can be read.
    ///
    /// # Errors
    /// One line that names it.
    pub fn check(&self) -> Result<(), String> {
        fs::read_dir(&self.dir).map(drop).map_err(|error| format!("{}: {error}", self.dir.display()))
    }

    fn entry(&self, entry: &fs::DirEntry) -> Option<(String, Answer)> {
        let file = entry.file_name();
        let name = file.to_string_lossy();
        let name = name.strip_suffix(".toml").filter(|name| !name.starts_with('.'))?;
        let answer = match file.to_str() {
            Some(_) => self.get(name),
            None => Err(format!("{}: the file's name is not UTF-8", entry.path().display())),
        };
        Some((name.to_owned(), answer))
    }

    fn known(&self, name: &str, looks: &Looks) -> Option<Answer> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).filter(|known| known.looks == *looks).map(|known| known.answer.clone())
    }

    /// Keeps an answer, unless the file may change without looking different.
    fn keep(&self, name: &str, looks: Looks, answer: &Answer) {
        if !looks.settled(SystemTime::now()) {
            return self.forget(name);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), Known { looks, answer: answer.clone() });
    }

    fn forget(&self, name: &str) {
        // Most names that are not there never were; they must not stop the others.
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains_key(name) {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }
}

/// Whether a job may have this name: it must be a file's name and nothing more. The original refuses `.` `/` `\` and
/// space.
fn is_name(name: &str) -> bool {
    let bad = |c: char| matches!(c, '.' | '/' | '\\' | ' ') || c.is_control();
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(bad) && platform::is_file_name(name)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        // A name that no file can have is one that no file has.
        io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename => UNKNOWN.to_owned(),
        _ => format!("{}: {error}", path.display()),
    }
}
