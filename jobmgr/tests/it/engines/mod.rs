//! The executors that ship, under a real jobmgr and against the real thing: jobs are begun once, and every byte of
//! their output comes once, whatever ends in between.

/// `jobmgr plugin check` of each.
mod check;
mod containers;
/// A Slurm of one node, as the executor's own tests start it.
#[path = "../../../../executors/slurm/tests/slurm/cluster.rs"]
#[allow(dead_code, reason = "those tests use all of it")]
mod slurm;

use containers::{Engine, IMAGE, Kind};
use jobmgr::domain::job::{Job, Status};

use crate::support::libraries::{built, install};
use crate::support::processes::{Signal, signal};
use crate::support::server::{Home, Server, eventually};

const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"100ms\"\nDrain = \"20s\"\n";
/// Numbered lines for some seconds, and an artifact.
const COUNT: &str = "echo begun >> \"$JOBMGR_ARTIFACTS_DIR/begun.txt\"; i=0; while [ $i -lt 40 ]; do i=$((i+1)); \
    echo \"line $i\"; echo \"note $i\" >&2; sleep 0.1; done; echo over";

fn until(what: &str, is_so: impl FnMut() -> bool) {
    eventually(what, is_so);
}

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

/// The server is killed in the middle, and then stopped in order; the job goes on.
fn goes_on_over_restarts(home: &Home) {
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
    let lines = |word: &str| (1..=40).map(|number| format!("{word} {number}\n")).collect::<String>();
    assert_eq!(log(&server, id, "stdout"), lines("line") + "over\n");
    assert_eq!(log(&server, id, "stderr"), lines("note"));
    let artifact = &job.ended.unwrap().artifacts[0];
    assert_eq!((artifact.name.as_str(), artifact.size), ("begun.txt", 6), "it began once");
    assert_eq!(job.executor.unwrap()["version"], env!("CARGO_PKG_VERSION"));
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
