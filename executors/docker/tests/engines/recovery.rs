use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, KillReason, Kind as ErrorKind, Logged, Stop};

use crate::support::{Engine, IMAGE, Work, wait};

crate::on_both!(
    a_detached_job_goes_on,
    no_byte_is_lost_or_doubled,
    what_ended_meanwhile_is_told,
    a_recovered_job_can_be_cancelled,
    what_was_made_and_not_started_is_started,
    run_never_starts_a_job_twice,
    lost_and_never_started,
    cleanup_may_be_called_twice,
    the_containers_of_others_are_left_alone,
);

const LINES: &str = "for i in 1 2 3 4 5 6 7 8; do echo line $i; echo error $i >&2; sleep 0.2; done; printf end; exit 3";

fn a_detached_job_goes_on(engine: &Engine) {
    let docker = engine.executor();
    for by_handle in [true, false] {
        let work = Work::sh(&docker, "echo ready; while [ ! -e /jobmgr/go ]; do sleep 0.05; done; echo done; exit 3");
        let first = Host::default();
        let error = work.stop_at("ready", Stop::Detach, &first).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        std::fs::write(work.dir.join("go"), "").unwrap();
        let handle = first.checkpoints().pop().unwrap();
        let second = Host::default();
        let mut work = work;
        work.job.logged[0] = Logged::bytes(first.stdout().len() as u64);
        let outcome = work.recover(by_handle.then_some(&*handle), &second).unwrap();
        assert_eq!(outcome.ending, Ending::Exited(3));
        assert_eq!([first.stdout(), second.stdout()].concat(), b"ready\ndone\n");
    }
}

/// Detached many times, at whatever place it is then.
fn no_byte_is_lost_or_doubled(engine: &Engine) {
    let docker = engine.executor();
    let mut work = Work::sh(&docker, LINES);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut handle: Option<Vec<u8>> = None;
    let outcome = loop {
        let host = Host::default();
        work.job.logged = [Logged::bytes(out.len() as u64), Logged::bytes(err.len() as u64)];
        let ended = std::thread::scope(|scope| {
            let run = scope.spawn(|| match &handle {
                None => work.run(&host),
                Some(handle) => work.recover(Some(handle), &host),
            });
            wait("some output", || (!host.stdout().is_empty() || run.is_finished()).then_some(()));
            host.stop(Stop::Detach);
            run.join().unwrap()
        });
        out.extend(host.stdout());
        err.extend(host.stderr());
        handle = host.checkpoints().pop().or(handle);
        match ended {
            Ok(outcome) => break outcome,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Stopped),
        }
    };
    assert_eq!(outcome.ending, Ending::Exited(3));
    let lines = |word: &str| (1..=8).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert_eq!(String::from_utf8(out).unwrap(), lines("line") + "end");
    assert_eq!(String::from_utf8(err).unwrap(), lines("error"));
}

fn what_ended_meanwhile_is_told(engine: &Engine) {
    let docker = engine.executor();
    let mut work = Work::sh(&docker, "echo one; echo two; exit 4");
    let host = Host::default();
    work.run(&host).unwrap();
    let handle = host.checkpoints().pop().unwrap();
    work.job.logged[0] = Logged::bytes(4);
    for handle in [Some(&*handle), None] {
        let later = Host::default();
        assert_eq!(work.recover(handle, &later).unwrap().ending, Ending::Exited(4));
        assert_eq!(later.stdout(), b"two\n");
    }
}

fn a_recovered_job_can_be_cancelled(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let first = Host::default();
    work.stop_at("ready", Stop::Detach, &first).unwrap_err();
    let second = Host::default();
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| work.recover(None, &second));
        wait("it is there again", || (!second.stdout().is_empty() || run.is_finished()).then_some(()));
        second.stop(Stop::Cancel);
        run.join().unwrap().unwrap()
    });
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(outcome.exit_code, Some(5));
}

/// As when the runner died between the two calls.
fn what_was_made_and_not_started_is_started(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "unused");
    make(engine, &work.job.key, &work.job.key);
    let host = Host::default();
    assert_eq!(work.recover(None, &host).unwrap().ending, Ending::Exited(0));
    assert_eq!(host.stdout(), b"hello\n");
    assert_eq!(host.checkpoints().len(), 1);
}

/// A container made by hand, with the label of a job.
fn make(engine: &Engine, name: &str, label: &str) {
    let options = CreateContainerOptions { name: Some(name.into()), ..Default::default() };
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(vec!["echo".into(), "hello".into()]),
        labels: Some([("jobmgr.key".to_owned(), label.to_owned())].into()),
        network_disabled: Some(true),
        ..Default::default()
    };
    engine.ask(async |client| client.create_container(Some(options), body).await).unwrap();
}

fn run_never_starts_a_job_twice(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo x >> /jobmgr/starts; echo out");
    for _ in 0..2 {
        let host = Host::default();
        assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
        assert_eq!(host.stdout(), b"out\n");
    }
    assert_eq!(std::fs::read_to_string(work.dir.join("starts")).unwrap(), "x\n");
}

fn lost_and_never_started(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo ready; sleep 600");
    let error = work.recover(None, &Host::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NeverStarted);
    let host = Host::default();
    work.stop_at("ready", Stop::Detach, &host).unwrap_err();
    work.cleanup().unwrap();
    let handle = host.checkpoints().pop().unwrap();
    let error = work.recover(Some(&handle), &Host::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(error.to_string().contains(&work.job.key), "{error}");
}

fn cleanup_may_be_called_twice(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo ready; sleep 600");
    work.stop_at("ready", Stop::Detach, &Host::default()).unwrap_err();
    assert!(engine.containers().contains(&work.job.key));
    work.cleanup().unwrap();
    assert!(!engine.containers().contains(&work.job.key));
    work.cleanup().unwrap();
}

fn the_containers_of_others_are_left_alone(engine: &Engine) {
    let docker = engine.executor();
    let mut work = Work::sh(&docker, "echo mine");
    work.job.key += "-other";
    make(engine, &work.job.key, "somebody");
    for error in [work.run(&Host::default()).unwrap_err(), work.cleanup().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("not jobmgr's"), "{error}");
    }
    assert!(engine.containers().contains(&work.job.key));
    work.job.key = "jm-nothing".into();
}
