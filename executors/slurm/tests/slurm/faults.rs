use std::fs;
use std::time::Duration;

use jobmgr_plugin_api::{Ending, KillReason, Kind};

use crate::cluster;
use crate::support::{job, run, start, until, within};

#[test]
fn a_controller_that_dies_in_the_middle_ends_no_job() {
    let Some(cluster) = cluster::own("") else { return };
    let gate = cluster.path().join("gate");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.1; done; echo second; exit 5", gate.display());
    // It would be lost at once if no answer were taken for one.
    let executor = cluster.executor_with(|config| config.unseen_limit = 0.1);
    let running = start(&executor, &job(&cluster, &script));
    running.until_said("first");
    until("it is known", || cluster.call("scontrol", &["show", "job"]).contains("JobState=RUNNING"));
    // What a controller has not written down yet, it forgets; it writes when there is something new.
    let known = std::time::SystemTime::now();
    cluster.call("sbatch", &["--hold", "--wrap=true", "--output=/dev/null"]);
    let state = cluster.path().join("state/job_state");
    until("it is on disk", || fs::metadata(&state).is_ok_and(|meta| meta.modified().unwrap() > known));
    cluster.kill_controller();
    let log = || String::from_utf8(running.host.executor_log()).unwrap();
    until("it is noticed", || log().contains("slurm does not answer: squeue: "));
    fs::write(gate, "").unwrap();
    // The output is live all the same.
    running.until_said("second");
    cluster.start_controller(false);
    until("it answers", || log().contains("slurm answers again") || running.is_over());
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Exited(5));
    assert_eq!(host.stdout(), b"first\nsecond\n");
}

#[test]
fn a_controller_that_is_down_means_later() {
    let Some(cluster) = cluster::own("") else { return };
    cluster.kill_controller();
    let error = run(&cluster, &job(&cluster, "true")).0.unwrap_err();
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    cluster.start_controller(false);
    until("it is back", || cluster.call("sinfo", &["-h", "-o", "%T"]).contains("idle"));
    assert_eq!(run(&cluster, &job(&cluster, "true")).0.unwrap().ending, Ending::Exited(0));
}

#[test]
fn a_submission_whose_answer_is_lost_is_found() {
    let Some(cluster) = cluster::own("") else { return };
    let wrappers =
        [("sbatch", "/usr/bin/sbatch \"$@\" > /dev/null; exec sleep 600"), ("squeue", "exec /usr/bin/squeue \"$@\"")];
    let bin = cluster.wrap(&wrappers);
    let executor = cluster.executor_with(|config| {
        config.bin = Some(bin);
        config.command_limit = 10.0;
        config.accounting = Some(false);
    });
    let job = job(&cluster, "echo once; exit 6");
    let (result, host) = start(&executor, &job).end();
    assert_eq!(result.unwrap().ending, Ending::Exited(6));
    assert_eq!(host.stdout(), b"once\n");
    assert_eq!(cluster.call("squeue", &["-h", "-t", "all", "-o", "%A"]).lines().count(), 1);
}

#[test]
fn a_node_that_fails_is_told_apart() {
    let Some(cluster) = cluster::own("") else { return };
    let running = start(&cluster.executor(), &job(&cluster, "echo begun; exec sleep 600"));
    running.until_said("begun");
    cluster.kill_node();
    let node = cluster.call("sinfo", &["-h", "-o", "%n"]);
    let node = format!("NodeName={}", node.trim());
    cluster.call("scontrol", &["update", &node, "State=DOWN", "Reason=test"]);
    let outcome = running.outcome();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::NodeLost), "{outcome:?}");
}

#[test]
fn a_job_that_gives_way_is_told_apart() {
    let more = "PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n";
    let Some(cluster) = cluster::own(more) else { return };
    let running = start(&cluster.executor(), &job(&cluster, "echo begun; exec sleep 600"));
    running.until_said("begun");
    let mut urgent = job(&cluster, "echo urgent");
    urgent.options.partition = Some("urgent".into());
    urgent.options.exclusive = true;
    assert_eq!(run(&cluster, &urgent).0.unwrap().ending, Ending::Exited(0));
    let outcome = running.outcome();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Preempted), "{outcome:?}");
}

#[test]
fn too_much_memory_is_told_apart() {
    // Slurm's plugin for version 2 makes groups only as a service of systemd.
    if !std::path::Path::new("/sys/fs/cgroup/memory/tasks").exists() {
        let what = "a job that runs out of memory: this machine has no cgroups of version 1 with the controller `memory` \
                    at /sys/fs/cgroup/memory";
        return cluster::left_out(what);
    }
    let Some(cluster) = cluster::own("TaskPlugin=task/cgroup\n") else { return };
    let mut job = job(&cluster, "echo begun; head -c 200000000 /dev/zero | tail -c 190000000 | wc -c");
    job.options.memory = Some("30M".into());
    let (result, host) = run(&cluster, &job);
    let outcome = result.unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::OutOfMemory), "{outcome:?}");
    assert!(host.stdout().starts_with(b"begun\n"));
}

#[test]
fn a_requeued_job_runs_again_where_the_jobspec_says_so() {
    let Some(cluster) = cluster::own("") else { return };
    let mut job =
        job(&cluster, "echo run ${SLURM_RESTART_COUNT:-0}; [ -n \"$SLURM_RESTART_COUNT\" ] || exec sleep 600");
    job.options.requeue = true;
    let running = start(&cluster.executor(), &job);
    running.until_said("run 0\n");
    cluster.call("scontrol", &["requeue", &running.number()]);
    // Slurm lets such a job wait for two minutes.
    let number = format!("JobId={}", running.number());
    until("it ran again", || {
        cluster.call("scontrol", &["update", &number, "StartTime=now"]);
        running.is_over()
    });
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Exited(0));
    assert_eq!(host.stdout(), b"run 0\nrun 1\n");
}

#[test]
fn slurms_own_time_limit_is_told_apart() {
    let Some(cluster) = cluster::shared() else { return };
    let mut job = job(&cluster, "echo begun; exec sleep 600");
    job.options.time = Some("1".into());
    let running = start(&cluster.executor(), &job);
    running.until_said("begun");
    // Slurm counts in minutes, and looks twice in one.
    cluster.call("scontrol", &["update", &format!("JobId={}", running.number()), "EndTime=now"]);
    within(Duration::from_secs(180), "its time is over", || running.is_over());
    let outcome = running.outcome();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Timeout), "{outcome:?}");
    assert!(outcome.message.unwrap().starts_with("Slurm: TIMEOUT"));
}
