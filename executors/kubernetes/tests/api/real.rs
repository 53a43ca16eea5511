//! The same against a real API server with nodes: `JOBMGR_TEST_KUBECONFIG=/path cargo test`. Without it these tests say
//! that they were left out. `JOBMGR_TEST_IMAGE` is an image with `sh` (default busybox); the namespace is that of the
//! file's context.

use std::thread;

use jobmgr_executor_kubernetes::Kubernetes;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Clustered, Ending, Executor, Job, KillReason, Kind, Logged, Outcome, Recover, Result, Stop};
use serde_json::json;

use crate::{executor, with};

type Real = (Clustered<Kubernetes>, Job<jobmgr_executor_kubernetes::Options>, Host);

/// A job of a name that nobody had, on the cluster of this machine's environment.
fn real(name: &str, script: &str) -> Option<Real> {
    let Ok(kubeconfig) = std::env::var("JOBMGR_TEST_KUBECONFIG") else {
        eprintln!("LEFT OUT: {name}: JOBMGR_TEST_KUBECONFIG names no kubeconfig file of a Kubernetes cluster");
        return None;
    };
    let image = std::env::var("JOBMGR_TEST_IMAGE").unwrap_or_else(|_| "busybox".into());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let mut job = with(&format!("jm-test-{name}-{now}"), json!({"Image": image}));
    job.command = vec!["sh".into(), "-c".into(), script.into()];
    Some((executor(json!({"Kubeconfig": kubeconfig, "PollEvery": 0.5})).unwrap(), job, Host::default()))
}

/// Runs it, stops it when its output is there, and removes it.
fn finish((executor, job, host): &Real, stop: Option<(Stop, &[u8])>) -> Result<Outcome> {
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(job, &host.context()));
        if let Some((why, output)) = stop {
            while host.stdout() != output && !run.is_finished() {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            host.stop(why);
        }
        run.join().unwrap()
    });
    if stop.is_none_or(|(why, _)| why != Stop::Detach) {
        let handle = host.checkpoints().pop();
        executor.cleanup(job, handle.as_deref(), &host.context()).unwrap();
        executor.cleanup(job, handle.as_deref(), &host.context()).unwrap();
    }
    result
}

#[test]
fn a_real_job_ends_with_its_code_and_its_output() {
    let Some(real) = real("ends", "echo '$(HOME)' \"$X\"; echo err >&2; test -d \"$A\" && exit 5") else { return };
    let (executor, mut job, host) = real;
    job.dir = "/tmp/j".into();
    job.env = [("X".to_owned(), "a $(A) $$".to_owned()), ("A".to_owned(), "/tmp/j/artifacts".to_owned())].into();
    let real = (executor, job, host);
    assert_eq!(finish(&real, None).unwrap().ending, Ending::Exited(5));
    assert_eq!(String::from_utf8(real.2.stdout()).unwrap(), "$(HOME) a $(A) $$\nerr\n");
}

#[test]
fn a_real_job_is_cancelled() {
    let Some(real) = real("cancel", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done") else { return };
    let outcome = finish(&real, Some((Stop::Cancel, b"up\n"))).unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
}

#[test]
fn a_real_job_is_gone_on_with_by_its_name() {
    let Some(real) = real("recover", "echo one; sleep 5; echo two; exit 3") else { return };
    assert_eq!(finish(&real, Some((Stop::Detach, b"one\n"))).unwrap_err().kind(), Kind::Stopped);
    let (executor, mut job, _) = real;
    job.logged[0] = Logged::bytes(4);
    let host = Host::default();
    let outcome = executor.recover(&job, None, &host.context()).unwrap();
    assert_eq!((outcome.exit_code, host.stdout()), (Some(3), b"two\n".to_vec()));
    executor.cleanup(&job, host.checkpoints().last().map(Vec::as_slice), &host.context()).unwrap();
}

#[test]
fn a_real_image_that_is_nowhere_is_told() {
    let Some((executor, mut job, host)) = real("image", "true") else { return };
    job.options.image = "Not An Image".into();
    let error = executor.validate(&job.options).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    job.options.image = "UPPER/case".into();
    let outcome = finish(&(executor, job, host), None).unwrap();
    assert!(outcome.message.unwrap().contains("InvalidImageName"));
}
