//! What runs on this machine, by /proc.

use std::path::Path;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// Sends a signal; `false` when there is no such process any more. Who is stopped has stopped when this returns: on a
/// busy machine that takes a while.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let sent = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).is_ok();
    if sent && signal == Signal::STOP {
        super::server::eventually("a process is stopped", || threads(pid).all(|state| state == 'T'));
    }
    sent
}

/// The states of a process's threads.
fn threads(pid: u32) -> impl Iterator<Item = char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| state_in(&task.path().join("stat")))
}

/// Whether a process with this number runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    !matches!(state(pid), Some('Z' | 'X') | None)
}

/// A process's state as a letter: `R`, `S`, `T` (stopped), `Z`, ...
pub fn state(pid: u32) -> Option<char> {
    state_in(Path::new(&format!("/proc/{pid}/stat")))
}

fn state_in(file: &Path) -> Option<char> {
    let stat = std::fs::read_to_string(file).ok()?;
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

/// The processes that have a variable in their environment.
pub fn carrying(variable: &str) -> Vec<u32> {
    let carries = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|carried| carried == variable.as_bytes())
    };
    all().filter(carries).filter(|pid| runs(*pid)).collect()
}

/// A process's program and its arguments; empty when it is gone.
pub fn command_line(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Whether it is a runner with a library; the process that forks those is none.
pub fn is_plugin_runner(pid: u32) -> bool {
    let words = command_line(pid);
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    words.get(1).is_some_and(|word| word == "runner")
        && words.iter().any(|word| word == "--plugin")
        && name.trim() != "jobmgr-forks"
}

/// The processes that name something in their command lines.
pub fn naming(text: &str) -> Vec<u32> {
    all().filter(|pid| command_line(*pid).iter().any(|word| word.contains(text))).collect()
}

/// The processes in a folder.
pub fn working_in(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap();
    let is_there = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder);
    all().filter(is_there).filter(|pid| runs(*pid)).collect()
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

/// How much memory a process has now, in bytes.
pub fn memory(pid: u32) -> u64 {
    sum(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// How much of it no other process shares.
pub fn private_memory(pid: u32) -> u64 {
    sum(&format!("/proc/{pid}/smaps_rollup"), "Private_")
}

/// What the lines that begin so name, in kB.
fn sum(file: &str, begin: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(begin));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() << 10
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
