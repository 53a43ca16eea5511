use std::time::{Duration, Instant};

use serde_json::json;

use super::{Plugged, tell, told};
use crate::support::libraries::of_c;
use crate::support::processes::{
    Signal, children, is_plugin_runner, of_jobs, private_memory, runs, signal, state, working_in,
};
use crate::support::server::{Server, eventually};

/// Short enough that a test may wait for it.
const KEYS: &str = "Timeout = \"5m\"\nKillGrace = \"200ms\"";

fn cancel(server: &Server, id: i64) {
    let answer = server.client().try_post(&format!("/v1/jobs/{id}/cancel"), &[]).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Waits until a job has said something.
fn said(server: &Server, id: i64, what: &str) {
    eventually(&format!("the job says {what:?}"), || {
        server.client().get(&format!("/v1/jobs/{id}/logs")).body == what.as_bytes()
    });
}

#[test]
fn a_cancel_ends_what_heeds_it_and_what_does_not() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    let command = "Executor = \"bad\"\nTimeout = \"5m\"\nKillGrace = \"200ms\"\n[Options]\nMode = \"command\"";
    plugged.home.spec("command", &format!("Command = \"echo command; exec sleep 600\"\n{command}"));
    for mode in ["loop", "sigterm_proof", "sigstop"] {
        plugged.mode(mode, mode, KEYS, "");
    }
    plugged.mode("sleep", "sleep", KEYS, "");
    let server = plugged.serve();
    for (name, begins) in [
        ("sleep", ""),
        ("command", "command\n"),
        ("loop", "loops\n"),
        ("sigterm_proof", "sleeps\n"),
        ("sigstop", "stops\n"),
    ] {
        let id = server.start(name, json!({}));
        server.wait_for(id, "started");
        said(&server, id, begins);
        let asked = Instant::now();
        cancel(&server, id);
        let told = told(&server, id);
        assert_eq!(told.attempt["ending"], "canceled", "{name}: {told:?}");
        eprintln!("{name}: canceled in {:?}", asked.elapsed());
        // The grace, as long again as executors may take beyond it, and their runner to go.
        assert!(asked.elapsed() < Duration::from_secs(30), "{name}: {:?}", asked.elapsed());
        plugged.assert_nothing_left(1);
    }
}

#[test]
fn a_library_that_hangs_while_it_is_opened_ends_with_the_jobs_time() {
    let plugged = Plugged::new("");
    let hanging = plugged.home.path("plugins/hang.so");
    plugged.executor("hang", &hanging, "");
    let spec = |timeout: &str| format!("Command = \"x\"\nExecutor = \"hang\"\nTimeout = \"{timeout}\"\n");
    plugged.home.spec("hang", &spec("700ms"));
    plugged.home.spec("cancelled", &spec("5m"));
    let server = plugged.serve();
    // Only now, so that the server's start does not wait for it.
    let Some(()) = of_c("wrong.c", &hanging, &["-DCTOR_HANG"]) else { return };
    let ended = tell(&server, "hang");
    assert_eq!((ended.reason.as_deref(), &*ended.error), (Some("timeout"), "timeout after 700ms"), "{ended:?}");
    let id = server.start("cancelled", json!({}));
    eventually("the library is being opened", || plugged.runners().len() == 1);
    cancel(&server, id);
    assert_eq!(told(&server, id).attempt["ending"], "canceled");
    eventually("the runners are gone", || plugged.runners().is_empty());
    // A library that opens is there for the next job.
    let Some(()) = of_c("good.c", &plugged.home.path("plugins/new.so"), &[]) else { return };
    std::fs::rename(plugged.home.path("plugins/new.so"), &hanging).unwrap();
    assert_eq!(tell(&server, "cancelled").ended.result, "hello from C\n");
}

/// It holds the dynamic linker's lock meanwhile.
#[test]
fn a_library_that_hangs_while_it_is_opened_ends_with_the_server() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("hang", "wrong.c", &["-DCTOR_HANG"]) else { return };
    let mut server = plugged.serve();
    eventually("it is being opened", || plugged.runners().len() == 1);
    signal(server.pid(), Signal::KILL);
    server.exit();
    eventually("nothing is left", || working_in(plugged.home.dir.path()).is_empty());
}

