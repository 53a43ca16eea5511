//! The executors that ship, under a real jobmgr and against the real thing: jobs are begun once, and every byte of
//! their output comes once, whatever ends in between.

/// `jobmgr plugin check` of each.
mod check;
mod containers;
/// An API server of Kubernetes in memory.
mod kubernetes;
/// The executors' sample jobspecs.
mod samples;
/// A Slurm of one node, as the executor's own tests start it.
#[path = "../../../../executors/slurm/tests/slurm/cluster.rs"]
#[allow(dead_code, reason = "those tests use all of it")]
mod slurm;

use std::time::{Duration, Instant};

use containers::{Engine, IMAGE, Kind};
use jobmgr::domain::job::{Job, Status};

use crate::support::libraries::{built, install};
use crate::support::processes::{Signal, children, is_plugin_runner, signal};
use crate::support::server::{Home, Server, eventually};

const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"100ms\"\nDrain = \"20s\"\n";
/// Numbered lines for some seconds, and an artifact.
const COUNT: &str = "echo begun >> \"$JOBMGR_ARTIFACTS_DIR/begun.txt\"; i=0; while [ $i -lt 40 ]; do i=$((i+1)); \
    echo \"line $i\"; echo \"note $i\" >&2; sleep 0.1; done; echo over";

fn home(package: &str, name: &str, config: &str) -> Home {
    let home = Home::new("");
    let library = install(&built(package), &home.path("plugins"), name);
    let text =
        format!("{CONFIG}[Executors.{name}]\nPlugin = '{}'\n[Executors.{name}.Config]\n{config}\n", library.display());
    std::fs::write(home.path("config.toml"), text).unwrap();
    home
}

fn sh(home: &Home, name: &str, executor: &str, script: &str, options: &str) {
    home.sh(name, script, &format!("Executor = \"{executor}\"\n[Options]\n{options}"));
}

fn log(server: &Server, id: i64, stream: &str) -> String {
    String::from_utf8(server.client().get(&format!("/v1/jobs/{id}/logs?stream={stream}")).body).unwrap()
}

fn ended(server: &Server, home: &Home, id: i64) -> Job {
    let ended = || !matches!(server.job(id)["job"]["status"].as_str(), Some("queued" | "started"));
    eventually(&format!("the job ends: {}", home.log()), ended);
    home.stored(id)
}

/// Runs `count`; the server is killed in the middle, and then stopped in order, and the job goes on to its end.
fn over_restarts(home: &Home) -> (Server, Job) {
    let mut server = home.serve();
    let id = server.start("count", serde_json::json!({}));
    for (line, how) in [("line 3\n", Signal::KILL), ("line 12\n", Signal::TERM)] {
        eventually(&format!("it has written {line}: {}", home.log()), || log(&server, id, "stdout").contains(line));
        signal(server.pid(), how);
        server.exit();
        server = home.serve();
    }
    let job = ended(&server, home, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{:?} {}", job.ended, home.log());
    let lines = (1..=40).map(|number| format!("line {number}\n")).collect::<String>();
    assert_eq!(log(&server, id, "stdout"), lines + "over\n");
    assert_eq!(job.executor.as_ref().unwrap()["version"], env!("CARGO_PKG_VERSION"));
    (server, job)
}

fn goes_on_over_restarts(home: &Home) {
    let (server, job) = over_restarts(home);
    let notes = (1..=40).map(|number| format!("note {number}\n")).collect::<String>();
    assert_eq!(log(&server, job.id, "stderr"), notes);
    let artifact = &job.ended.unwrap().artifacts[0];
    assert_eq!((artifact.name.as_str(), artifact.size), ("begun.txt", 6), "it began once");
}

/// A cancel and a timeout reach the job where it runs.
fn ends_on_request(home: &Home) {
    let server = home.serve();
    let id = server.start("long", serde_json::json!({}));
    eventually("it runs", || log(&server, id, "stdout").contains("begun"));
    assert_eq!(server.client().try_send("POST", &format!("/v1/jobs/{id}/cancel"), "", b"").unwrap().status, 202);
    assert_eq!(ended(&server, home, id).status, Status::Canceled, "{}", home.log());
    let limited = server.run("limited", serde_json::json!({}));
    assert_eq!(limited.status, "failed");
    let error = home.stored(id + 1).ended.unwrap().error.unwrap();
    assert_eq!(error, "timeout after 4s");
}

fn container_jobs(home: &Home, executor: &str) {
    let image = format!("Image = \"{IMAGE}\"\nPull = \"never\"\nNetwork = \"none\"");
    sh(home, "count", executor, COUNT, &image);
    sh(home, "long", executor, "echo begun; sleep 600", &image);
    let limited = format!("Executor = \"{executor}\"\nTimeout = \"4s\"\n[Options]\n{image}");
    home.sh("limited", "sleep 600", &limited);
}

fn in_containers(kind: Kind) {
    let Some(engine) = Engine::start(kind) else { return };
    let home = home("jobmgr-executor-docker", "docker", &format!("Host = \"{}\"", engine.host()));
    container_jobs(&home, "docker");
    goes_on_over_restarts(&home);
    ends_on_request(&home);
    eventually("no container is left", || engine.containers().is_empty());
}

#[test]
fn jobs_in_docker_outlive_jobmgr_and_end_on_request() {
    in_containers(Kind::Docker);
}

#[test]
fn jobs_in_podman_outlive_jobmgr_and_end_on_request() {
    in_containers(Kind::Podman);
}

#[test]
fn a_job_waits_while_its_engine_is_down() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let home = home("jobmgr-executor-docker", "docker", &format!("Host = \"{}\"", engine.host()));
    let image = format!("Image = \"{IMAGE}\"\nPull = \"never\"\nNetwork = \"none\"");
    sh(&home, "job", "docker", "echo ran", &image);
    engine.down();
    let server = home.serve();
    let id = server.start("job", serde_json::json!({}));
    let attempts = || server.client().get(&format!("/v1/jobs/{id}/attempts")).json()["items"].clone();
    eventually("it was tried", || attempts()[0]["ending"] == "released");
    let why = attempts()[0]["error"].as_str().unwrap().to_owned();
    assert!(why.contains("engine"), "{why}");
    assert_eq!(home.stored(id).status, Status::Queued);
    engine.up();
    let job = ended(&server, &home, id);
    assert_eq!(job.status, Status::Completed, "{:?} {}", job.ended, home.log());
    assert_eq!(log(&server, id, "stdout"), "ran\n");
}

