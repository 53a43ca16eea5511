//! Jobs that kill their worker.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use jobmgr::domain::job::{AttemptEnding, Reason, Status};
use serde_json::json;

use super::trial::{Base, Trial};
use crate::support::databases::Kind;
use crate::support::processes::of_jobs;
use crate::support::server::eventually;

const CONFIG: &str = "[Worker]\nConcurrency = 2\nLease = \"4s\"\nPoll = \"100ms\"";
/// A job's parent is its runner, whose parent is the worker.
const POISON: &str = "kill -9 $(sed -n 's/^PPid:\\t//p' /proc/$PPID/status); sleep 60";

#[test]
fn a_job_that_kills_its_worker_is_given_up_on_sqlite() {
    poison(Base::Sqlite);
}

#[test]
fn a_job_that_kills_its_worker_is_given_up_on_postgres() {
    poison(Base::Server(Kind::Postgres));
}

#[test]
fn a_job_that_kills_its_worker_is_given_up_on_mariadb() {
    poison(Base::Server(Kind::MariaDb));
}

fn poison(base: Base) {
    let Some(trial) = Trial::new(base, CONFIG) else { return };
    trial.sh("poison", POISON, "");
    trial.sh("long", "sleep 3; echo long", "");
    trial.sh("quick", "sleep 0.1; echo quick", "");
    let api = trial.api();
    let mut before: Vec<i64> = (0..4).map(|_| api.start("quick", json!({}))).collect();
    // Beside the bad one from the start, and again and again.
    let long = api.start("long", json!({}));
    let bad = api.start("poison", json!({}));
    before.extend((0..12).map(|_| api.start("quick", json!({}))));
    let (deaths, over) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Starts another one whenever one dies, as systemd would.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut worker = trial.worker("tmp");
                eventually("the worker dies, or is not needed any more", || {
                    worker.has_ended() || over.load(Ordering::Relaxed)
                });
                deaths.fetch_add(u32::from(worker.has_ended()), Ordering::Relaxed);
            }
        });
        let ended = api.wait(bad);
        assert_eq!(ended.status, "failed");
        assert!(ended.result.contains("its worker died while it ran this job, 3 times in all"), "{}", ended.result);
        assert_eq!(api.wait(long).result, "long\n");
        for id in &before {
            assert_eq!(api.wait(*id).result, "quick\n");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(deaths.load(Ordering::Relaxed), 3);
    let (job, attempts) = trial.stored(bad);
    assert_eq!((job.status, job.reason, job.attempt), (Status::Failed, Some(Reason::CrashLimit), 3));
    assert!(attempts.iter().all(|attempt| attempt.ending == AttemptEnding::Lost), "{attempts:?}");
    eventually("nothing of any job is left", || of_jobs(trial.home.dir.path()).is_empty());
}
