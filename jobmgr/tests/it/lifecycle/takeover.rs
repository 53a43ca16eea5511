//! A server that is stopped for longer than its lease while another one on the same database goes on.

use super::{assert_gone, assert_nothing_left, entries};
use crate::support::processes::{Signal, runs, signal};
use crate::support::server::{Home, eventually, whole};

const KEYS: &str = "Timeout = \"10m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";

/// Runs a job whose first attempt does `then` once the other server has taken it over.
fn taken_over(then: &str) {
    let home = Home::new("[Worker]\nLease = \"2s\"\nPoll = \"100ms\"");
    let script = format!(
        "cd \"$JOBMGR_PARAMETER_HOME\"; echo attempt $JOBMGR_ATTEMPT | tee \"$JOBMGR_ARTIFACTS_DIR/who.txt\"\n\
         [ $JOBMGR_ATTEMPT = 1 ] || exit 0\n\
         setsid sleep 600 & echo $$ $! > pids; until [ -e taken ]; do sleep 0.02; done; {then}"
    );
    home.sh("long", &script, KEYS);
    let first = home.serve();
    let id = first.start("long", serde_json::json!({ "home": home.dir.path() }));
    eventually("the job runs", || whole(&home.path("pids")).is_some());
    let pids: Vec<u32> =
        whole(&home.path("pids")).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let second = home.serve();
    signal(first.pid(), Signal::STOP);
    assert_eq!(second.wait(id).result, "attempt 2\n");
    std::fs::write(home.path("taken"), "").unwrap();
    if then.is_empty() {
        eventually("the first attempt ends by itself", || !runs(pids[0]));
    }
    signal(first.pid(), Signal::CONT);
    eventually("the first server gives up", || home.log().contains("lease lost"));
    eventually("the first attempt's processes are gone", || !pids.iter().any(|pid| runs(*pid)));
    assert_gone(&pids);
    eventually("its objects are gone", || entries(&home.objects_of(id)) == ["2"]);
    for server in [&first, &second] {
        let ended = server.wait(id);
        assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", "attempt 2\n"));
        assert_eq!(ended.artifacts.len(), 1);
        assert_eq!(server.download(&ended.artifacts[0]), b"attempt 2\n");
    }
    assert_eq!(home.stored(id).attempt, 2);
    assert_nothing_left(&home, 2);
}

#[test]
fn who_slept_through_its_lease_ends_its_job_and_reports_nothing() {
    taken_over("sleep 600");
}

#[test]
fn a_result_that_comes_after_the_lease_is_dropped() {
    taken_over("");
}
