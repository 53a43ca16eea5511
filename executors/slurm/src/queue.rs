use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jobmgr_plugin_api::{Error, Kind, Result};

use crate::command::Commands;
use crate::completions::Completions;
use crate::refusal::refusal;
use crate::row::{Row, accounted, comment, queued, shown};
use crate::state::Record;

/// The fields that are asked for. A name and a comment as long as a key, and more, fit in.
const FIELDS: &str = "--Format=JobID:20|,State:32|,exit_code:16|,Reason:64|,NodeList:64|,Name:80|,Comment:100|";
/// How long a job may have ended that accounting is asked about.
const BACK: &str = "--starttime=now-30days";
/// Names other jobs than their number does.
const NO_SUCH_JOB: &str = "Invalid job id";
/// So many jobs are asked about one by one in a turn.
const ONE_BY_ONE: usize = 16;

/// A job that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub id: u64,
    /// Empty where it is not known: the number alone counts then.
    pub key: &'a str,
}

impl Wanted<'_> {
    fn is(&self, row: &Row) -> bool {
        row.id == self.id && (self.key.is_empty() || row.is_of(self.key))
    }
}

/// What Slurm knows of jobs: its queue, which forgets them some minutes after their end (`MinJobAge`), and its
/// accounting. Where there is none, its controller is asked once more, and the file is read in which some controllers
/// write down what has ended.
pub struct Queue {
    commands: Commands,
    has_accounting: AtomicBool,
    completions: Completions,
}

impl Queue {
    pub fn new(commands: Commands, accounting: Option<bool>) -> Self {
        let has_accounting = AtomicBool::new(accounting.unwrap_or(true));
        Self { commands, has_accounting, completions: Completions::default() }
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    fn has_accounting(&self) -> bool {
        self.has_accounting.load(Ordering::Relaxed)
    }

    /// What is known of these jobs: one question to the queue, and one about all that it forgot.
    pub fn records(&self, jobs: &[Wanted<'_>]) -> Result<BTreeMap<u64, Record>> {
        let mut records = BTreeMap::new();
        let rows = self.squeue(&[numbers(jobs)])?;
        let mut missing = sort(jobs.to_vec(), rows, &mut records);
        if !missing.is_empty() {
            missing = sort(missing.clone(), self.sacct(&[numbers(&missing)])?, &mut records);
        }
        if !missing.is_empty() && !self.has_accounting() {
            missing = sort(missing.clone(), self.scontrol(&missing)?, &mut records);
            let rows = if missing.is_empty() {
                Vec::new()
            } else {
                self.completed(|row| missing.iter().any(|job| job.is(row)))?
            };
            sort(missing, rows, &mut records);
        }
        Ok(records)
    }

    /// The number of the job with this key, of ours only, that the queue has.
    pub fn find(&self, key: &str) -> Result<Option<u64>> {
        let rows = self.squeue(&["--me".into(), format!("--name={key}")])?;
        Ok(number(&rows, key))
    }

    /// The same where the queue has forgotten it. Accounting has it by its comment only where it is told to keep those
    /// (`AccountingStoreFlags=job_comment`).
    pub fn find_forgotten(&self, key: &str) -> Result<Option<u64>> {
        let rows = self.sacct(&[format!("--name={key}"), BACK.into()])?;
        if rows.is_empty() && !self.has_accounting() {
            return Ok(self.completed(|row| row.name == key)?.last().map(|row| row.id));
        }
        Ok(number(&rows, key))
    }

    fn squeue(&self, which: &[String]) -> Result<Vec<Row>> {
        // Those in hidden partitions too.
        let mut arguments = ["--noheader", "--all", "--states=all", FIELDS].map(String::from).to_vec();
        arguments.extend_from_slice(which);
        let said = self.commands.call("squeue", &arguments, "").map_err(later)?;
        if said.ok {
            return Ok(said.stdout.lines().filter_map(queued).collect());
        }
        // Asked about one job only, it fails when it does not know that.
        if said.stderr.contains(NO_SUCH_JOB) { Ok(Vec::new()) } else { Err(later(refusal("squeue", &said))) }
    }

    fn sacct(&self, which: &[String]) -> Result<Vec<Row>> {
        if !self.has_accounting() {
            return Ok(Vec::new());
        }
        let mut arguments: Vec<String> = ["--allocations", "--noheader", "--parsable2"].map(Into::into).to_vec();
        arguments.push("--format=JobIDRaw,State,ExitCode,Reason,NodeList,JobName,Comment".into());
        arguments.extend_from_slice(which);
        let said = self.commands.call("sacct", &arguments, "").map_err(later)?;
        if said.ok {
            return Ok(said.stdout.lines().filter_map(accounted).collect());
        }
        if said.stderr.contains("accounting storage is disabled") {
            self.has_accounting.store(false, Ordering::Relaxed);
            return Ok(Vec::new());
        }
        Err(later(refusal("sacct", &said)))
    }

    /// It takes one number, or shows everybody's jobs, among whose names are lines that nobody but their owners would
    /// take for its own. So a few are asked about in each turn.
    fn scontrol(&self, jobs: &[Wanted<'_>]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for job in jobs.iter().take(ONE_BY_ONE) {
            let arguments = ["--oneliner", "show", "job", &job.id.to_string()].map(String::from);
            let said = self.commands.call("scontrol", &arguments, "").map_err(later)?;
            if said.ok {
                rows.extend(said.stdout.lines().find_map(shown));
            } else if !said.stderr.contains(NO_SUCH_JOB) {
                return Err(later(refusal("scontrol", &said)));
            }
        }
        Ok(rows)
    }

    fn completed(&self, is_wanted: impl Fn(&Row) -> bool) -> Result<Vec<Row>> {
        self.completions.of(&self.commands, is_wanted).map_err(later)
    }
}

/// Keeps what the rows say of these jobs; gives those that they say nothing of.
fn sort<'a>(jobs: Vec<Wanted<'a>>, rows: Vec<Row>, records: &mut BTreeMap<u64, Record>) -> Vec<Wanted<'a>> {
    let mut wanted: BTreeMap<u64, Wanted<'a>> = jobs.into_iter().map(|job| (job.id, job)).collect();
    for row in rows {
        if wanted.get(&row.id).is_some_and(|job| job.is(&row)) {
            wanted.remove(&row.id);
            records.insert(row.id, row.record);
        }
    }
    wanted.into_values().collect()
}

