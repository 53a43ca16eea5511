//! Workers that die at a given place, while others look at their jobs all the time.

use std::collections::BTreeSet;
use std::sync::Mutex;

use jobmgr::crash::{Point, VARIABLE};
use jobmgr::domain::job::Status;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::reader::{SCRIPT, Seen, output, watch};
use super::trial::{Base, Process, Trial};
use crate::support::databases::Kind;
use crate::support::long;
use crate::support::processes::{Signal, of_jobs, signal};
use crate::support::server::{Server, eventually};

const CONFIG: &str = "[Worker]\nConcurrency = 2\nLease = \"4s\"\nPoll = \"100ms\"\nDrain = \"100ms\"";
/// With a limit, claims are made step by step in every database.
const KEYS: &str = "KillGrace = \"200ms\"\nMaxRunning = 50";
/// How many trials go on at once: they wait most of the time.
const AT_ONCE: usize = 6;
/// How many workers are asked to end, until one has a job to give back.
const TERMINATED: usize = 5;
/// What abort() ends a process with.
const ABORTED: Option<i32> = Some(6);

#[test]
fn a_worker_that_dies_anywhere_loses_and_doubles_nothing_on_sqlite() {
    everywhere(Base::Sqlite);
}

#[test]
fn a_worker_that_dies_anywhere_loses_and_doubles_nothing_on_postgres() {
    everywhere(Base::Server(Kind::Postgres));
}

#[test]
fn a_worker_that_dies_anywhere_loses_and_doubles_nothing_on_mariadb() {
    everywhere(Base::Server(Kind::MariaDb));
}

#[test]
fn a_worker_that_dies_somewhere_loses_and_doubles_nothing_on_mysql() {
    somewhere(Kind::MySql);
}

#[test]
fn a_worker_that_dies_somewhere_loses_and_doubles_nothing_on_mariadb_with_snapshot_isolation() {
    somewhere(Kind::MariaDbSnapshot);
}

#[test]
fn a_worker_that_dies_somewhere_loses_and_doubles_nothing_on_pgbouncer() {
    somewhere(Kind::PgBouncer);
}

/// Where a transaction is cut off; everywhere with `JOBMGR_LONG_TESTS=1`: these servers say no to what the others say
/// no to.
fn somewhere(kind: Kind) {
    let here = [Point::InClaim, Point::BeforeCommit, Point::AfterCommit, Point::InSweep, Point::InRelease];
    let points = if long() { Point::ALL.to_vec() } else { here.to_vec() };
    at_each(&points, Base::Server(kind));
}

fn everywhere(base: Base) {
    at_each(&Point::ALL, base);
}

fn at_each(points: &[Point], base: Base) {
    let left = Mutex::new(points.iter().copied().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((number, point)) = left.lock().unwrap().next() else { return };
                    // Every second time the next worker knows at once that the last one is dead.
                    dies_at(point, base, number % 2 == 0);
                }
            });
        }
    });
}

/// How often a worker comes by before it dies: it has ended a job or two by then.
fn times(point: Point) -> u32 {
    match point {
        Point::InSweep | Point::AfterSweep | Point::InRelease | Point::AfterRelease => 1,
        // Each job leaves three files.
        Point::MidUpload => 4,
        _ => 2,
    }
}

fn dies_at(point: Point, base: Base, known_dead: bool) {
    let Some(trial) = Trial::new(base, CONFIG) else { return };
    trial.sh("job", SCRIPT, KEYS);
    trial.sh("stays", &format!("until [ -e \"$WITNESS.go\" ]; do sleep 0.05; done\n{SCRIPT}"), KEYS);
    let api = trial.api();
    let name = if stays(point) { "stays" } else { "job" };
    let ids: Vec<i64> = (0..6).map(|_| api.start(name, json!({}))).collect();
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&api, &ids));
        let _last = die(&trial, point, &api, &ids);
        std::fs::write(trial.home.path("witness.go"), "").unwrap();
        let _survivor = trial.worker(if known_dead { "tmp" } else { "tmp-of-survivor" });
        reader.join().unwrap_or_else(|_| panic!("a death {point:?} on {base:?}: {}", trial.home.log()))
    });
    eventually("nothing of any job is left", || of_jobs(trial.home.dir.path()).is_empty());
    check(&trial, point, &ids, &seen);
}

