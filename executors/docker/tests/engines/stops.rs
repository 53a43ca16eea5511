use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, KillReason, Kind as ErrorKind, Stop};

use crate::support::{Engine, Kind, Work};

crate::on_both!(
    a_cancel_is_polite_first,
    what_ignores_it_is_killed,
    a_timeout_is_told_apart,
    a_stop_before_the_start_starts_nothing,
    a_job_that_ends_by_itself_was_not_killed,
    out_of_memory,
);

/// Its own handler runs, and its own exit code comes back.
fn a_cancel_is_polite_first(engine: &Engine) {
    let docker = engine.executor();
    let mut work = Work::sh(&docker, "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    // Far above what the test may take: only SIGTERM can have ended it.
    work.job.limits.kill_grace_ms = 600_000;
    let host = Host::default();
    let outcome = work.stop_at("ready", Stop::Cancel, &host).unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(outcome.exit_code, Some(5));
    assert_eq!(host.stdout(), b"ready\nbye\n");
}

fn what_ignores_it_is_killed(engine: &Engine) {
    let docker = engine.executor();
    let mut work = Work::sh(&docker, "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done");
    work.job.limits.kill_grace_ms = 500;
    let host = Host::default();
    let outcome = work.stop_at("ready", Stop::Cancel, &host).unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(host.stdout(), b"ready\nno\n");
}

fn a_timeout_is_told_apart(engine: &Engine) {
    let docker = engine.executor();
    let mut work =
        Work::sh(&docker, "echo ready; sleep 600").options(|options| options.init = engine.kind == Kind::Docker);
    work.job.limits.kill_grace_ms = 1000;
    let outcome = work.stop_at("ready", Stop::Timeout, &Host::default()).unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Timeout));
}

fn a_stop_before_the_start_starts_nothing(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo started");
    for (why, ending) in [(Stop::Cancel, Some(KillReason::Cancelled)), (Stop::Detach, None)] {
        let host = Host::default();
        host.stop(why);
        match (work.run(&host), ending) {
            (Ok(outcome), Some(reason)) => assert_eq!(outcome.ending, Ending::Killed(reason)),
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::Stopped),
            (other, _) => panic!("{why:?}: {other:?}"),
        }
        assert!(host.stdout().is_empty());
    }
}

fn a_job_that_ends_by_itself_was_not_killed(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "kill -9 $$; exit 137");
    // Process 1 can't kill itself, so this is the shell's own word, and nobody else's doing.
    assert_eq!(work.run(&Host::default()).unwrap().ending, Ending::Exited(137));
}

fn out_of_memory(engine: &Engine) {
    let docker = engine.executor();
    let eat = "x=0123456789abcdef; while :; do x=$x$x; done";
    let work =
        Work::sh(&docker, eat).options(|options| options.memory = serde_json::from_value("32MiB".into()).unwrap());
    let outcome = work.run(&Host::default()).unwrap();
    match engine.kind {
        Kind::Docker => {
            assert_eq!(outcome.ending, Ending::Killed(KillReason::OutOfMemory), "{outcome:?}");
            assert!(outcome.message.unwrap().contains("out of memory"));
        }
        // Podman 4.3 does not know; others do.
        Kind::Podman => {
            let told = outcome.detail.pointer("/state/OOMKilled").and_then(serde_json::Value::as_bool);
            let expected =
                if told == Some(true) { Ending::Killed(KillReason::OutOfMemory) } else { Ending::Exited(137) };
            assert_eq!(outcome.ending, expected, "{outcome:?}");
        }
    }
    assert_eq!(outcome.exit_code, Some(137));
}
