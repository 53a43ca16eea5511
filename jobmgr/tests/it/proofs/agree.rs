//! The rows, the objects and the witness file tell the same.

use std::collections::BTreeMap;

use jobmgr::domain::job::{AttemptEnding, Job, JobId, LogBody, Reason, Status};
use sha2::{Digest, Sha256};

use super::rows::Rows;
use super::witness::{self, Line};
use crate::support::processes::of_jobs;
use crate::support::server::{Home, eventually};

/// What came of the jobs.
#[derive(Debug, Default)]
pub struct Account {
    /// How many ended well.
    pub completed: usize,
    /// How many were given up because they were running each of three times that their worker died.
    pub given_up: usize,
    /// How many attempts ended so, that were not the last ones.
    pub endings: BTreeMap<&'static str, usize>,
    /// How many objects are left of attempts that came to nothing.
    pub leftovers: usize,
}

impl Account {
    /// How many attempts ended so.
    pub fn of(&self, ending: AttemptEnding) -> usize {
        self.endings.get(ending.as_str()).copied().unwrap_or_default()
    }
}

/// Checks jobs that did [`witness::WORK`] and have all ended.
pub fn check(home: &Home, rows: &Rows, ids: &[JobId]) -> Account {
    eventually("nothing of any job runs", || of_jobs(home.dir.path()).is_empty());
    let lines = witness::lines(home);
    let mut account = Account::default();
    for id in ids {
        let job = rows.settled(*id);
        check_attempts(rows, &job, &mut account);
        check_events(rows, &job);
        let (last, ended) = witness::follow(&lines, *id);
        if job.status == Status::Completed {
            account.completed += 1;
            assert_eq!((last, ended), (job.attempt, true), "{job:?}");
            check_result(rows, &job);
        } else {
            account.given_up += 1;
            assert!(last <= job.attempt, "{job:?}");
        }
    }
    assert!(lines.iter().all(|line: &Line| ids.contains(&line.job)), "a job ran that nobody knows");
    account.leftovers = check_objects(rows, ids);
    account
}

/// Attempts rise by one; each but the last has an ending, and three deaths end a job.
fn check_attempts(rows: &Rows, job: &Job, account: &mut Account) {
    let attempts = rows.attempts(job.id);
    let numbers: Vec<i64> = attempts.iter().map(|attempt| attempt.attempt).collect();
    let deaths = attempts.iter().filter(|attempt| {
        *account.endings.entry(attempt.ending.as_str()).or_default() += 1;
        matches!(attempt.ending, AttemptEnding::Lost | AttemptEnding::Crashed)
    });
    let deaths = deaths.count();
    match job.status {
        Status::Completed => {
            assert_eq!(numbers, (1..job.attempt).collect::<Vec<_>>(), "{job:?}");
            assert!(deaths < 3, "{job:?} {attempts:?}");
        }
        _ => {
            assert_eq!(job.reason, Some(Reason::CrashLimit), "{job:?}");
            assert_eq!((numbers, deaths), ((1..=job.attempt).collect(), 3), "{job:?}");
        }
    }
}

/// Each change of the job has left one event, whoever died when.
fn check_events(rows: &Rows, job: &Job) {
    let attempts = (1..=job.attempt).flat_map(|attempt| [(Status::Started, attempt), (Status::Queued, attempt)]);
    let mut way: Vec<(Status, i64)> = std::iter::once((Status::Queued, 0)).chain(attempts).collect();
    way.pop();
    way.push((job.status, job.attempt));
    let events = rows.events(job.id);
    let told: Vec<(Status, i64)> = events.iter().map(|event| (event.status, event.attempt)).collect();
    assert_eq!(told, way, "{job:?}");
    assert_eq!(events.last().unwrap().reason, job.reason, "{job:?}");
}

/// The result is one attempt's, and whole.
fn check_result(rows: &Rows, job: &Job) {
    let ended = job.ended.as_ref().unwrap();
    let expected = witness::artifacts(job.id, job.attempt);
    assert_eq!(ended.stdout.body, LogBody::Inline(expected[0].1.clone()), "{job:?}");
    assert_eq!(ended.artifacts.len(), expected.len(), "{job:?}");
    for (artifact, (name, bytes)) in ended.artifacts.iter().zip(&expected) {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let told = (artifact.name.as_str(), artifact.size, artifact.sha256.as_str());
        assert_eq!(told, (*name, bytes.len() as u64, digest.as_str()), "{job:?}");
        assert!(rows.bytes(&artifact.key) == *bytes, "{artifact:?} is not what its job left");
    }
}

/// Each object is of a known job; those of the attempt that made the result are exactly those that its row lists.
fn check_objects(rows: &Rows, ids: &[JobId]) -> usize {
    let mut objects: BTreeMap<(JobId, i64), Vec<String>> = BTreeMap::new();
    for (key, job, attempt) in rows.objects() {
        objects.entry((job, attempt)).or_default().push(key);
    }
    for id in ids {
        let job = rows.job(*id).unwrap();
        if job.status == Status::Completed {
            let mut listed = job.ended.unwrap().artifacts.into_iter().map(|artifact| artifact.key).collect::<Vec<_>>();
            let mut there = objects.remove(&(*id, job.attempt)).unwrap_or_default();
            listed.sort();
            there.sort();
            assert_eq!(there, listed, "job {id}");
        }
    }
    assert!(objects.keys().all(|(job, _)| ids.contains(job)), "{objects:?}");
    objects.values().map(Vec::len).sum()
}
