//! What may not be started together, and how one that ends hands over.

use std::process::Command;

use super::*;
use crate::support::processes::{Signal, signal};
use crate::support::proxy::Proxy;
use crate::support::s3::{BUCKET, S3};

/// Starts a process that is to end by itself; its exit status and what it said.
fn refusal(fleet: &Fleet, command: Command) -> (Option<i32>, String) {
    let before = fleet.home.log().len();
    let status = fleet.home.worker_by(command).exit();
    (status.code(), fleet.home.log().split_off(before))
}

#[test]
fn a_worker_with_another_store_is_refused_while_the_first_is_alive() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fleet) = on(kind, "") else { continue };
        let first = fleet.worker(&[]);
        let elsewhere = format!("file:{}", fleet.home.path("elsewhere").display());
        for role in [&["worker"][..], &["serve", "--no-worker"], &["serve"]] {
            let mut command = fleet.home.jobmgr(role);
            command.env("JOBMGR_STORAGE__URL", &elsewhere);
            let (status, said) = refusal(&fleet, command);
            assert_eq!(status, Some(2), "{said}");
            for word in ["[Storage]", "elsewhere", "same store", "bucket"] {
                assert!(said.contains(word), "{role:?} does not say {word}: {said}");
            }
        }
        signal(first.pid(), Signal::TERM);
        let mut first = first;
        assert_eq!(first.exit().code(), Some(0));
        let _other = fleet.worker(&[("JOBMGR_STORAGE__URL", elsewhere.as_str())]);
    }
}

#[test]
fn a_worker_whose_store_turns_out_to_be_another_one_ends_and_says_so() {
    let (Some(fleet), Some(s3)) = (on(Kind::Postgres, "[Worker]\nLease = \"3s\"\nPoll = \"100ms\""), S3::shared())
    else {
        return;
    };
    let script = "echo $JOBMGR_ATTEMPT >> witness; [ $JOBMGR_ATTEMPT = 1 ] || exit 0; sleep 600";
    fleet.sh("long", script, "Timeout = \"10m\"\nKillGrace = \"200ms\"");
    let api = fleet.api();
    let proxy = Proxy::to(s3.endpoint().rsplit(':').next().unwrap().parse().unwrap(), false);
    let mut command = fleet.home.jobmgr(&["worker"]);
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    command.env("JOBMGR_STORAGE__URL", format!("s3://{BUCKET}/several-{}", std::process::id()));
    for (key, value) in s3.options() {
        let value = if key == "endpoint" { endpoint.clone() } else { value };
        command.env(format!("JOBMGR_STORAGE__OPTIONS__{}", key.to_uppercase()), value);
    }
    let mut misplaced = fleet.home.worker_by(command);
    eventually("it works without its store", || fleet.home.log().contains(" works for "));
    let id = start(&api, "long");
    eventually("a job runs", || fleet.lines("witness").len() == 1);
    proxy.open();
    assert_eq!(misplaced.exit().code(), Some(2), "{}", fleet.home.log());
    for word in ["jobmgr: [Storage]", "same store"] {
        assert!(fleet.home.log().contains(word), "it does not say {word}: {}", fleet.home.log());
    }
    assert_eq!(api.job(id)["job"]["status"], "queued", "what it ran is given back");
    let _right = fleet.worker(&[]);
    assert_eq!(api.wait(id).status, "completed");
    let endings: Vec<_> = attempts(&api, id).iter().map(|attempt| attempt["ending"].clone()).collect();
    assert_eq!(endings, ["released", "completed"]);
}

#[test]
fn a_store_in_memory_is_no_store_for_two() {
    let Some(fleet) = on(Kind::Postgres, "[Storage]\nURL = \"memory:\"") else { return };
    let _first = fleet.worker(&[]);
    let (status, said) = refusal(&fleet, fleet.home.jobmgr(&["serve", "--no-worker"]));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("[Storage] memory") && said.contains("same store"), "{said}");
}

/// Sockets that listen, by their inodes.
fn listening(pid: u32) -> usize {
    let sockets: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            let listens = |line: &str| line.split_whitespace().nth(3) == Some("0A");
            let inode = |line: &str| Some(format!("socket:[{}]", line.split_whitespace().nth(9)?));
            text.lines().filter(|line| listens(line)).filter_map(inode).collect::<Vec<_>>()
        })
        .collect();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    open.filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
        .count()
}