/// All in one process, which has one connection to the engine.
#[test]
fn fifty_containers_run_at_once() {
    const JOBS: usize = 50;
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let home = home("jobmgr-executor-docker", "docker", &format!("Host = \"{}\"", engine.host()));
    let config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    let config = config.replace("[Executors.docker]\n", &format!("[Executors.docker]\nConcurrency = {JOBS}\n"));
    std::fs::write(home.path("config.toml"), config).unwrap();
    let gate = home.path("gate");
    std::fs::create_dir(&gate).unwrap();
    let options = format!(
        "Image = \"{IMAGE}\"\nPull = \"never\"\nNetwork = \"none\"
        Mounts = [{{ Source = \"{}\", Target = \"/gate\", ReadOnly = true }}]",
        gate.display()
    );
    let script = "echo begun; until [ -e /gate/go ]; do sleep 1; done; echo over";
    home.sh("job", script, &format!("Executor = \"docker\"\nTimeout = \"5m\"\n[Options]\n{options}"));
    let server = home.serve();
    let ids: Vec<i64> = (0..JOBS).map(|_| server.start("job", serde_json::json!({}))).collect();
    within(Duration::from_secs(180), "all are there", || engine.containers().len() == JOBS);
    assert_eq!(children(server.pid()).into_iter().filter(|pid| is_plugin_runner(*pid)).count(), 1);
    std::fs::write(gate.join("go"), "").unwrap();
    for id in ids {
        let over = || !matches!(server.job(id)["job"]["status"].as_str(), Some("queued" | "started"));
        within(Duration::from_secs(180), "a job ends", over);
        let job = home.stored(id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{:?} {}", job.ended, home.log());
        assert_eq!(log(&server, id, "stdout"), "begun\nover\n");
    }
    within(Duration::from_secs(60), "no container is left", || engine.containers().is_empty());
}

/// Longer than most things take.
fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn jobs_on_slurm_outlive_jobmgr_and_end_on_request() {
    let Some(cluster) = slurm::own("") else { return };
    let config = format!("Conf = '{}'\nPollEvery = 1.0", cluster.conf().display());
    let home = home("jobmgr-executor-slurm", "slurm", &config);
    sh(&home, "count", "slurm", COUNT, "");
    sh(&home, "long", "slurm", "echo begun; sleep 600", "");
    home.sh("limited", "sleep 600", "Executor = \"slurm\"\nTimeout = \"4s\"");
    goes_on_over_restarts(&home);
    ends_on_request(&home);
    eventually("no job is left", || !cluster.call("squeue", &["-h"]).contains("jm-"));
}

/// The nodes' folder for temporary files, and nothing that is on the server, is where such jobs are; so the tests
/// can't tell apart what is on which machine, but what was uploaded has no other way.
#[test]
fn jobs_on_nodes_that_share_no_folder_come_home_over_http() {
    let Some(cluster) = slurm::own("") else { return };
    let config = format!("Conf = '{}'\nPollEvery = 1.0", cluster.conf().display());
    let home = home("jobmgr-executor-slurm", "slurm", &config);
    let wrap = format!("Wrap = {{ Path = '{}', Artifacts = 5 }}", env!("CARGO_BIN_EXE_jobmgr"));
    let gate = cluster.path().join("gate");
    let script = format!(
        "pwd; echo note >&2; mkdir \"$JOBMGR_ARTIFACTS_DIR/sub\"; echo one > \"$JOBMGR_ARTIFACTS_DIR/sub/file\"
        echo '{{\"answer\": 42}}' > \"$JOBMGR_OUTPUT\"; : > {0}-begun; until [ -e {0} ]; do sleep 0.1; done; kill -9 $$",
        gate.display()
    );
    sh(&home, "away", "slurm", &script, &wrap);
    sh(&home, "many", "slurm", "for i in 1 2 3 4 5 6 7 8 9; do : > \"$JOBMGR_ARTIFACTS_DIR/f$i\"; done", &wrap);
    sh(&home, "nowhere", "slurm", "true", "Wrap = { Path = '/nowhere/jobmgr' }");
    let started = cluster.path().join("started");
    let stopped = format!(
        "trap 'echo over > \"$JOBMGR_ARTIFACTS_DIR/f\"; exit 3' TERM; echo begun; : > {}; while :; do sleep 0.1; done",
        started.display()
    );
    sh(&home, "stopped", "slurm", &stopped, &wrap);

    let mut server = home.serve();
    let address = server.address;
    let id = server.start("away", serde_json::json!({}));
    eventually("it runs", || gate.with_file_name("gate-begun").exists());
    signal(server.pid(), Signal::KILL);
    server.exit();
    std::fs::write(&gate, "").unwrap();
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_SERVER__LISTEN", address.to_string());
    let server = home.serve_by(command);
    let job = ended(&server, &home, id);
    let end = job.ended.unwrap();
    assert_eq!(
        (job.status, job.attempt, end.signal),
        (Status::Failed, 1, Some(9)),
        "{:?} {}",
        end.executor_log,
        home.log()
    );
    assert_eq!(end.output, Some(serde_json::json!({"answer": 42})));
    assert_eq!(end.artifacts.len(), 1);
    let artifact = &server.job(id)["artifacts"][0];
    assert_eq!((artifact["name"].as_str(), server.download(artifact)), (Some("sub/file"), b"one\n".to_vec()));
    let place = log(&server, id, "stdout");
    assert!(
        place.contains("/jobmgr-") && place.ends_with("/work\n") && !place.contains(home.path("").to_str().unwrap())
    );
    assert!(!std::path::Path::new(place.trim()).exists(), "the node keeps nothing");
    assert_eq!(log(&server, id, "stderr"), "note\n");

    let many = ended(&server, &home, server.start("many", serde_json::json!({})));
    let error = many.ended.unwrap().error.unwrap();
    assert!(error.starts_with("the command ended well, but 3 of 11 files were not uploaded"), "{error}");

    // The nodes fetch what the job is given.
    sh(
        &home,
        "given",
        "slurm",
        "cat \"$JOBMGR_PARAMETER_DATA\"; echo \"$JOBMGR_INPUTS_DIR\"",
        &format!("{wrap}\n[[Parameter]]\nName = 'data'\nType = 'file'"),
    );
    let input = server.input("data.csv", b"one,two\n");
    let given = ended(&server, &home, server.submit("given", &serde_json::json!({ "data": input })));
    assert_eq!(given.status, Status::Completed, "{:?} {}", given.ended, home.log());
    let said = log(&server, given.id, "stdout");
    let folder = said.strip_prefix("one,two\n").unwrap().trim();
    assert!(folder.ends_with("/inputs") && !folder.contains(home.path("").to_str().unwrap()), "{folder}");
    assert!(!std::path::Path::new(folder).exists(), "the node keeps nothing");

    let nowhere = ended(&server, &home, server.start("nowhere", serde_json::json!({}))).ended.unwrap();
    assert_eq!(nowhere.exit_code, Some(127), "{:?}", nowhere.executor_log);
    assert!(nowhere.warnings[0].contains("do the nodes have it at 'Wrap.Path'"), "{:?}", nowhere.warnings);

    let id = server.start("stopped", serde_json::json!({}));
    eventually("it runs", || started.exists());
    assert_eq!(server.client().try_send("POST", &format!("/v1/jobs/{id}/cancel"), "", b"").unwrap().status, 202);
    let stopped = ended(&server, &home, id);
    let end = stopped.ended.unwrap();
    assert_eq!((stopped.status, end.artifacts.len()), (Status::Canceled, 1), "{:?}", end.executor_log);
    assert_eq!(log(&server, id, "stdout"), "begun\n");
    assert!(!cluster.call("squeue", &["-h"]).contains("jm-"));
}
