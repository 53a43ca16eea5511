use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jobmgr_plugin_api::{Error, Kind, Result};

use crate::command::{Commands, refusal};
use crate::state::Record;

/// The fields that are asked for. A name and a comment as long as a key, and more, fit in.
const FIELDS: &str = "--Format=JobID:20|,State:32|,exit_code:16|,Reason:64|,NodeList:64|,Name:80|,Comment:100|";
/// How long a job may have ended that accounting is asked about.
const BACK: &str = "--starttime=now-30days";
/// Names other jobs than their number does.
const NO_SUCH_JOB: &str = "Invalid job id";

/// What Slurm knows of jobs: its queue, which forgets them some minutes after their end (`MinJobAge`), and its
/// accounting, where there is one.
pub struct Queue {
    commands: Commands,
    has_accounting: AtomicBool,
}

impl Queue {
    pub fn new(commands: Commands, accounting: Option<bool>) -> Self {
        Self { commands, has_accounting: AtomicBool::new(accounting.unwrap_or(true)) }
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// What is known of these jobs, in one question to the queue, and one to accounting about those that it forgot.
    pub fn records(&self, ids: &[u64]) -> Result<BTreeMap<u64, Record>> {
        let list = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let rows = self.squeue(&[format!("--jobs={}", list(ids))])?;
        let mut records: BTreeMap<_, _> = rows.into_iter().map(|row| (row.id, row.record)).collect();
        let missing: Vec<_> = ids.iter().copied().filter(|id| !records.contains_key(id)).collect();
        if !missing.is_empty() {
            let rows = self.sacct(&[format!("--jobs={}", list(&missing))])?;
            records.extend(rows.into_iter().map(|row| (row.id, row.record)));
        }
        Ok(records)
    }

    /// The number of the job with this name and this comment, of ours only, that the queue has.
    pub fn find(&self, name: &str, comment: &str) -> Result<Option<u64>> {
        let rows = self.squeue(&["--me".into(), format!("--name={name}")])?;
        Ok(number(&rows, name, comment))
    }

    /// The same where the queue has forgotten it. Accounting has it by its comment only where it is told to keep those
    /// (`AccountingStoreFlags=job_comment`).
    pub fn find_forgotten(&self, name: &str, comment: &str) -> Result<Option<u64>> {
        let rows = self.sacct(&[format!("--name={name}"), BACK.into()])?;
        Ok(number(&rows, name, comment))
    }

    fn squeue(&self, which: &[String]) -> Result<Vec<Row>> {
        let mut arguments = vec!["--noheader".to_owned(), "--states=all".to_owned(), FIELDS.to_owned()];
        arguments.extend_from_slice(which);
        let said = self.commands.call("squeue", &arguments, "").map_err(later)?;
        if said.ok {
            return Ok(said.stdout.lines().filter_map(queued).collect());
        }
        // Asked about one job only, it fails when it does not know that.
        if said.stderr.contains(NO_SUCH_JOB) { Ok(Vec::new()) } else { Err(later(refusal("squeue", &said))) }
    }

    fn sacct(&self, which: &[String]) -> Result<Vec<Row>> {
        if !self.has_accounting.load(Ordering::Relaxed) {
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
}

/// A question may always be asked again.
fn later(error: Error) -> Error {
    let kind = if error.kind() == Kind::Failed { Kind::Failed } else { Kind::Retry };
    Error::new(kind, error.to_string())
}

struct Row {
    id: u64,
    record: Record,
    name: String,
    comment: String,
}

fn number(rows: &[Row], name: &str, comment: &str) -> Option<u64> {
    rows.iter().find(|row| row.name == name && row.comment == comment).map(|row| row.id)
}

/// A line of `squeue`, whose exit codes are those of wait(2).
fn queued(line: &str) -> Option<Row> {
    row(line, |code| code.parse().ok())
}

/// A line of `sacct`, whose exit codes are `5:0`, or `0:9` for a signal.
fn accounted(line: &str) -> Option<Row> {
    row(line, |text| {
        let (code, signal) = text.split_once(':')?;
        Some((code.parse::<i32>().ok()? << 8) | signal.parse::<i32>().ok()?)
    })
}

fn row(line: &str, status: impl Fn(&str) -> Option<i32>) -> Option<Row> {
    let mut fields = line.splitn(7, '|').map(str::trim);
    let mut next = || fields.next().map(|field| if field == "(null)" { "" } else { field });
    let id = next()?.parse().ok()?;
    // `CANCELLED by 1000`
    let state = next()?.split_whitespace().next()?.to_owned();
    let status = status(next()?);
    let (reason, nodes, name) = (next()?.to_owned(), next()?.to_owned(), next()?.to_owned());
    let comment = next()?.trim_end_matches('|').trim_end().to_owned();
    Some(Row { id, record: Record { state, status, reason, nodes }, name, comment })
}

#[cfg(test)]
mod tests {
    use super::{accounted, queued};

    #[test]
    fn both_kinds_of_lines_are_read() {
        let row = queued("5   |FAILED   |2304  |NonZeroExitCode  |n1  |jm-1  |jobmgr:jm-1  |").unwrap();
        assert_eq!((row.id, row.record.state.as_str(), row.record.status), (5, "FAILED", Some(9 << 8)));
        assert_eq!((row.name.as_str(), row.comment.as_str()), ("jm-1", "jobmgr:jm-1"));
        let row = accounted("6|CANCELLED by 0|0:15|None|n1|jm-2|").unwrap();
        assert_eq!((row.id, row.record.state.as_str(), row.record.status), (6, "CANCELLED", Some(15)));
        assert!(queued("slurm_load_jobs error").is_none());
        assert!(queued("").is_none());
    }
}
