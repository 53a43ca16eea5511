//! SIGTERM in the middle of each thing that a worker does: it ends in order, and no job has crashed.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use jobmgr::domain::job::{AttemptEnding, JobId};
use serde_json::json;

use super::rows::Rows;
use super::{Database, agree, elsewhere, witness};
use crate::support::databases::Kind;
use crate::support::process::Process;
use crate::support::processes::{Signal, of_jobs, signal};
use crate::support::server::{Home, Server, eventually};

/// What a worker does when it is asked to end.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A job was submitted just now.
    Claim,
    /// A job has begun.
    Run,
    /// A part of what a job left is stored.
    Upload,
    /// A job has ended, or is about to.
    Commit,
}

const MOMENTS: [Moment; 4] = [Moment::Claim, Moment::Run, Moment::Upload, Moment::Commit];

#[test]
fn on_sqlite() {
    proof(Database::Sqlite);
}

#[test]
fn on_postgres() {
    proof(Database::Server(Kind::Postgres));
}

#[test]
fn on_mariadb() {
    proof(Database::Server(Kind::MariaDb));
}

fn proof(database: Database) {
    a_stream_of_jobs_loses_none(database);
    a_long_job_moves_on_however_often(database);
}

fn api(home: &Home) -> Server {
    home.serve_by(home.jobmgr(&["serve", "--no-worker"]))
}

fn end(home: &Home, worker: &mut Process) {
    signal(worker.pid(), Signal::TERM);
    assert_eq!(worker.exit().code(), Some(0), "{}", home.log());
}

/// Some jobs have time to end, some have not.
fn a_stream_of_jobs_loses_none(database: Database) {
    let Some(home) = database.home("[Worker]\nPoll = \"200ms\"\nConcurrency = 2") else { return };
    witness::spec(&home, "job", witness::WORK, "KillGrace = \"100ms\"");
    let api = api(&home);
    let mut rows = Rows::of(&home);
    let mut ids: Vec<JobId> = Vec::new();
    let rounds = database.extent().of(8, 16, 100);
    for round in 0..rounds {
        let drain = if round / 4 % 2 == 0 { "30ms" } else { "5s" };
        let mut worker = home.worker_by(with_drain(elsewhere(&home, round % 3), drain));
        let jobs = 2 + ids.len() as i64 % 3;
        ids.extend((0..jobs).map(|_| api.start("job", json!({}))));
        let moment = MOMENTS[round as usize % MOMENTS.len()];
        wait_for(moment, &home, &rows, || {
            let id = api.start("job", json!({}));
            ids.push(id);
            id
        });
        thread::sleep(Duration::from_millis(fastrand::u64(0..15)));
        end(&home, &mut worker);
        assert!(of_jobs(home.dir.path()).is_empty(), "{moment:?}");
        rows.look(&ids);
    }
    let _last = home.worker_by(elsewhere(&home, 0));
    rows.wait(&ids);
    let account = agree::check(&home, &rows, &ids);
    println!("{database:?}: {rounds} times, {account:?}");
    assert_eq!(account.completed, ids.len());
    let released = account.of(AttemptEnding::Released);
    assert_eq!(account.endings.values().sum::<usize>(), released, "a drain is no crash: {account:?}");
    assert!(released >= 3, "no signal came at a bad time: {account:?}");
}

/// Waits until the worker that was just started does this.
fn wait_for(moment: Moment, home: &Home, rows: &Rows, submit: impl FnOnce() -> JobId) {
    let (lines, objects) = (witness::lines(home).len(), rows.objects().len());
    let has = |word: &str, from: usize| witness::lines(home).iter().skip(from).any(|line| line.word == word);
    let what = format!("{moment:?}");
    match moment {
        // Its first claim, or the one that the signal of a new job causes.
        Moment::Claim => {
            eventually(&what, || witness::lines(home).len() > lines);
            submit();
        }
        Moment::Run => eventually(&what, || has("start", lines)),
        Moment::Upload => eventually(&what, || rows.objects().len() > objects),
        Moment::Commit => eventually(&what, || has("end", lines)),
    }
}

/// How long each worker may let its jobs go on: longer than a lease; not long enough; for longer than anybody waits,
/// unless it is asked twice.
const DRAINS: [&str; 5] = ["8s", "500ms", "500ms", "500ms", "10m"];

/// A job in the grace time ends as if nothing were; one that is longer goes to the next worker, more often than a job
/// may crash; a second signal ends it without waiting.
fn a_long_job_moves_on_however_often(database: Database) {
    let Some(home) = database.home("[Worker]\nPoll = \"200ms\"\nConcurrency = 2\nLease = \"5s\"") else { return };
    let until = format!("until [ -e {}/go-$JOBMGR_JOB_ID ]; do sleep 0.02; done", home.dir.path().display());
    witness::spec(&home, "gate", &format!("{until}\n{}", witness::WORK), "Timeout = \"10m\"\nKillGrace = \"100ms\"");
    let api = api(&home);
    let mut rows = Rows::of(&home);
    let [short, long] = [(); 2].map(|()| api.start("gate", json!({})));
    for (attempt, drain) in (1..).zip(DRAINS) {
        let mut worker = home.worker_by(with_drain(elsewhere(&home, attempt), drain));
        runs(&home, long, attempt);
        if attempt == 1 {
            runs(&home, short, 1);
        }
        let told = home.log().matches("claiming no more jobs").count();
        signal(worker.pid(), Signal::TERM);
        eventually("it has heard it", || home.log().matches("claiming no more jobs").count() > told);
        let asked = Instant::now();
        match attempt {
            1 => {
                // The leases are renewed meanwhile.
                thread::sleep(Duration::from_secs(6));
                std::fs::write(home.path(&format!("go-{short}")), "").unwrap();
            }
            5 => drop(signal(worker.pid(), Signal::TERM)),
            _ => {}
        }
        assert_eq!(worker.exit().code(), Some(0), "{}", home.log());
        assert!(asked.elapsed() < Duration::from_secs(40), "only after {:?}", asked.elapsed());
        assert!(of_jobs(home.dir.path()).is_empty());
        assert_eq!((rows.look(&[short]), rows.look(&[long])), (0, 1), "it had the time to end");
    }
    // None of these was counted: this is the first death.
    let mut dies = home.worker_by(elsewhere(&home, 9));
    runs(&home, long, 6);
    dies.kill();
    std::fs::write(home.path(&format!("go-{long}")), "").unwrap();
    let _last = home.worker_by(elsewhere(&home, 9));
    rows.wait(&[long]);
    let account = agree::check(&home, &rows, &[short, long]);
    println!("{database:?}: {account:?}");
    let counts = (account.completed, account.of(AttemptEnding::Released), account.of(AttemptEnding::Lost));
    assert_eq!(counts, (2, 5, 1), "{account:?}: {}", home.log());
    assert_eq!((rows.settled(short).attempt, rows.settled(long).attempt), (1, 7));
}

/// Waits until this attempt has begun.
fn runs(home: &Home, id: JobId, attempt: u32) {
    let begun = || witness::lines(home).iter().any(|line| (line.job, line.attempt) == (id, attempt.into()));
    eventually("the job runs", begun);
}

fn with_drain(mut command: Command, drain: &str) -> Command {
    command.env("JOBMGR_WORKER__DRAIN", drain);
    command
}
