//! A control group's folder: made, locked, emptied, removed.
//!
//! Who made it holds a lock on it as long as it lives, so that what a dead runner left is known and removed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::places::Version;

/// Names of folders that are ours begin so.
const PREFIX: &str = "jobmgr-job-";
/// How long it may take until a folder whose processes are gone can be removed.
const REMOVE_LIMIT: Duration = Duration::from_secs(2);
/// How often it is tried to be quicker than somebody who cleans up.
const TRIES: usize = 10;

/// The name of a job's folders. A key is of `[a-z0-9-]`; what is not is replaced.
pub fn name(key: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() || character == '-' { character } else { '_' };
    PREFIX.chars().chain(key.chars().map(safe)).take(200).collect()
}

/// A folder that this process made.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    version: Version,
    _held: File,
}

impl Folder {
    /// Makes a group. One of this name that nobody holds is what a dead runner left, and goes first.
    ///
    /// # Errors
    /// When it can't be made here, or somebody holds it.
    pub fn create(path: &Path, version: Version) -> io::Result<Self> {
        for _ in 0..TRIES {
            match fs::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !remove_left(path) {
                        return Err(io::Error::other("another job has a control group of this name"));
                    }
                    continue;
                }
                other => other?,
            }
            // Between the two, a sweep may have taken it for left.
            match hold(path) {
                Ok(Some(held)) => return Ok(Self { path: path.to_owned(), version, _held: held }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let _ = fs::remove_dir(path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("somebody else removes it again and again"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Kills all that is in it.
    pub fn kill(&self) {
        kill(&self.path);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // One that stays is the next sweep's.
        remove(&self.path);
    }
}

/// The lock on a folder; `None`: somebody else has it, or had it and has removed the folder.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let held = File::open(path)?;
    match held.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let same = fs::metadata(path)?.ino() == held.metadata()?.ino();
    Ok(same.then_some(held))
}

/// Removes what dead runners left below `parent`, with what is still in it.
pub fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_left(&entry.path());
        }
    }
}

/// Removes a folder that nobody holds; whether it is gone.
fn remove_left(path: &Path) -> bool {
    match hold(path) {
        Ok(Some(_held)) => {
            kill(path);
            remove(path)
        }
        Ok(None) => !path.exists(),
        Err(_) => !path.exists(),
    }
}

/// Removes a folder, with the groups that the job made in it; whether it is gone.
fn remove(path: &Path) -> bool {
    let until = Instant::now() + REMOVE_LIMIT;
    let mut pause = Duration::from_micros(200);
    loop {
        for child in children(path) {
            remove(&child);
        }
        match fs::remove_dir(path) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            // Who was killed is counted until it is quite gone.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {}
            Err(_) => return false,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills all that is in a group and below it.
fn kill(path: &Path) {
    // Version 2, from Linux 5.14.
    if put(path, "cgroup.kill", "1") {
        return;
    }
    // Nobody has children from now on. Better than to freeze them: nothing hangs if this process dies here.
    put(path, "pids.max", "0");
    for child in children(path) {
        kill(&child);
    }
    for pid in processes(path) {
        kill_member(path, pid);
    }
}

/// Writes to one of a group's files; whether there is such a file, and it took that.
fn put(path: &Path, file: &str, text: &str) -> bool {
    let opened = File::options().write(true).truncate(true).open(path.join(file));
    opened.and_then(|mut file| file.write_all(text.as_bytes())).is_ok()
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn processes(path: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
}

/// Kills a process, if that is still what the number means.
fn kill_member(path: &Path, pid: Pid) {
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    // Read after the pidfd was opened: what is in the group now is what the pidfd names, or that one is dead.
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default();
    let is_member = |line: &str| line.rsplit_once('/').is_some_and(|(_, last)| last == name);
    if groups.lines().any(is_member) {
        let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
}
