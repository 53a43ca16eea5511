//! The process that forks runners.

use std::fs;

use super::{Plugged, tell};
use crate::support::processes::{Signal, command_line, signal, state, working_in};
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
    for (how, stopped) in
        [(Signal::TERM, 0), (Signal::KILL, 0), (Signal::KILL, 1), (Signal::KILL, 2), (Signal::KILL, 3)]
    {
        let mut server = plugged.serve();
        assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
        eventually("they are there", || forkers(&plugged).len() == 3 && plugged.runners().len() == 1);
        for pid in forkers(&plugged).into_iter().take(stopped) {
            signal(pid, Signal::STOP);
        }
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
        let spares = plugged.runners();
        for pid in some.map(|(_, pid)| *pid).chain(spares.iter().copied()) {
            signal(pid, Signal::KILL);
        }
        eventually("the server knows that its spare is gone", || spares.iter().all(|pid| state(*pid).is_none()));
    }
    assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
    assert!(!plugged.home.log().contains("no runner can be forked"), "{}", plugged.home.log());
    plugged.assert_nothing_left(1);
    eventually("none is left over", || forkers(&plugged).len() == 3);
}

/// One that is too large, and one with a variable that the dynamic linker reads when a program starts.
#[test]
fn an_environment_that_they_can_not_give_is_passed_on_all_the_same() {
    let large = "x".repeat(100_000);
    for variables in [[("LARGE_1", &*large), ("LARGE_2", &large)], [("LD_LIBRARY_PATH", "/nowhere"), ("OTHER", "y")]] {
        let plugged = Plugged::new("");
        let Some(()) = plugged.c("good", "good.c", &[]) else { return };
        let config = plugged.home.path("config.toml");
        let text = fs::read_to_string(&config).unwrap();
        let names = variables.map(|(name, _)| format!("\"{name}\", ")).concat();
        fs::write(&config, text.replace("PreserveEnvVars = [", &format!("PreserveEnvVars = [{names}"))).unwrap();
        let mut command = plugged.home.jobmgr(&["serve"]);
        command.envs(variables);
        let server = plugged.home.serve_by(command);
        assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
        eventually("a spare is there", || plugged.runners().len() == 1);
        let spare = plugged.runners()[0];
        assert!(!command_line(spare).contains(&"--forks".to_owned()), "it was started as a program");
        let environment = fs::read(format!("/proc/{spare}/environ")).unwrap();
        for (name, value) in variables {
            let whole = format!("{name}={value}");
            assert!(environment.split(|byte| *byte == 0).any(|variable| variable == whole.as_bytes()), "{name}");
        }
    }
}
