//! What a job of an engine costs beyond the same thing done by that engine's own command.

/// As the tests start them.
#[path = "../../tests/it/engines/containers.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod containers;
#[path = "../../../executors/slurm/tests/slurm/cluster.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod slurm;

use std::process::Command;
use std::time::Instant;

use containers::{Engine, IMAGE, Kind};

use crate::setup::{median, quiet, whole_job};
use crate::support::libraries::{built, install};
use crate::support::server::Home;

/// How often each is run; the first two times warm up.
const TIMES: u64 = 14;

pub fn engines() {
    if let Some(engine) = Engine::start(Kind::Docker) {
        let theirs = || {
            let run = engine.client(&["run", "--rm", "--network", "none", IMAGE, "true"]).unwrap();
            assert!(run.status.success(), "{run:?}");
        };
        let options = format!("Image = \"{IMAGE}\"\nPull = \"never\"\nNetwork = \"none\"");
        let home = home("jobmgr-executor-docker", &format!("Host = \"{}\"", engine.host()), &options);
        compare("docker run --rm", &home, theirs);
    }
    if let Some(cluster) = slurm::own("") {
        let theirs = || {
            let mut command = Command::new("sbatch");
            command.args(["--wait", "--output=/dev/null", "--wrap=true"]).env("SLURM_CONF", cluster.conf());
            assert!(command.output().unwrap().status.success());
        };
        let home = home("jobmgr-executor-slurm", &format!("Conf = '{}'", cluster.conf().display()), "");
        compare("sbatch --wait", &home, theirs);
    }
}

/// A folder with a jobspec `true` for this executor.
fn home(package: &str, config: &str, options: &str) -> Home {
    let home = Home::new("");
    let library = install(&built(package), &home.path("plugins"), "engine");
    let text = format!("[Executors.engine]\nPlugin = '{}'\n[Executors.engine.Config]\n{config}\n", library.display());
    std::fs::write(home.path("config.toml"), text).unwrap();
    home.spec("true", &format!("Command = \"true\"\nExecutor = \"engine\"\n[Options]\n{options}\n"));
    home
}

/// In turns: what is slow for a while is slow for both.
fn compare(command: &str, home: &Home, theirs: impl Fn()) {
    let server = quiet(home);
    let mut client = server.client();
    let (mut command_ms, mut job_ms) = (Vec::new(), Vec::new());
    for round in 0..TIMES {
        let start = Instant::now();
        theirs();
        command_ms.push(start.elapsed().as_secs_f64() * 1e3);
        job_ms.push(whole_job(&mut client, "true", round));
    }
    let id = server.start("true", serde_json::json!({}));
    let end = server.wait(id);
    assert_eq!(end.status, "completed", "{}", end.result);
    let [theirs, ours] = [command_ms, job_ms].map(|mut times| median(times.split_off(2)));
    println!(
        "engines: {command}, median: {theirs:.0} ms; POST to completed {ours:.0} ms; added {:.0} ms; ratio {:.2}",
        ours - theirs,
        ours / theirs
    );
}
