//! kill -9 of the server, of a runner, of both.

use std::time::{Duration, Instant};

use jobmgr::domain::job::{Reason, Status};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{assert_gone, assert_nothing_left, entries, started, stubborn, to};
use crate::support::processes::{Signal, of_jobs, runs, signal};
use crate::support::server::{Ended, Home, Server, eventually};

/// The job was run again, and left what it leaves.
fn assert_second_attempt(home: &Home, server: &Server, ended: &Ended, id: i64) {
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", "attempt 2\n"));
    let [artifact] = &ended.artifacts[..] else { panic!("{ended:?}") };
    assert_eq!(artifact["name"], "sub/digits.txt");
    assert_eq!(server.download(artifact), [b'2'; 300_000]);
    let job = home.stored(id);
    assert_eq!(job.attempt, 2);
    let sha256: String = Sha256::digest([b'2'; 300_000]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(job.ended.unwrap().artifacts[0].sha256, sha256);
    assert_eq!(entries(&home.objects_of(id)), ["2"]);
}

#[test]
fn a_killed_server_takes_its_jobs_with_it_and_the_next_one_runs_them_again() {
    let home = stubborn("");
    let mut server = home.serve();
    let id = server.start("stubborn", to(&home));
    let pids = started(&home);
    server.kill();
    let killed = Instant::now();
    eventually("runner and processes are gone", || !pids.iter().any(|pid| runs(*pid)));
    assert!(killed.elapsed() < Duration::from_secs(10), "only after {:?}", killed.elapsed());
    assert!(of_jobs(home.dir.path()).is_empty());

    let server = home.serve();
    let again = Instant::now();
    let ended = server.wait(id);
    // Certainly dead: its lease, a minute, is not waited for.
    assert!(again.elapsed() < Duration::from_secs(20), "only after {:?}", again.elapsed());
    assert_second_attempt(&home, &server, &ended, id);
    assert_nothing_left(&home, 1);
}

#[test]
fn a_server_that_starts_ends_what_a_killed_server_and_runner_left() {
    let home = stubborn("");
    let mut server = home.serve();
    let id = server.start("stubborn", to(&home));
    let pids = started(&home);
    let old = home.left_in_tmp();
    // Stopped, the server does not see its runner go, and ends nothing.
    signal(server.pid(), Signal::STOP);
    signal(pids[0], Signal::KILL);
    eventually("the runner is gone", || !runs(pids[0]));
    server.kill();
    assert!(pids[1..].iter().all(|pid| runs(*pid)), "they were to be left");

    let server = home.serve();
    assert_gone(&pids);
    let now = home.left_in_tmp();
    assert!(!old.iter().any(|name| now.contains(name)), "{old:?} {now:?}");
    assert_second_attempt(&home, &server, &server.wait(id), id);
    assert_nothing_left(&home, 1);
}

#[test]
fn a_killed_runner_costs_its_own_job_an_attempt_and_its_neighbours_nothing() {
    let home = stubborn("[Worker]\nConcurrency = 2");
    home.sh(
        "neighbour",
        "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.05; done; echo $JOBMGR_ATTEMPT",
        super::STUBBORN_KEYS,
    );
    let server = home.serve();
    let (victim, neighbour) = (server.start("stubborn", to(&home)), server.start("neighbour", to(&home)));
    let pids = started(&home);
    server.wait_for(neighbour, "started");
    signal(pids[0], Signal::KILL);
    let ended = server.wait(victim);
    assert_gone(&pids);
    assert_second_attempt(&home, &server, &ended, victim);
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(server.wait(neighbour).result, "1\n");
    assert_nothing_left(&home, 1);
}

#[test]
fn the_next_attempt_starts_when_nothing_of_the_last_one_runs() {
    let home = Home::new("");
    // Whoever the first attempt left would write after the second one began.
    let script = "cd \"$JOBMGR_PARAMETER_HOME\"; echo start $JOBMGR_ATTEMPT >> log\n\
                  [ $JOBMGR_ATTEMPT = 1 ] || { sleep 1; exit 0; }\n\
                  setsid sh -c 'while :; do echo one >> log; sleep 0.02; done' & kill -9 $PPID; sleep 600";
    home.sh("split", script, super::STUBBORN_KEYS);
    let server = home.serve();
    assert_eq!(server.run("split", to(&home)).status, "completed");
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    let (_, second) = log.split_once("start 2\n").unwrap();
    assert_eq!(second, "", "two attempts ran at once");
}

#[test]
fn a_job_that_kills_its_runner_three_times_is_not_run_again() {
    let home = stubborn("[Worker]\nConcurrency = 2");
    home.sh(
        "poison",
        "echo $JOBMGR_ATTEMPT >> \"$JOBMGR_PARAMETER_HOME/runs\"; kill -9 $PPID; sleep 600",
        super::STUBBORN_KEYS,
    );
    let server = home.serve();
    let id = server.start("poison", to(&home));
    let others: Vec<i64> = (0..5).map(|_| server.start("quick", json!({}))).collect();
    let ended = server.wait(id);
    assert_eq!(ended.status, "failed");
    assert_eq!(ended.result, "its runner died while it ran this job, 3 times in all; it is not run again");
    assert_eq!(home.stored(id).reason, Some(Reason::CrashLimit));
    assert_eq!(std::fs::read_to_string(home.path("runs")).unwrap(), "1\n2\n3\n");
    for other in others {
        assert_eq!(server.wait(other).result, "quick\n");
    }
    assert_nothing_left(&home, 1);
}

#[test]
fn a_runner_that_dies_between_jobs_costs_none_an_attempt() {
    let home = Home::new("");
    home.sh("who", "echo $PPID $JOBMGR_ATTEMPT", "");
    let server = home.serve();
    let runner_of = |ended: Ended| {
        let (runner, attempt) = ended.result.trim().split_once(' ').unwrap();
        assert_eq!(attempt, "1");
        runner.parse::<u32>().unwrap()
    };
    let first = runner_of(server.run("who", json!({})));
    assert_eq!(runner_of(server.run("who", json!({}))), first, "a runner is kept for many jobs");
    signal(first, Signal::KILL);
    eventually("it is gone", || !runs(first));
    let asked = Instant::now();
    assert_ne!(runner_of(server.run("who", json!({}))), first);
    assert!(asked.elapsed() < Duration::from_secs(4), "only after {:?}", asked.elapsed());
}

/// Leaves many artifacts; each takes a while to store.
const MANY: &str = "cd \"$JOBMGR_ARTIFACTS_DIR\"; seq -f %04g 1500 | while read n; do echo $n > $n.txt; done";

#[test]
fn what_a_dead_attempt_had_uploaded_goes_when_the_job_ends() {
    let home = Home::new("");
    home.sh("many", MANY, "Timeout = \"5m\"");
    let mut server = home.serve();
    let id = server.start("many", json!({}));
    let first = || entries(&home.objects_of(id).join("1")).len();
    eventually("some artifacts are stored", || first() > 100);
    server.kill();
    assert!(first() < 1500);
    let server = home.serve();
    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.artifacts.len()), ("completed", 1500));
    for artifact in ended.artifacts.iter().step_by(100) {
        let name = artifact["name"].as_str().unwrap().strip_suffix(".txt").unwrap();
        assert_eq!(server.download(artifact), format!("{name}\n").into_bytes());
    }
    eventually("the first attempt's objects are gone", || entries(&home.objects_of(id)) == ["2"]);
    assert_eq!(entries(&home.objects_of(id).join("2")).len(), 1500);
}

#[test]
fn a_job_whose_server_dies_three_times_leaves_no_objects() {
    let home = Home::new("");
    home.sh("many", MANY, "Timeout = \"5m\"");
    let mut server = home.serve();
    let id = server.start("many", json!({}));
    for attempt in 1..=3 {
        let stored = || entries(&home.objects_of(id).join(attempt.to_string())).len();
        eventually("some artifacts are stored", || stored() > 10);
        server.kill();
        server = home.serve();
    }
    let ended = server.wait(id);
    assert_eq!(ended.result, "its worker died while it ran this job, 3 times in all; it is not run again");
    assert!(ended.artifacts.is_empty());
    assert_eq!(home.stored(id).status, Status::Failed);
    eventually("no object is left", || entries(&home.objects_of(id)).is_empty());
}
