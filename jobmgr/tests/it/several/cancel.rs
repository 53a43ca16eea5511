//! The end of a job that another process runs.

use std::time::Instant;

use super::*;
use crate::support::processes::{of_jobs, runs};
use crate::support::server::whole;

/// Writes some output and a file, starts processes that are hard to find, and sleeps.
const LONG: &str = "echo said; echo kept > \"$JOBMGR_ARTIFACTS_DIR/kept.txt\"
setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 600; done' & one=$!
(setsid sh -c 'echo $$ > two; sleep 600; true' &)
until [ -s two ]; do sleep 0.01; done
echo $$ $one $(cat two) > pids; sleep 600";
const KEYS: &str = "Timeout = \"10m\"\nKillGrace = \"200ms\"";

/// Cancels a running job; gives how long it took until nothing of it was left.
fn ends_what_runs(fleet: &Fleet) -> Duration {
    fleet.sh("long", LONG, KEYS);
    let (asker, reader) = (fleet.api(), fleet.api());
    let _worker = fleet.worker(&[]);
    let id = start(&reader, "long");
    eventually("the job has started its processes", || whole(&fleet.home.path("pids")).is_some());
    let pids: Vec<u32> =
        whole(&fleet.home.path("pids")).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3);
    let asked = Instant::now();
    assert_eq!(cancel(&asker, id), (202, json!({ "id": id, "status": "started" })));
    let ended = reader.wait(id);
    let took = asked.elapsed();
    assert!(!pids.iter().any(|pid| runs(*pid)), "something of {pids:?} runs after the end was written");
    assert!(of_jobs(fleet.home.dir.path()).is_empty());
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("failed", "said\ncanceled"));
    assert_eq!(reader.download(&ended.artifacts[0]), b"kept\n");
    assert_eq!(cancel(&asker, id).1["jobStatus"], "canceled");
    assert_eq!(attempts(&reader, id)[0]["ending"], "canceled");
    took
}

fn ends_what_waits(fleet: &Fleet) {
    fleet.sh("never", "echo ran >> ran", "");
    let (asker, reader) = (fleet.api(), fleet.api());
    let id = start(&asker, "never");
    assert_eq!(cancel(&reader, id), (202, json!({ "id": id, "status": "canceled" })));
    assert_eq!(reader.wait(id).result, "canceled");
    assert_eq!(cancel(&asker, id).0, 409);
    let _worker = fleet.worker(&[]);
    let after = start(&asker, "never");
    assert_eq!(reader.wait(after).status, "completed");
    assert_eq!(fleet.lines("ran").len(), 1);
    assert!(attempts(&reader, id).is_empty());
}

#[test]
fn by_a_notification_a_running_job_ends_at_once() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"30s\"") else { return };
    let took = ends_what_runs(&fleet);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn without_notifications_it_ends_within_the_poll_interval() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"500ms\"") else { return };
    let took = ends_what_runs(&fleet);
    assert!(took < Duration::from_millis(500 + 1000), "{took:?}");
}

#[test]
fn on_sqlite_too() {
    let took = ends_what_runs(&on_sqlite("[Worker]\nPoll = \"500ms\""));
    assert!(took < Duration::from_millis(500 + 1000), "{took:?}");
}

#[test]
fn a_job_that_waits_never_starts() {
    ends_what_waits(&on_sqlite(""));
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fleet) = on(kind, "") else { continue };
        ends_what_waits(&fleet);
    }
}

#[test]
fn a_job_that_waits_for_another_try_is_not_tried_again() {
    let Some(fleet) = on(Kind::Postgres, "") else { return };
    fleet.sh("again", "echo ran >> ran; exit 3", "Retry = { Max = 5, Backoff = \"1s\" }");
    let api = fleet.api();
    let _worker = fleet.worker(&[]);
    let id = start(&api, "again");
    eventually("it has failed once", || attempts(&api, id).first().is_some_and(|one| one["ending"] == "failed"));
    assert_eq!(cancel(&api, id).0, 202);
    assert_eq!(api.wait(id).status, "failed");
    never("it was tried again", || fleet.lines("ran").len() > 1);
}
