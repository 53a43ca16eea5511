//! What runs on this machine, by /proc.

use std::path::Path;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// Sends a signal; `false` when there is no such process any more.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).is_ok()
}

/// Whether a process with this number runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    !matches!(state(pid), Some('Z' | 'X') | None)
}

/// A process's state as a letter: `R`, `S`, `T` (stopped), `Z`, ...
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The processes that jobs of servers in `home` have started, as far as their environment tells.
pub fn of_jobs(home: &Path) -> Vec<u32> {
    let mark = format!("JOBMGR_ARTIFACTS_DIR={}/", home.display());
    let carries = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    };
    all().filter(carries).filter(|pid| runs(*pid)).collect()
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        fields.split_whitespace().nth(1).and_then(|field| field.parse().ok()) == Some(parent)
    };
    all().filter(is_child).collect()
}

/// The most memory that a process has had at once, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