/// A worker comes to its end; what runs on is given back.
fn die(trial: &Trial, point: Point, api: &Server, ids: &[i64]) -> Option<Process> {
    let dying = |point: Point, tmp: &str| {
        let mut command = trial.jobmgr(&["worker"], tmp);
        command.env(VARIABLE, format!("{}:{}", point.name(), times(point)));
        trial.start(command)
    };
    let mut worker = dying(if is_sweep(point) { Point::AfterSpawn } else { point }, "tmp");
    if point == Point::RunnerAfterExit {
        eventually("a runner dies", || trial.home.log().contains("the runner died"));
        return Some(worker);
    }
    if matches!(point, Point::InRelease | Point::AfterRelease) {
        // A worker has nothing to give back when its leases ran out meanwhile, on a machine with much to do.
        let mut begun = BTreeSet::new();
        for _ in 0..TERMINATED {
            eventually("a job runs", || !running(api, ids).is_subset(&begun));
            begun.extend(running(api, ids));
            signal(worker.pid(), Signal::TERM);
            eventually(&format!("the worker ends {point:?}"), || worker.has_ended());
            if worker.died_of("it has ended").is_some() {
                break;
            }
            worker = dying(point, "tmp");
        }
    }
    assert_eq!(worker.died_of(&format!("the worker dies {point:?}")), ABORTED, "{point:?}: {}", trial.home.log());
    if is_sweep(point) {
        let mut sweeper = dying(point, "tmp-of-sweeper");
        assert_eq!(sweeper.died_of(&format!("the sweeper dies {point:?}")), ABORTED, "{}", trial.home.log());
    }
    None
}

/// The attempts that run.
fn running(api: &Server, ids: &[i64]) -> BTreeSet<(i64, i64)> {
    let mut client = api.client();
    let jobs: Vec<_> = ids.iter().map(|id| (*id, client.get(&format!("/v1/jobs/{id}")).json())).collect();
    let running = jobs.into_iter().filter(|(_, job)| job["status"] == "started");
    running.map(|(id, job)| (id, job["attempt"].as_i64().unwrap())).collect()
}

/// A job has to run until the worker comes by: it may be given back, or renewed, only while it does.
fn stays(point: Point) -> bool {
    use Point::{AfterRelease, AfterRenewal, BeforeRenewal, InRelease, InRenewal};
    matches!(point, InRelease | AfterRelease | BeforeRenewal | InRenewal | AfterRenewal)
}

fn is_sweep(point: Point) -> bool {
    matches!(point, Point::InSweep | Point::AfterSweep)
}

/// Each job ended once, from one attempt, and has what that attempt left.
fn check(trial: &Trial, point: Point, ids: &[i64], seen: &Seen) {
    let witnessed = trial.witnessed();
    let starts = witnessed.iter().filter(|line| line.starts_with("start"));
    assert_eq!(starts.clone().collect::<BTreeSet<_>>().len(), starts.count(), "{point:?}: {witnessed:?}");
    let mut again = 0;
    for id in ids {
        let (job, attempts) = trial.stored(*id);
        let attempt = job.attempt;
        assert_eq!(job.status, Status::Completed, "{point:?}");
        assert!(witnessed.contains(&format!("end {id} {attempt}")), "{point:?}: {id} {attempt}: {witnessed:?}");
        assert_eq!(seen[id]["result"], output(attempt), "{point:?}: the attempt that ended it");
        let numbers: Vec<i64> = attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!(numbers, (1..attempt).collect::<Vec<_>>(), "{point:?}: {attempts:?}");
        let artifacts = job.ended.unwrap().artifacts;
        let words = format!("{id} {attempt}\n");
        for (artifact, content) in artifacts.iter().zip([words.clone(), output(attempt), words]) {
            let sha256: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((artifact.size, &artifact.sha256), (content.len() as u64, &sha256), "{point:?}: {artifact:?}");
        }
        again += u32::from(attempt > 1);
    }
    // What was being claimed is as if it had not been.
    assert!(again > 0 || point == Point::InClaim, "{point:?} cost nobody anything: {}", trial.home.log());
}
