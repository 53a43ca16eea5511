//! The control group of a job: what all of its processes may use together, and their end at once.
//!
//! Version 2 of control groups or version 1, or each for some of the limits, as the system has them. What can't be
//! made here is said, with the reason.

/// A control group's folder: made, locked, emptied, removed.
mod folder;
/// Where this process may make control groups.
mod places;

use std::path::{Path, PathBuf};

use crate::{Limits, Size, command};
use folder::Folder;
use places::{Place, Places, Version};

/// How long processor time is counted before it starts anew, in microseconds.
const PERIOD: u64 = 100_000;

/// What is to be limited.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    memory: Option<Size>,
    cpus: Option<f64>,
    pids: Option<u64>,
}

impl Needs {
    /// What of a job's limits is a control group's business.
    pub fn of(limits: &Limits) -> Self {
        Self { memory: limits.memory, cpus: limits.cpus, pids: limits.pids }
    }

    pub fn any(&self) -> bool {
        self.memory.is_some() || self.cpus.is_some() || self.pids.is_some()
    }

    /// Which limits, and the controllers that keep them.
    fn each(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [
            ("Memory", "memory", self.memory.is_some()),
            ("Cpus", "cpu", self.cpus.is_some()),
            ("Pids", "pids", self.pids.is_some()),
        ];
        all.into_iter().filter_map(|(limit, controller, wanted)| wanted.then_some((limit, controller)))
    }

    /// What is written to which file, and whether it may fail.
    fn settings(&self, limit: &str, version: Version) -> Vec<(&'static str, String, Must)> {
        let bytes = self.memory.map_or(0, |memory| memory.0).to_string();
        // Less than a millisecond per period is refused.
        let quota = self.cpus.map_or(0, |cpus| ((cpus * PERIOD as f64) as u64).max(1000));
        let pids = self.pids.unwrap_or_default().to_string();
        match (limit, version) {
            ("Memory", Version::Two) => vec![
                ("memory.max", bytes, Must::Work),
                // Systems without swap have no such files.
                ("memory.swap.max", "0".into(), Must::Try),
                ("memory.oom.group", "1".into(), Must::Try),
            ],
            ("Memory", Version::One) => vec![
                ("memory.limit_in_bytes", bytes.clone(), Must::Work),
                ("memory.memsw.limit_in_bytes", bytes, Must::Try),
            ],
            ("Cpus", Version::Two) => vec![("cpu.max", format!("{quota} {PERIOD}"), Must::Work)],
            ("Cpus", Version::One) => vec![
                ("cpu.cfs_period_us", PERIOD.to_string(), Must::Work),
                ("cpu.cfs_quota_us", quota.to_string(), Must::Work),
            ],
            _ => vec![("pids.max", pids, Must::Work)],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    Work,
    Try,
}

/// A limit that no control group keeps here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Its name in `Limits`.
    pub limit: &'static str,
    pub why: String,
}

/// A job's control group, in as many folders as the system needs for it. It is removed when this is dropped.
#[derive(Debug)]
pub struct Group {
    folders: Vec<Folder>,
    /// Where it is counted how often memory ran out.
    memory: Option<PathBuf>,
}

impl Group {
    /// Makes the group of a job, and says which of its limits it can't keep. `None`: all of them.
    pub fn create(key: &str, needs: &Needs) -> (Option<Group>, Vec<Unmet>) {
        Self::within(&Places::of_this_process(), key, needs)
    }

    fn within(places: &Places, key: &str, needs: &Needs) -> (Option<Group>, Vec<Unmet>) {
        let mut group = Group { folders: Vec::new(), memory: None };
        let mut unmet = Vec::new();
        for (limit, controller) in needs.each() {
            let kept = places.place(controller).and_then(|place| group.keep(&place, key, limit, needs));
            if let Err(why) = kept {
                unmet.push(Unmet { limit, why });
            }
        }
        if group.folders.is_empty() {
            return (None, unmet);
        }
        // Where it is ended: version 2 can do that in any folder, version 1 here at its best.
        if group.folders.iter().all(|folder| folder.version() == Version::One)
            && let Ok(place) = places.place("pids")
        {
            let _ = group.folder(&place, key);
        }
        (Some(group), unmet)
    }

    /// Sets a limit.
    fn keep(&mut self, place: &Place, key: &str, limit: &'static str, needs: &Needs) -> Result<(), String> {
        let path = self.folder(place, key)?.to_owned();
        for (file, value, must) in needs.settings(limit, place.version) {
            let file = path.join(file);
            match std::fs::write(&file, value) {
                Err(error) if must == Must::Work => return Err(says(&file, &error)),
                _ => {}
            }
        }
        if limit == "Memory" {
            let counter = if place.version == Version::Two { "memory.events" } else { "memory.oom_control" };
            self.memory = Some(path.join(counter));
        }
        Ok(())
    }

    /// The group's folder in this place, made if it is not there yet.
    fn folder(&mut self, place: &Place, key: &str) -> Result<&Path, String> {
        let path = place.parent.join(folder::name(key));
        if let Some(at) = self.folders.iter().position(|folder| folder.path() == path) {
            return Ok(self.folders[at].path());
        }
        folder::sweep(&place.parent);
        let folder = Folder::create(&path, place.version).map_err(|error| says(&path, &error))?;
        self.folders.push(folder);
        self.folders.last().map(Folder::path).ok_or_else(String::new)
    }

    /// Where who is to be in it writes its number.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.path().to_owned()).collect()
    }

    /// Kills all that is in it. What is born meanwhile may be missed once, not twice.
    pub fn kill(&self) {
        // Version 2 needs one write; of version 1, the folder for processes is the last.
        if let Some(folder) = self.folders.iter().find(|folder| folder.version() == Version::Two) {
            return folder.kill();
        }
        if let Some(folder) = self.folders.last() {
            folder.kill();
        }
    }

    /// Whether a process in it was killed since the group's memory was used up.
    pub fn ran_out_of_memory(&self) -> bool {
        self.memory
            .as_deref()
            .is_some_and(|counter| std::fs::read_to_string(counter).is_ok_and(|text| count_of(&text, "oom_kill") > 0))
    }
}

/// The number in the line that begins with this word.
fn count_of(text: &str, word: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == word);
    found.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_default()
}

fn says(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {}", path.display(), command::reason(error))
}

/// What of `Limits` this machine enforces for a job as a whole, and why not the rest: limit and reason.
pub fn probe() -> Vec<(&'static str, Result<(), String>)> {
    let places = Places::of_this_process();
    let all = Needs { memory: Some(Size(64 << 20)), cpus: Some(1.0), pids: Some(64) };
    let key = format!("probe-{}", std::process::id());
    let (_, unmet) = Group::within(&places, &key, &all);
    let why = |limit| unmet.iter().find(|unmet| unmet.limit == limit).map(|unmet| unmet.why.clone());
    all.each().map(|(limit, _)| (limit, why(limit).map_or(Ok(()), Err))).collect()
}

#[cfg(test)]
mod tests;
