use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jobmgr_executor_slurm::Options;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Job, KillReason, Outcome, Stop};
use tempfile::TempDir;

use crate::cluster::{self, Cluster};
use crate::support::{Running, job, recover, run, start, until, within};

/// One without accounting that forgets soon, and writes down what has ended.
fn forgetful(more: &str) -> Option<(TempDir, Cluster)> {
    let dir = TempDir::with_prefix("jm-jobcomp-").unwrap();
    let file = dir.path().join("completed");
    let lines = format!("MinJobAge=2\nJobCompType=jobcomp/filetxt\nJobCompLoc={}\n{more}", file.display());
    Some((dir, cluster::own(&lines)?))
}

/// Detaches from a job that runs, as a server does that ends.
fn leave(running: Running) -> Arc<Host> {
    running.stop(Stop::Detach);
    running.end().1
}

fn until_forgotten(cluster: &Cluster) {
    within(Duration::from_secs(180), "Slurm has forgotten them", || {
        cluster.call("squeue", &["-h", "-t", "all"]).is_empty()
    });
}

/// What is made of it by a server that comes back: with its handle, without, and without all that the script left.
fn ends(cluster: &Cluster, job: &Job<Options>, before: &Host) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (by_handle, has_file) in [(true, true), (false, true), (false, false)] {
        if !has_file {
            for name in ["id", "exit"] {
                drop(fs::remove_file(format!("{}/.slurm/{name}", job.dir)));
            }
        }
        outcomes.push(recover(&cluster.executor(), job, before, by_handle).end().0.unwrap());
    }
    outcomes
}

fn assert_ended(cluster: &Cluster, job: &Job<Options>, before: &Host, ending: &Ending, state: &str) {
    for outcome in ends(cluster, job, before) {
        assert_eq!((&outcome.ending, &outcome.detail["slurm"]["state"]), (ending, &state.into()), "{outcome:?}");
    }
}

#[test]
fn the_file_of_completed_jobs_tells_ends_apart() {
    let Some((_dir, cluster)) = forgetful("") else { return };
    let cases = [
        ("echo begun; sleep 2; exit 4", Ending::Exited(4), "FAILED"),
        // Nobody is left to write down how it ended.
        ("echo begun; sleep 2; kill -9 $PPID", Ending::Signaled(9), "FAILED"),
        (
            "echo begun; sleep 2; scancel $SLURM_JOB_ID; exec sleep 600",
            Ending::Killed(KillReason::Cancelled),
            "CANCELLED",
        ),
        ("echo begun; exec sleep 600", Ending::Killed(KillReason::Timeout), "TIMEOUT"),
    ];
    let jobs = cases.map(|(script, ending, state)| {
        let mut job = job(&cluster, script);
        job.env.insert("SLURM_CONF".into(), cluster.conf().display().to_string());
        job.options.time = Some("1".into());
        let running = start(&cluster.executor(), &job);
        running.until_said("begun");
        if state == "TIMEOUT" {
            // Slurm counts in minutes, and looks twice in one.
            cluster.call("scontrol", &["update", &format!("JobId={}", running.number()), "EndTime=now"]);
        }
        (job, leave(running), ending, state)
    });
    until_forgotten(&cluster);
    for (job, before, ending, state) in &jobs {
        assert_ended(&cluster, job, before, ending, state);
    }
}

#[test]
fn the_file_of_completed_jobs_tells_who_took_the_place() {
    let Some((_dir, cluster)) = forgetful("PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n") else { return };
    let begin = || {
        let job = job(&cluster, "echo begun; exec sleep 600");
        let running = start(&cluster.executor(), &job);
        running.until_said("begun");
        (job, leave(running))
    };
    let preempted = begin();
    let mut urgent = job(&cluster, "echo urgent");
    urgent.options.partition = Some("urgent".into());
    urgent.options.exclusive = true;
    assert_eq!(run(&cluster, &urgent).0.unwrap().ending, Ending::Exited(0));
    let lost = begin();
    cluster.kill_node();
    let node = format!("NodeName={}", cluster.call("sinfo", &["-h", "-o", "%n"]).trim());
    cluster.call("scontrol", &["update", &node, "State=DOWN", "Reason=test"]);
    until_forgotten(&cluster);
    assert_ended(&cluster, &preempted.0, &preempted.1, &Ending::Killed(KillReason::Preempted), "PREEMPTED");
    assert_ended(&cluster, &lost.0, &lost.1, &Ending::Killed(KillReason::NodeLost), "NODE_FAIL");
}

#[test]
fn the_controller_is_asked_about_what_its_queue_does_not_show() {
    let Some(cluster) = cluster::own("") else { return };
    let bin = cluster.wrap(&[
        ("sbatch", "exec /usr/bin/sbatch \"$@\""),
        ("squeue", "exit 0"),
        ("scontrol", "exec /usr/bin/scontrol \"$@\""),
    ]);
    let executor = cluster.executor_with(|config| {
        config.bin = Some(bin);
        config.accounting = Some(false);
    });
    let running = start(&executor, &job(&cluster, "echo begun; sleep 2; kill -9 $PPID"));
    until("it is seen to run", || String::from_utf8(running.host.executor_log()).unwrap().contains("\nrunning\n"));
    let outcome = running.outcome();
    assert_eq!(outcome.ending, Ending::Signaled(9), "{outcome:?}");
    assert!(outcome.detail["slurm"]["reason"].is_string(), "no file has that: {outcome:?}");
}
