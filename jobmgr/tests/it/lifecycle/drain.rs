//! SIGTERM, SIGINT, a second one.

use std::time::{Duration, Instant};

use jobmgr::domain::job::Status;
use serde_json::json;

use super::{assert_gone, assert_nothing_left, started, stubborn, to};
use crate::support::processes::{Signal, signal};
use crate::support::server::{Home, Server, eventually};

const HOME: &str = "Timeout = \"10m\"\nKillGrace = \"300ms\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";
const GATE: &str = "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done; echo through $JOBMGR_ATTEMPT";

fn ask_to_stop(home: &Home, server: &Server, how: Signal) {
    signal(server.pid(), how);
    eventually("the server has heard it", || home.log().contains("claiming no more jobs"));
}

fn running_job_finishes(how: Signal) {
    let home = stubborn("");
    home.sh("gate", GATE, HOME);
    let mut server = home.serve();
    let running = server.start("gate", to(&home));
    let queued = [server.start("quick", json!({})), server.start("quick", json!({}))];
    server.wait_for(running, "started");
    ask_to_stop(&home, &server, how);
    // Who waits for a job is answered meanwhile; a job that is accepted now runs at the next start.
    assert_eq!(server.job(running)["job"]["status"], "started");
    let late = server.start("quick", json!({}));
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(server.exit().code(), Some(0), "{}", home.log());
    assert_nothing_left(&home, 0);
    let job = home.stored(running);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1));
    for id in queued.into_iter().chain([late]) {
        let job = home.stored(id);
        assert_eq!((job.status, job.attempt), (Status::Queued, 0));
    }
    let server = home.serve();
    assert_eq!(server.wait(running).result, "through 1\n");
    for id in queued.into_iter().chain([late]) {
        assert_eq!(server.wait(id).result, "quick\n");
    }
}

#[test]
fn sigterm_lets_the_running_job_finish_and_the_queued_ones_wait() {
    running_job_finishes(Signal::TERM);
}

#[test]
fn ctrl_c_does_the_same() {
    running_job_finishes(Signal::INT);
}

#[test]
fn a_job_that_outlives_the_drain_is_ended_and_runs_again_however_often() {
    let home = Home::new("[Worker]\nDrain = \"200ms\"");
    // It obeys, and says so with exit status 0: it was ended nevertheless.
    let script = "cd \"$JOBMGR_PARAMETER_HOME\"; trap 'exit 0' TERM\n\
                  [ $JOBMGR_ATTEMPT -gt 4 ] && exit 0\n\
                  setsid sleep 600 & echo $! > child; touch started-$JOBMGR_ATTEMPT; sleep 600 & wait";
    home.sh("long", script, HOME);
    let mut id = 0;
    // More often than a job may crash.
    for attempt in 1..=4 {
        let mut server = home.serve();
        if attempt == 1 {
            id = server.start("long", to(&home));
        }
        eventually("the job runs", || home.path(&format!("started-{attempt}")).exists());
        signal(server.pid(), Signal::TERM);
        assert_eq!(server.exit().code(), Some(0), "{}", home.log());
        assert_nothing_left(&home, 0);
        let job = home.stored(id);
        assert_eq!((job.status, job.attempt, job.started_ms), (Status::Queued, attempt, None));
    }
    let server = home.serve();
    assert_eq!(server.wait(id).status, "completed");
    assert_eq!(home.stored(id).attempt, 5);
}

#[test]
fn a_store_that_does_not_answer_holds_no_end_up() {
    // It takes connections, and never says a word.
    let store = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[Worker]\nDrain = \"200ms\"\n[Storage]\nURL = \"s3://bucket\"\n[Storage.Options]\nendpoint = \"http://{}\"\n\
         region = \"r\"\naccess_key_id = \"a\"\nsecret_access_key = \"s\"\nallow_http = \"true\"",
        store.local_addr().unwrap()
    );
    let home = Home::new(&config);
    home.sh("leaves", "echo 1 > \"$JOBMGR_ARTIFACTS_DIR/a\"; touch \"$JOBMGR_PARAMETER_HOME/done\"", HOME);
    let mut server = home.serve();
    let id = server.start("leaves", to(&home));
    eventually("the job has ended and its artifact is on its way", || home.path("done").exists());
    let asked = Instant::now();
    ask_to_stop(&home, &server, Signal::TERM);
    assert_eq!(server.exit().code(), Some(0), "{}", home.log());
    assert!(asked.elapsed() < Duration::from_secs(20), "only after {:?}", asked.elapsed());
    let job = home.stored(id);
    assert_eq!((job.status, job.attempt), (Status::Queued, 1));
    assert_nothing_left(&home, 0);
}

#[test]
fn a_second_signal_ends_the_running_job_at_once() {
    let home = stubborn("[Worker]\nDrain = \"10m\"");
    let mut server = home.serve();
    let id = server.start("stubborn", to(&home));
    let pids = started(&home);
    ask_to_stop(&home, &server, Signal::TERM);
    let asked = Instant::now();
    signal(server.pid(), Signal::TERM);
    assert_eq!(server.exit().code(), Some(0), "{}", home.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "only after {:?}", asked.elapsed());
    assert_gone(&pids);
    assert_nothing_left(&home, 0);
    let job = home.stored(id);
    assert_eq!((job.status, job.attempt), (Status::Queued, 1));
    assert_eq!(home.serve().wait(id).result, "attempt 2\n");
}
