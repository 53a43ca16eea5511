//! The process that forks runners.

use std::fs;

use super::{Plugged, tell};
use crate::support::processes::{Signal, signal, working_in};
use crate::support::server::eventually;

/// Those that fork, stand between, and wait.
fn forkers(plugged: &Plugged) -> Vec<u32> {
    let is_one = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "jobmgr-forks\n");
    working_in(plugged.home.dir.path()).into_iter().filter(is_one).collect()
}

#[test]
fn they_end_with_the_server_however_it_ends() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    for how in [Signal::TERM, Signal::KILL] {
        let mut server = plugged.serve();
        assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
        eventually("they are there", || forkers(&plugged).len() == 3 && plugged.runners().len() == 1);
        signal(server.pid(), how);
        server.exit();
        eventually("nothing is left", || working_in(plugged.home.dir.path()).is_empty());
    }
}

#[test]
fn jobs_go_on_when_they_are_killed() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    let server = plugged.serve();
    for round in 0..8 {
        assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
        eventually("they are there", || forkers(&plugged).len() == 3 && plugged.runners().len() == 1);
        // Each alone, and some together, the spare among them, so that a job needs a new one at once.
        let all = forkers(&plugged);
        let some = all.iter().enumerate().filter(|(index, _)| round & (1 << index) != 0);
        for pid in some.map(|(_, pid)| *pid).chain(plugged.runners()) {
            signal(pid, Signal::KILL);
        }
    }
    assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
    plugged.assert_nothing_left(1);
    eventually("none is left over", || forkers(&plugged).len() == 3);
}

#[test]
fn an_environment_that_is_too_large_for_them_is_passed_on_all_the_same() {
    const NAMES: [&str; 2] = ["LARGE_1", "LARGE_2"];
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    let config = plugged.home.path("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("PreserveEnvVars = [", &format!("PreserveEnvVars = [\"{}\", ", NAMES.join("\", \""))),
    )
    .unwrap();
    let mut command = plugged.home.jobmgr(&["serve"]);
    command.envs(NAMES.map(|name| (name, "x".repeat(100_000))));
    let server = plugged.home.serve_by(command);
    assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
    eventually("a spare is there", || plugged.runners().len() == 1);
    let environment = fs::read(format!("/proc/{}/environ", plugged.runners()[0])).unwrap();
    for name in NAMES {
        assert!(environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(name.as_bytes())));
    }
}
