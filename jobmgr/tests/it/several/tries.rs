//! Runs after a run that failed, or whose worker died.

use super::*;

fn endings(server: &Server, id: i64) -> Vec<String> {
    let attempts = attempts(server, id);
    attempts.iter().map(|attempt| attempt["ending"].as_str().unwrap_or("none").to_owned()).collect()
}

fn is_tried_again(fleet: &Fleet) {
    let script = "date +%s%3N >> times; echo try $JOBMGR_ATTEMPT; echo $JOBMGR_ATTEMPT > \"$JOBMGR_ARTIFACTS_DIR/n\"; exit $((2 + JOBMGR_ATTEMPT))";
    fleet.sh("fails", script, "Retry = { Max = 2, Backoff = \"400ms\" }");
    fleet.sh("third", "[ $JOBMGR_ATTEMPT = 3 ]", "Retry = { Max = 5, Backoff = \"10ms\" }");
    fleet.sh("code", "exit 1", "Retry = { Max = 5, Backoff = \"10ms\", On = [\"timeout\", \"signal\"] }");
    fleet.sh("signal", "kill -9 $$", "Retry = { Max = 1, Backoff = \"10ms\", On = [\"signal\"] }");
    fleet.sh("slow", "sleep 600", "Timeout = \"100ms\"\nRetry = { Max = 1, Backoff = \"10ms\", On = [\"timeout\"] }");
    let api = fleet.api();
    let _workers = [fleet.worker(&[]), fleet.worker(&[])];
    let ids = ["fails", "third", "code", "signal", "slow"].map(|name| (name, start(&api, name)));
    let expected = [
        ("failed", "try 3\nexit status 5", vec!["failed", "failed", "failed"]),
        ("completed", "", vec!["failed", "failed", "completed"]),
        ("failed", "exit status 1", vec!["failed"]),
        ("failed", "signal: killed", vec!["failed", "failed"]),
        ("failed", "timeout after 100ms", vec!["failed", "failed"]),
    ];
    for ((name, id), (status, result, tries)) in ids.into_iter().zip(expected) {
        let ended = api.wait(id);
        assert_eq!((ended.status.as_str(), ended.result.as_str()), (status, result), "{name}");
        assert_eq!(endings(&api, id), tries, "{name}");
    }
    let fails = attempts(&api, ids[0].1);
    let codes: Vec<_> = fails.iter().map(|attempt| attempt["exitCode"].clone()).collect();
    assert_eq!(codes, [3, 4, 5]);
    assert!(fails.iter().all(|attempt| attempt["reason"] == "exit_code" && attempt["worker"].is_string()));
    // Only the last attempt's file is the job's.
    let last = api.wait(ids[0].1);
    assert_eq!((last.artifacts.len(), api.download(&last.artifacts[0])), (1, b"3\n".to_vec()));
    let times: Vec<i64> = fleet.lines("times").iter().map(|time| time.parse().unwrap()).collect();
    let pauses: Vec<i64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses[0] >= 200 && pauses[1] >= 400, "at least the half of 400 ms and of 800 ms: {pauses:?}");
}

#[test]
fn on_postgres_a_job_is_tried_again_as_its_jobspec_says() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"100ms\"\nConcurrency = 3") else { return };
    is_tried_again(&fleet);
}

#[test]
fn on_mariadb_a_job_is_tried_again_as_its_jobspec_says() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"100ms\"\nConcurrency = 3") else { return };
    is_tried_again(&fleet);
}

/// Kills the worker of a job; another one takes over.
fn loses_its_worker(fleet: &Fleet) {
    let script = "echo $JOBMGR_ATTEMPT >> witness-$JOBMGR_PARAMETER_NAME; [ $JOBMGR_ATTEMPT = 2 ] || sleep 600";
    let name = "Timeout = \"10m\"\n[[Parameter]]\nName = \"name\"\nType = \"string\"";
    fleet.sh("again", script, name);
    fleet.sh("once", script, &format!("RerunAfterCrash = false\n{name}"));
    let api = fleet.api();
    let mut first = fleet.worker(&[("JOBMGR_WORKER__CONCURRENCY", "2")]);
    let again = api.start("again", json!({ "name": "again" }));
    let once = api.start("once", json!({ "name": "once" }));
    eventually("both run", || fleet.lines("witness-again").len() + fleet.lines("witness-once").len() == 2);
    first.kill();
    // On another machine it would not know whom to bury: it waits for the lease.
    let elsewhere = fleet.home.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let _second = fleet.worker(&[("JOBMGR_WORKER__TEMPDIR", elsewhere.to_str().unwrap())]);
    let ended = api.wait(once);
    assert_eq!(ended.status, "failed");
    assert!(ended.result.contains("worker died") && ended.result.contains("not to run it again"), "{ended:?}");
    let shown = attempts(&api, once);
    assert_eq!((shown.len(), shown[0]["ending"].as_str()), (1, Some("lost")), "{shown:?}");
    assert_eq!(api.wait(again).status, "completed");
    assert_eq!(endings(&api, again), ["lost", "completed"]);
    assert_eq!((fleet.lines("witness-once").len(), fleet.lines("witness-again")), (1, vec!["1".into(), "2".into()]));
    assert_eq!(fleet.home.stored(once).reason, Some(jobmgr::domain::job::Reason::WorkerLost));
}

#[test]
fn on_postgres_a_job_that_may_not_be_run_again_is_not() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"100ms\"\nLease = \"4s\"") else { return };
    loses_its_worker(&fleet);
}

#[test]
fn on_mariadb_a_job_that_may_not_be_run_again_is_not() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"100ms\"\nLease = \"4s\"") else { return };
    loses_its_worker(&fleet);
}

#[test]
fn a_job_waits_no_longer_than_its_jobspec_allows() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"100ms\"\nLease = \"4s\"") else { return };
    fleet.sh("gate", "until [ -e go ]; do sleep 0.02; done", "Timeout = \"10m\"");
    fleet.sh("hasty", "echo ran >> ran", "QueueTimeout = \"500ms\"");
    let api = fleet.api();
    let _worker = fleet.worker(&[]);
    assert_eq!(api.run("hasty", json!({})).status, "completed");
    let busy = start(&api, "gate");
    api.wait_for(busy, "started");
    let ended = api.wait(start(&api, "hasty"));
    assert_eq!(
        (ended.status.as_str(), ended.result.as_str()),
        ("failed", "waited longer than its jobspec's QueueTimeout allows")
    );
    fleet.touch("go");
    assert_eq!(api.wait(busy).status, "completed");
    assert_eq!(fleet.lines("ran").len(), 1);
}