#[test]
fn a_worker_opens_no_port() {
    let Some(fleet) = on(Kind::Postgres, "") else { return };
    fleet.sh("quick", "true", "");
    let (api, worker) = (fleet.api(), fleet.worker(&[]));
    assert_eq!(api.run("quick", json!({})).status, "completed");
    assert_eq!((listening(api.pid()), listening(worker.pid())), (1, 0));
}

#[test]
fn a_worker_that_drains_hands_over() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(fleet) = on(kind, "[Worker]\nPoll = \"100ms\"\nDrain = \"500ms\"") else { continue };
        let script = "echo $JOBMGR_ATTEMPT >> witness; [ $JOBMGR_ATTEMPT = 2 ] || sleep 600";
        fleet.sh("long", script, "Timeout = \"10m\"\nKillGrace = \"200ms\"");
        fleet.sh("quick", "true", "");
        let api = fleet.api();
        let mut first = fleet.worker(&[("JOBMGR_WORKER__NAME", "first")]);
        let id = start(&api, "long");
        eventually("it runs", || fleet.lines("witness").len() == 1);
        let _second = fleet.worker(&[("JOBMGR_WORKER__NAME", "second")]);
        signal(first.pid(), Signal::TERM);
        eventually("it drains", || fleet.home.log().contains("claiming no more jobs"));
        assert_eq!(api.run("quick", json!({})).status, "completed", "the other one goes on");
        assert_eq!(first.exit().code(), Some(0));
        assert_eq!(api.wait(id).status, "completed");
        let endings: Vec<_> = attempts(&api, id).iter().map(|attempt| attempt["ending"].clone()).collect();
        assert_eq!(endings, ["released", "completed"], "{kind:?}: a drain is no crash");
        assert_eq!(fleet.lines("witness"), ["1", "2"]);
        let names: Vec<_> = workers(&api).iter().map(|worker| worker["name"].clone()).collect();
        assert_eq!(names, ["second"], "who left is not listed");
    }
}

#[test]
fn a_worker_is_asked_to_drain_over_http() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"100ms\"") else { return };
    let script = "echo begun >> witness; until [ -e go ]; do sleep 0.05; done";
    fleet.sh("long", &format!("cd {}; {script}", fleet.home.dir.path().display()), "Timeout = \"10m\"");
    fleet.sh("quick", "true", "");
    let api = fleet.api();
    let mut first = fleet.worker(&[("JOBMGR_WORKER__NAME", "first")]);
    let id = start(&api, "long");
    eventually("it runs", || fleet.lines("witness").len() == 1);
    let of = |worker: &serde_json::Value| format!("/v1/workers/{}/drain", worker["id"].as_str().unwrap());
    let ask = |path: &str| api.client().try_send("POST", path, "", b"").unwrap();
    let asked = ask(&of(&workers(&api)[0]));
    assert_eq!((asked.status, &asked.json()["state"]), (202, &json!("draining")));
    eventually("it drains", || fleet.home.log().contains("asked to drain"));
    let waits = start(&api, "quick");
    std::fs::write(fleet.home.path("go"), "").unwrap();
    assert_eq!(api.wait(id).status, "completed", "what it runs it finishes");
    assert_eq!(api.job(waits)["job"]["status"], "queued", "nothing new is taken");
    let _second = fleet.worker(&[("JOBMGR_WORKER__NAME", "second")]);
    assert_eq!(api.wait(waits).status, "completed", "until there is another one");
    let all = api.client().get("/v1/workers").json();
    let server = all["items"].as_array().unwrap().iter().find(|one| one["slots"] == 0).unwrap();
    assert_eq!((ask(&of(server)).status, ask("/v1/workers/nobody/drain").status), (409, 404));
    signal(first.pid(), Signal::TERM);
    assert_eq!(first.exit().code(), Some(0));
}

#[test]
fn workers_say_who_they_are() {
    let Some(fleet) = on(Kind::MariaDb, "") else { return };
    let api = fleet.api();
    let _worker = fleet.worker(&[("JOBMGR_WORKER__NAME", "gpu-1"), ("JOBMGR_WORKER__CONCURRENCY", "3")]);
    let list = workers(&api);
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0]["name"], &list[0]["slots"], &list[0]["state"]),
        (&json!("gpu-1"), &json!(3), &json!("active"))
    );
    assert_eq!(list[0]["version"], env!("CARGO_PKG_VERSION"));
    let all = api.client().get("/v1/workers").json();
    let servers = all["items"].as_array().unwrap().iter().filter(|one| one["slots"] == 0).count();
    assert_eq!(servers, 1);
}