fn numbers(jobs: &[Wanted<'_>]) -> String {
    let numbers: Vec<_> = jobs.iter().map(|job| job.id.to_string()).collect();
    format!("--jobs={}", numbers.join(","))
}

/// A question may always be asked again.
fn later(error: Error) -> Error {
    let kind = if error.kind() == Kind::Failed { Kind::Failed } else { Kind::Retry };
    Error::new(kind, error.to_string())
}

fn number(rows: &[Row], key: &str) -> Option<u64> {
    rows.iter().find(|row| row.name == key && row.comment == comment(key)).map(|row| row.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Row, Wanted, sort};
    use crate::row::queued;

    #[test]
    fn a_number_that_was_given_again_is_another_job() {
        let rows = || -> Vec<Row> {
            let lines = ["5|RUNNING|0|None|n1|jm-5|jobmgr:jm-5|", "6|RUNNING|0|None|n1|other||"];
            lines.into_iter().filter_map(queued).collect()
        };
        let mut records = BTreeMap::new();
        let jobs = [(5, "jm-5"), (6, "jm-6"), (7, "jm-7")].map(|(id, key)| Wanted { id, key });
        let missing: Vec<_> = sort(jobs.to_vec(), rows(), &mut records).iter().map(|job| job.id).collect();
        assert_eq!((missing, records.into_keys().collect()), (vec![6, 7], vec![5]));
        // What an earlier version kept has no key.
        let mut records = BTreeMap::new();
        assert!(sort(vec![Wanted { id: 6, key: "" }], rows(), &mut records).is_empty());
    }
}
