use jobmgr_executor_docker::Config;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, KillReason, Outcome, Result};

use crate::support::{Engine, Kind, Work, shows, wait};

/// Runs a job, ends the engine's service once its output shows `ready`, and starts it again.
fn restart(
    engine: &Engine,
    work: &Work<'_>,
    host: &Host,
    signal: &str,
    meanwhile: impl FnOnce(),
    afterwards: impl FnOnce(),
) -> Result<Outcome> {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| work.run(host));
        wait("ready", || (shows(host, "ready") || run.is_finished()).then_some(()));
        engine.down(signal);
        meanwhile();
        engine.up();
        afterwards();
        run.join().expect("no panic")
    })
}

const COUNTS: &str =
    "echo ready; i=0; while [ ! -e /jobmgr/go ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo over $i";

/// The lines are 1, 2, 3 and so on to the last, each of them once.
fn whole(host: &Host) {
    let text = String::from_utf8(host.stdout()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let last: u32 = lines.pop().and_then(|line| line.strip_prefix("over ")).expect(&text).parse().unwrap();
    assert_eq!(lines.remove(0), "ready");
    let expected: Vec<String> = (1..=last).map(|n| n.to_string()).collect();
    assert_eq!(lines, expected);
}

fn goes_on(kind: Kind, flags: &[&'static str], signal: &str) {
    let Some(engine) = Engine::start(kind, flags) else { return };
    let docker = engine.executor_with(Config { reconnect_seconds: Some(120), ..Config::default() });
    let work = Work::sh(&docker, COUNTS);
    let host = Host::default();
    let afterwards = || {
        let before = host.stdout().len();
        wait("more output", || (host.stdout().len() > before + 100).then_some(()));
        std::fs::write(work.dir.join("go"), "").unwrap();
    };
    let outcome = restart(&engine, &work, &host, signal, || {}, afterwards).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(0), "{outcome:?}");
    whole(&host);
}

#[test]
fn containers_outlive_a_docker_with_live_restore() {
    goes_on(Kind::Docker, &["--live-restore"], "TERM");
}

#[test]
fn containers_outlive_the_crash_of_a_docker_with_live_restore() {
    goes_on(Kind::Docker, &["--live-restore"], "KILL");
}

#[test]
fn containers_outlive_podmans_service() {
    goes_on(Kind::Podman, &[], "KILL");
}

/// They end, and that is said.
#[test]
fn containers_end_with_a_docker_without_live_restore() {
    for signal in ["TERM", "KILL"] {
        let Some(engine) = Engine::start(Kind::Docker, &[]) else { return };
        let docker = engine.executor_with(Config { reconnect_seconds: Some(120), ..Config::default() });
        let work = Work::sh(&docker, "echo ready; sleep 600");
        let host = Host::default();
        let outcome = restart(&engine, &work, &host, signal, || {}, || {}).unwrap();
        assert_eq!(outcome.ending, Ending::Killed(KillReason::NodeLost), "{outcome:?}");
        assert!(outcome.message.unwrap().contains("restart of the engine"));
        assert_eq!(host.stdout(), b"ready\n");
    }
}

/// What ends by itself while the engine is away has ended as it did.
#[test]
fn an_end_while_the_engine_is_away_is_found_out() {
    let Some(engine) = Engine::start(Kind::Docker, &["--live-restore"]) else { return };
    let docker = engine.executor_with(Config { reconnect_seconds: Some(120), ..Config::default() });
    let script = "echo ready; while [ ! -e /jobmgr/go ]; do sleep 0.05; done; echo end; touch /jobmgr/ended; exit 9";
    let work = Work::sh(&docker, script);
    let host = Host::default();
    let meanwhile = || {
        std::fs::write(work.dir.join("go"), "").unwrap();
        wait("it ends", || work.dir.join("ended").exists().then_some(()));
    };
    let outcome = restart(&engine, &work, &host, "KILL", meanwhile, || {});
    assert_eq!(outcome.unwrap().ending, Ending::Exited(9));
    // Docker keeps nothing of what a container writes while nobody reads it and that then ends; who owns the job is told.
    assert!(host.stdout().starts_with(b"ready\n"));
    assert!(host.events().iter().any(|event| format!("{event:?}").contains("may be missing")), "{:?}", host.events());
}
