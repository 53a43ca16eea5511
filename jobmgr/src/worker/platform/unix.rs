//! Linux: the boot clock, orphans, and strays of workers that died.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::time::{ClockId, clock_gettime};

use crate::runner::platform::{orphans_come_here, with_runners};

/// Makes a directory that only its owner may enter.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(PRIVATE).create(path)
}

/// Makes a directory that all may read who may pass the one above it.
pub(super) fn readable_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Lets a file be read by all who may pass its directory, whatever the umask is.
pub(super) fn readable_file(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Has a new file opened by its owner only: the folder that it is in may be open for passing through.
pub(super) fn private_file(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    options.mode(0o600)
}

/// Whether a directory is still as [`private_dir`] made it.
pub(super) fn is_private(path: &Path, found: &fs::Metadata) -> bool {
    found.mode() & 0o7777 == PRIVATE && found.uid() == rustix::process::geteuid().as_raw() && !is_marked(path)
}

/// Whether somebody has set attributes or access lists; the system's own labels (`security.`) don't count.
fn is_marked(path: &Path) -> bool {
    let mut names = [0; 1024];
    match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => {
            let mut names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
            names.any(|name| !name.starts_with(b"security."))
        }
        Err(rustix::io::Errno::NOTSUP) => false,
        Err(_) => true,
    }
}

const PRIVATE: u32 = 0o700;

/// Time since the machine started, time asleep included: what a lease is measured with.
pub(super) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Makes this process the one that adopts what a dead runner leaves. Only for a process that has no other children.
pub fn adopt_orphans() {
    // Without it orphans go to init; they are found by their environment at the next start.
    if rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok() {
        orphans_come_here();
    }
    ADOPTING.store(true, std::sync::atomic::Ordering::Relaxed);
}

static ADOPTING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Ends and reaps children of this process that are no runners, with their descendants; gives how many.
pub(super) fn end_orphans() -> usize {
    if !ADOPTING.load(std::sync::atomic::Ordering::Relaxed) {
        return 0;
    }
    let mut ended = 0;
    // What is killed may leave children of its own, which come here in turn.
    for _ in 0..100 {
        let orphans = with_runners(|runners| {
            let mut children = adopted();
            children.retain(|pid| !runners.contains(pid));
            children.iter().for_each(|pid| kill(*pid));
            children
        });
        if orphans.is_empty() {
            break;
        }
        for pid in orphans {
            ended += usize::from(reap(pid));
        }
    }
    ended
}

/// The children of the first thread. The kernel gives orphans to the first of a process's threads that lives, and here
/// that one lives longest; a look at each thread would take longer than many a job.
fn adopted() -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A child that is not reaped keeps its number, so it can't be another's.
fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn reap(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    for _ in 0..50 {
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some(_)) => return true,
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return false,
        }
    }
    false
}

/// Ends processes whose environment names the directories of a dead worker.
pub(super) fn kill_strays_of(root: &Path) {
    let mark = format!("JOBMGR_ARTIFACTS_DIR={}/", root.display());
    for _ in 0..100 {
        let strays = processes().filter(|pid| carries(*pid, mark.as_bytes())).collect::<Vec<_>>();
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            end_marked(pid, mark.as_bytes());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn carries(pid: u32, mark: &[u8]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark))
}

/// By pidfd, and looked at again after it is open: the number may be another's by now.
fn end_marked(pid: u32, mark: &[u8]) {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(process) = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) else { return };
    if carries(pid, mark) {
        let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
    }
}
