//! Which worker runs what, and how much at once.

use super::*;

const FAST: &str = "[Worker]\nPoll = \"100ms\"\nLease = \"6s\"";

#[test]
fn a_job_waits_for_a_worker_with_its_labels() {
    let Some(fleet) = on(Kind::MariaDb, FAST) else { return };
    let requires = format!("Requires = [\"gpu\", \"mem=big\", \"os={}\"]", std::env::consts::OS);
    fleet.sh("needs", "echo $JOBMGR_ATTEMPT", &requires);
    fleet.sh("plain", "true", "");
    let api = fleet.api();
    let _poor = fleet.worker(&[("JOBMGR_WORKER__NAME", "poor")]);
    let id = start(&api, "needs");
    assert_eq!(api.run("plain", json!({})).status, "completed", "what can't run hides nothing");
    let _half = fleet.worker(&[("JOBMGR_WORKER__LABELS", "gpu,mem=small")]);
    assert_eq!(api.run("plain", json!({})).status, "completed");
    never("a worker without the labels ran it", || api.job(id)["job"]["status"] != "queued");
    let _rich = fleet.worker(&[("JOBMGR_WORKER__LABELS", "gpu,mem=big"), ("JOBMGR_WORKER__NAME", "rich")]);
    assert_eq!(api.wait(id).result, "1\n");
    let rich = workers(&api).into_iter().find(|worker| worker["name"] == "rich").unwrap();
    assert_eq!(attempts(&api, id)[0]["worker"], rich["id"]);
    assert!(rich["labels"].as_array().unwrap().contains(&json!("mem=big")));
}

/// A folder of jobspecs with one that writes who ran it.
fn folder(fleet: &Fleet, folder: &str, name: &str) -> String {
    let path = fleet.home.path(folder);
    std::fs::create_dir(&path).unwrap();
    let witness = fleet.home.path("witness");
    let script = format!("echo {name} by {folder} in $JOBMGR_ATTEMPT >> {}", witness.display());
    let text = format!("Command = \"/bin/sh\"\nArguments = [\"-c\", {}]\n", toml::Value::String(script));
    std::fs::write(path.join(format!("{name}.toml")), text).unwrap();
    path.display().to_string()
}

#[test]
fn each_worker_runs_only_what_it_has() {
    let Some(fleet) = on(Kind::Postgres, FAST) else { return };
    let (first, second) = (folder(&fleet, "first", "a"), folder(&fleet, "second", "b"));
    let api = fleet.api();
    let _first = fleet.worker(&[("JOBMGR_SERVER__JOBSPECS", &first)]);
    let _second = fleet.worker(&[("JOBMGR_SERVER__JOBSPECS", &second)]);
    // At once, while the first may still believe that it is alone.
    let ids: Vec<i64> = (0..10).flat_map(|_| [start(&api, "b"), start(&api, "a")]).collect();
    for id in &ids {
        assert_eq!(api.wait(*id).status, "completed", "{}", fleet.home.log());
    }
    let lines = fleet.lines("witness");
    assert_eq!(lines.len(), ids.len());
    for line in &lines {
        assert!(line.starts_with("a by first in ") || line.starts_with("b by second in "), "{line}");
    }
    let attempts = ids.iter().map(|id| attempts(&api, *id).len()).max().unwrap();
    assert!(attempts <= 3, "a job was given back {attempts} times");
}

/// While who has it is busy, another one must not take it and give it back for ever.
#[test]
fn a_job_of_a_busy_worker_is_left_to_it() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"100ms\"") else { return };
    let (first, second) = (folder(&fleet, "first", "a"), folder(&fleet, "second", "b"));
    let gate = fleet.home.path("go").display().to_string();
    let script = format!(
        "Command = \"/bin/sh\"\nTimeout = \"10m\"\nArguments = [\"-c\", \"until [ -e {gate} ]; do sleep 0.02; done\"]\n"
    );
    std::fs::write(fleet.home.path("second/gate.toml"), script).unwrap();
    let api = fleet.api();
    let _first = fleet.worker(&[("JOBMGR_SERVER__JOBSPECS", &first)]);
    let _second = fleet.worker(&[("JOBMGR_SERVER__JOBSPECS", &second)]);
    let busy = start(&api, "gate");
    api.wait_for(busy, "started");
    let id = start(&api, "b");
    never("it was given back often", || attempts(&api, id).len() > 3);
    fleet.touch("go");
    assert_eq!(api.wait(id).status, "completed");
    assert_eq!(fleet.lines("witness").len(), 1);
}

#[test]
fn a_name_that_nobody_has_fails_when_all_had_time_to_say_so() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"100ms\"\nLease = \"3s\"") else { return };
    fleet.sh("known", "true", "");
    let api = fleet.api();
    let _workers = [fleet.worker(&[]), fleet.worker(&[])];
    assert_eq!(api.run("known", json!({})).status, "completed");
    let asked = std::time::Instant::now();
    let id = start(&api, "unknown");
    let ended = api.wait(id);
    let took = asked.elapsed();
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("failed", "job does not exist"));
    assert!((8.0..20.0).contains(&took.as_secs_f64()), "after {took:?}");
}

#[test]
fn with_the_worker_inside_the_only_server_it_fails_at_once() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fleet) = on(kind, "") else { continue };
        let server = fleet.home.serve();
        let asked = std::time::Instant::now();
        assert_eq!(server.run("unknown", json!({})).result, "job does not exist");
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
}

#[test]
fn no_more_run_than_max_running_over_all_workers() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fleet) = on(kind, "[Worker]\nPoll = \"100ms\"\nConcurrency = 4") else { continue };
        fleet.sh("few", "echo + >> witness; sleep 0.1; echo - >> witness", "MaxRunning = 3");
        fleet.sh("other", "true", "");
        let api = fleet.api();
        let _workers = [fleet.worker(&[]), fleet.worker(&[])];
        let ids: Vec<i64> = (0..24).map(|_| start(&api, "few")).collect();
        assert_eq!(api.run("other", json!({})).status, "completed", "what may not run hides nothing");
        for id in &ids {
            assert_eq!(api.wait(*id).status, "completed");
        }
        let lines = fleet.lines("witness");
        let steps = lines.iter().map(|line| if line == "+" { 1 } else { -1 });
        let running: Vec<i32> = steps
            .scan(0, |sum, step| {
                *sum += step;
                Some(*sum)
            })
            .collect();
        assert_eq!((lines.len(), running.last()), (48, Some(&0)));
        assert_eq!(running.iter().max(), Some(&3), "{kind:?}: all places are used, and no more");
    }
}

#[test]
fn lower_numbers_run_first() {
    let Some(fleet) = on(Kind::MariaDb, "[Worker]\nPoll = \"100ms\"") else { return };
    fleet.sh("late", "echo late >> witness", "Priority = 90");
    fleet.sh("usual", "echo usual >> witness", "");
    fleet.sh("early", "echo early >> witness", "Priority = 10");
    let api = fleet.api();
    // The API has the folder too; nobody publishes anything yet.
    let ids: Vec<i64> = ["late", "usual", "early", "late", "early"].map(|name| start(&api, name)).into();
    let _worker = fleet.worker(&[]);
    for id in ids {
        api.wait(id);
    }
    assert_eq!(fleet.lines("witness"), ["early", "early", "usual", "late", "late"]);
}
