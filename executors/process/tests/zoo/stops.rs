//! Jobs that end when they are asked to, and that do not.

use std::time::Duration;

use jobmgr_plugin_api::{Ending, KillReason, Outcome, Stop};

use crate::linux::{assert_no_child, python, sh};
use crate::support::{after, alone, run_until};

#[test]
fn one_that_ends_when_asked_keeps_its_exit_code() {
    alone(|| {
        let job = sh("trap 'echo ending; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        let ran = run_until(&job, after("ready", Stop::Cancel));
        assert_eq!(ran.outcome().ending, Ending::Killed(KillReason::Cancelled));
        assert_eq!((ran.outcome().exit_code, ran.outcome().signal), (Some(0), None));
        assert_eq!(ran.text(), "ready\nending\n");
        assert!(ran.took < Duration::from_secs(4), "{:?}", ran.took);
    });
}

#[test]
fn one_that_ignores_the_question_is_killed_after_the_grace() {
    alone(|| {
        let mut job = sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        job.limits.kill_grace_ms = 600;
        let ran = run_until(&job, after("ready", Stop::Timeout));
        assert_eq!(ran.outcome().ending, Ending::Killed(KillReason::Timeout));
        assert_eq!((ran.outcome().exit_code, ran.outcome().signal), (None, Some(9)));
        assert!((0.6..3.0).contains(&ran.took.as_secs_f64()), "{:?}", ran.took);
        assert_no_child();
    });
}

#[test]
fn output_is_read_during_the_grace() {
    alone(|| {
        // More than a pipe holds: the job could not end if nobody read.
        let job = sh("trap 'head -c 300000 /dev/zero; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
        let ran = run_until(&job, after("ready", Stop::Cancel));
        assert_eq!(ran.outcome().exit_code, Some(0));
        assert_eq!(ran.stdout.len(), "ready\n".len() + 300_000);
    });
}

#[test]
fn one_that_stopped_itself_hears_the_question() {
    alone(|| {
        let job = sh(
            "trap 'echo heard; exit 5' TERM; (until grep -q ') T' /proc/$$/stat; do sleep 0.01; done; echo ready) & \
                      kill -STOP $$; sleep 1; exit 1",
        );
        let ran = run_until(&job, after("ready", Stop::Cancel));
        assert_eq!(ran.outcome().exit_code, Some(5), "{ran:?}");
        assert_eq!(ran.text(), "ready\nheard\n");
    });
}

#[test]
fn grandchildren_are_asked_and_killed_too() {
    alone(|| {
        let script = "import os,signal,time\n\
            def child():\n\
            \x20 os.setsid(); signal.signal(signal.SIGTERM,lambda *_:os.write(1,b'asked\\n')); os.write(1,b'ready\\n')\n\
            \x20 while 1: time.sleep(1)\n\
            signal.signal(signal.SIGTERM,lambda *_:None)\n\
            os.fork() or child()\n\
            while 1: time.sleep(1)";
        let mut job = python(script);
        job.limits.kill_grace_ms = 500;
        let ran = run_until(&job, after("ready", Stop::Timeout));
        assert_eq!(ran.text(), "ready\nasked\n");
        assert_eq!(ran.outcome().signal, Some(9));
        assert!(ran.events.is_empty(), "{:?}", ran.events);
        assert_no_child();
    });
}

#[test]
fn the_grace_is_for_all_not_only_for_the_first_process() {
    alone(|| {
        // The shell that waits is gone at once; what it runs has something to save.
        let job = sh("(trap 'sleep 0.5; echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done) & wait");
        let ran = run_until(&job, after("ready", Stop::Timeout));
        assert_eq!(ran.text(), "ready\nsaved\n");
        assert_eq!(ran.outcome().signal, Some(15));
        assert!(ran.took < Duration::from_secs(4), "{:?}", ran.took);
        assert_no_child();
    });
}

#[test]
fn the_grace_is_no_longer_for_the_others() {
    alone(|| {
        let mut job = sh("(trap '' TERM; echo ready; while :; do sleep 0.05; done) & wait");
        job.limits.kill_grace_ms = 600;
        let ran = run_until(&job, after("ready", Stop::Timeout));
        assert_eq!(ran.outcome().signal, Some(15));
        assert!((0.6..3.0).contains(&ran.took.as_secs_f64()), "{:?}", ran.took);
        assert_no_child();
    });
}

#[test]
fn a_stop_that_came_first_starts_nothing() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let host = jobmgr_plugin_api::test::Host::default();
        host.stop(Stop::Cancel);
        let job = sh(&format!("touch {}", mark.display()));
        let context = jobmgr_plugin_api::Context::new(&host);
        let outcome = jobmgr_plugin_api::Executor::run(&jobmgr_executor_process::Process, &job, &context).unwrap();
        assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
        assert!(!mark.exists());
    });
}

#[test]
fn a_stop_ends_the_wait_for_open_pipes() {
    alone(|| {
        let job = sh("(until grep -q ') Z' /proc/$$/stat; do sleep 0.01; done; echo ready; exec sleep 600) & exit 6");
        let ran = run_until(&job, after("ready", Stop::Timeout));
        // It had ended by itself before.
        assert_eq!(*ran.outcome(), Outcome::exited(6));
        assert!(ran.took < Duration::from_millis(1500), "{:?}", ran.took);
        assert_no_child();
    });
}

#[test]
fn a_runner_that_closes_ends_its_job() {
    alone(|| {
        let started = std::sync::atomic::AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            let closed = scope.spawn(|| {
                while !started.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                jobmgr_executor_process::close(Duration::from_secs(10))
            });
            let ran = run_until(&sh("setsid sleep 600 & echo ready; exec sleep 600"), |output| {
                started.fetch_or(!output.is_empty(), std::sync::atomic::Ordering::Relaxed);
                None
            });
            assert!(closed.join().unwrap());
            ran
        });
        assert!(ran.took < Duration::from_secs(10), "{ran:?}");
        assert_no_child();
    });
}
