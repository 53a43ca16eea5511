use jobmgr_plugin_api::{Ending, KillReason, Recover, Stop};

use crate::cluster;
use crate::support::{job, start, until};

#[test]
fn a_stopped_job_may_end_itself() {
    let Some(cluster) = cluster::shared() else { return };
    for (why, reason) in [(Stop::Cancel, KillReason::Cancelled), (Stop::Timeout, KillReason::Timeout)] {
        let mut job = job(&cluster, "trap 'echo saved; exit 3' TERM; echo begun; while :; do sleep 0.1; done");
        // Slurm's own KillWait is what counts here.
        job.limits.kill_grace_ms = 60_000;
        let running = start(&cluster.executor(), &job);
        running.until_said("begun");
        running.stop(why);
        let (result, host) = running.end();
        let outcome = result.unwrap();
        assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(reason), Some(3)));
        assert_eq!(host.stdout(), b"begun\nsaved\n");
    }
}

#[test]
fn a_job_that_does_not_listen_is_killed() {
    let Some(cluster) = cluster::shared() else { return };
    let mut job = job(&cluster, "trap '' TERM; echo begun; while :; do sleep 0.1; done");
    job.limits.kill_grace_ms = 500;
    let running = start(&cluster.executor(), &job);
    running.until_said("begun");
    let number = running.number();
    running.stop(Stop::Cancel);
    assert_eq!(running.outcome().ending, Ending::Killed(KillReason::Cancelled));
    until("it is gone", || !cluster.call("squeue", &["-h", "-t", "R,CG", "-o", "%A"]).contains(&number));
}

#[test]
fn a_job_that_waits_can_be_cancelled() {
    let Some(cluster) = cluster::shared() else { return };
    let mut job = job(&cluster, "echo never");
    job.options.extra = vec!["--hold".into()];
    let running = start(&cluster.executor(), &job);
    running.number();
    running.stop(Stop::Cancel);
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Killed(KillReason::Cancelled));
    assert!(host.stdout().is_empty());
}

#[test]
fn cleanup_ends_what_runs_and_may_be_called_twice() {
    let Some(cluster) = cluster::shared() else { return };
    for by_handle in [true, false] {
        let job = job(&cluster, "echo begun; exec sleep 600");
        let executor = cluster.executor();
        let running = start(&executor, &job);
        running.until_said("begun");
        let number = running.number();
        running.stop(Stop::Detach);
        let (_, host) = running.end();
        let handle = host.checkpoints().pop().filter(|_| by_handle);
        let folder = format!("{}/.slurm", job.dir);
        assert!(std::fs::exists(&folder).unwrap());
        for _ in 0..2 {
            executor.cleanup(&job, handle.as_deref(), &host.context()).unwrap();
        }
        until("it is gone", || cluster.call("squeue", &["-h", "-t", "R,CG", "-j", &number, "-o", "%A"]).is_empty());
        until("nothing is left", || {
            executor.cleanup(&job, handle.as_deref(), &host.context()).unwrap();
            !std::fs::exists(&folder).unwrap()
        });
    }
}
