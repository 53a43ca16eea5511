//! Everything that the job started, wherever it went.
//!
//! This process is a subreaper: whose parent has died becomes its child, so all descendants are always below it. The
//! direct ones keep their numbers until they are reaped here; the others are signalled through a pidfd that was seen
//! to be a descendant.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::leader::{self, Leader};

/// Kills and reaps every descendant of this process; see [`crate::end_descendants`].
pub fn end_descendants(deadline: Duration) -> bool {
    let until = Instant::now() + deadline;
    let mut pause = Duration::from_micros(100);
    loop {
        {
            let mut leader = leader::lock();
            leader.kill_control_group();
            // Before the leader is reaped: its group's number is free afterwards. The kernel lets no fork slip through.
            leader.signal_group(Signal::KILL);
            // The usual case ends here: the job left nothing behind.
            if !leader.reap_all() {
                return true;
            }
            signal_each(&leader, &[Signal::KILL], Reach::All);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Which descendants are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    All,
    /// Those that a signal to the leader's group does not reach.
    OutsideGroup,
}

/// Signals descendants, parents first. Those that are born meanwhile may be missed.
pub fn signal_each(leader: &Leader, signals: &[Signal], reach: Reach) {
    let own = rustix::process::getpid();
    let mut found: Vec<(Pid, Pid)> = children_of(own).into_iter().map(|pid| (pid, own)).collect();
    while let Some((pid, parent)) = found.pop() {
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Read after the pidfd was opened: what is below us now is what the pidfd names, or that one is dead.
        let Some(kin) = kin_of(pid).filter(|kin| kin.parent == parent || kin.parent == own) else { continue };
        found.extend(children_of(pid).into_iter().map(|child| (child, pid)));
        if reach == Reach::OutsideGroup && leader.leads(kin.group) {
            continue;
        }
        for signal in signals {
            let _ = rustix::process::pidfd_send_signal(&pidfd, *signal);
        }
    }
}

struct Kin {
    parent: Pid,
    group: Pid,
}

/// A process's parent and group.
fn kin_of(pid: Pid) -> Option<Kin> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name, the second field, may hold anything, brackets too.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let mut numbers = rest.split_ascii_whitespace().skip(1).map(|field| Pid::from_raw(field.parse().ok()?));
    Some(Kin { parent: numbers.next()??, group: numbers.next()?? })
}

/// A process's children; none if it is gone.
fn children_of(pid: Pid) -> Vec<Pid> {
    static LISTED: OnceLock<bool> = OnceLock::new();
    // Kernels without CONFIG_PROC_CHILDREN have no such file.
    if *LISTED.get_or_init(|| Path::new("/proc/thread-self/children").exists()) { listed(pid) } else { scanned(pid) }
}

fn listed(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(number).collect::<Vec<_>>()).collect()
}

fn scanned(pid: Pid) -> Vec<Pid> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = all.flatten().filter_map(|entry| number(entry.file_name().to_str()?));
    numbers.filter(|other| kin_of(*other).is_some_and(|kin| kin.parent == pid)).collect()
}

fn number(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pid) = (rustix::process::getpid(), Pid::from_child(&child));
        assert_eq!(kin_of(pid).unwrap().parent, own);
        assert!(listed(own).contains(&pid));
        assert!(scanned(own).contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!scanned(own).contains(&pid));
    }
}