#[test]
fn a_library_that_takes_its_time_to_open_keeps_no_server_from_starting() {
    let plugged = Plugged::new("[Worker]\nConcurrency = 4");
    let Some(()) = plugged.c("hang", "wrong.c", &["-DCTOR_HANG"]) else { return };
    let Some(()) = plugged.c("slow", "wrong.c", &["-DCTOR_SLOW"]) else { return };
    plugged.home.sh("own", "echo own", "");
    plugged.home.spec("wrong", "Command = \"x\"\nExecutor = \"slow\"\n[Options]\nNo = 1\n");
    let server = plugged.serve();
    let loading = |name| format!("[Executors.{name}] is still being opened after 2s; its jobs wait for it");
    for name in ["hang", "slow"] {
        assert!(plugged.home.log().contains(&loading(name)), "{}", plugged.home.log());
    }
    assert_eq!(server.run("own", json!({})).status, "completed");
    // Nobody knows yet what the slow one takes.
    let ids = ["slow", "wrong"].map(|name| server.start(name, json!({})));
    eventually("their jobs are begun", || ids.iter().all(|id| server.job(*id)["job"]["status"] == "started"));
    std::fs::write(plugged.home.path("go"), "").unwrap();
    for id in ids {
        assert_eq!(told(&server, id).ended.status, "completed", "it has waited");
    }
    eventually("it is open", || plugged.home.log().contains("executor slow is there"));
    let told = tell(&server, "wrong");
    assert_eq!(told.reason.as_deref(), Some("invalid_job"), "{told:?}");
    assert!(told.error.contains("'Options': unknown key 'No'"), "{told:?}");
    // The other one is given up, and not for ever.
    eventually("it is said", || plugged.home.log().contains("hang.so: was not open within 10s"));
}

/// A runner that is stopped from outside takes no frames: a large job does not fit into what the system keeps for it.
#[test]
fn a_spare_that_was_stopped_wedges_no_slot() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("stops", "stops_later.c", &[]) else { return };
    let long = "x".repeat(60_000);
    let values: String = (0..12).map(|n| format!("[[Parameter]]\nName = \"p{n}\"\nType = \"string\"\n")).collect();
    let keys = "Command = \"x\"\nExecutor = \"stops\"\nTimeout = \"60s\"\n";
    plugged.home.spec("stops", &format!("{keys}{values}"));
    let server = plugged.serve();
    eventually("a spare is kept", || plugged.runners().len() == 1);
    let spare = plugged.runners()[0];
    eventually("the spare has stopped itself", || state(spare) == Some('T'));
    let values: serde_json::Map<_, _> = (0..12).map(|n| (format!("p{n}"), json!(long))).collect();
    let id = server.start("stops", values.into());
    let told = told(&server, id);
    assert_eq!(told.reason.as_deref(), Some("executor_error"), "{told:?}");
    assert_eq!(told.error, "the executor's process did not read its line before it gave a result");
}

#[test]
fn what_a_library_prints_is_there_while_its_job_runs() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("prints", "print_and_sleep", KEYS, "");
    let server = plugged.serve();
    let id = server.start("prints", json!({}));
    let own = || server.client().get(&format!("/v1/jobs/{id}/logs?stream=executor")).body;
    eventually("what it printed is there", || own() == b"printed\n");
    assert_eq!(server.job(id)["job"]["status"], "started");
    cancel(&server, id);
    assert_eq!(told(&server, id).own, "printed\n", "once");
}

#[test]
fn a_runner_that_is_stopped_does_not_outlive_its_server() {
    let plugged = Plugged::new("[Worker]\nConcurrency = 2");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("sigstop", "sigstop", KEYS, "");
    plugged.home.sh("own", "echo begun; sleep 600", "");
    let mut server = plugged.serve();
    let id = server.start("own", json!({}));
    said(&server, id, "begun\n");
    let id = server.start("sigstop", json!({}));
    said(&server, id, "stops\n");
    let runners = children(server.pid());
    for runner in &runners {
        signal(*runner, Signal::STOP);
        eventually("it is stopped", || state(*runner) == Some('T'));
    }
    let of_libraries = runners.iter().filter(|pid| is_plugin_runner(**pid)).count();
    assert!(of_libraries == 1 && runners.len() > 2, "a library's, one of our own, and who forks: {runners:?}");
    server.kill();
    eventually("nothing is left", || {
        !runners.iter().any(|runner| runs(*runner)) && of_jobs(plugged.home.dir.path()).is_empty()
    });
    assert_eq!(plugged.strays(), []);
}

#[test]
fn the_death_of_the_server_is_the_death_of_its_executors() {
    let plugged = Plugged::new("[Worker]\nConcurrency = 2");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("loop", "loop", KEYS, "");
    plugged.mode("sigterm_proof", "sigterm_proof", KEYS, "");
    let mut server = plugged.serve();
    for (name, begins) in [("loop", "loops\n"), ("sigterm_proof", "sleeps\n")] {
        let id = server.start(name, json!({}));
        server.wait_for(id, "started");
        said(&server, id, begins);
    }
    assert!(!plugged.strays().is_empty(), "a shell and two sleeps");
    server.kill();
    eventually("runners and what they started are gone", || {
        plugged.strays().is_empty() && plugged.runners().is_empty()
    });
}

#[test]
fn an_idle_spare_is_small() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    let server = plugged.serve();
    assert_eq!(tell(&server, "good").ended.result, "hello from C\n");
    eventually("a spare is there", || plugged.runners().len() == 1);
    let spare = plugged.runners()[0];
    // It is measured when it has nothing more to do.
    eventually("the spare is idle", || crate::support::processes::state(spare) == Some('S'));
    let memory = private_memory(spare);
    eprintln!("an idle spare's private memory: {} KiB", memory >> 10);
    // A debug build's tables are larger; the benchmark `plugin` has the figure of a release.
    assert!(memory < 4 << 20, "{memory}");
}
