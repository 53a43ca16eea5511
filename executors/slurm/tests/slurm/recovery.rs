use std::fs;

use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Kind, Recover, Stop};

use crate::cluster;
use crate::support::{job, recover, run, start, until};

/// 200 numbered lines on each stream, and a way to hold it in the middle.
fn talker(gate: &std::path::Path) -> String {
    format!(
        "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; echo error $i >&2
            if [ $i = 100 ]; then while [ ! -e {} ]; do sleep 0.1; done; fi; done; exit 7",
        gate.display()
    )
}

fn whole(word: &str) -> String {
    (1..=200).map(|number| format!("{word} {number}\n")).collect()
}

#[test]
fn a_detached_job_goes_on_and_the_joined_output_is_whole() {
    let Some(cluster) = cluster::shared() else { return };
    for by_handle in [true, false] {
        let gate = cluster.path().join(format!("gate-{by_handle}"));
        let job = job(&cluster, &talker(&gate));
        let running = start(&cluster.executor(), &job);
        running.until_said("line 50\n");
        running.stop(Stop::Detach);
        let (result, before) = running.end();
        assert_eq!(result.unwrap_err().kind(), Kind::Stopped);

        let again = recover(&cluster.executor(), &job, &before, by_handle);
        fs::write(&gate, "").unwrap();
        let (result, after) = again.end();
        assert_eq!(result.unwrap().ending, Ending::Exited(7));
        let joined = |first: Vec<u8>, second: Vec<u8>| String::from_utf8([first, second].concat()).unwrap();
        assert_eq!(joined(before.stdout(), after.stdout()), whole("line"));
        assert_eq!(joined(before.stderr(), after.stderr()), whole("error"));
        let name = format!("--name={}", job.key);
        let jobs = cluster.call("squeue", &["-h", "-t", "all", &name, "-o", "%A"]);
        assert_eq!(jobs.lines().count(), 1, "one job in all: {jobs}");
    }
}

#[test]
fn what_never_began_may_be_run() {
    let Some(cluster) = cluster::shared() else { return };
    let (job, host) = (job(&cluster, "true"), Host::default());
    let error = cluster.executor().recover(&job, None, &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::NeverStarted);
}

#[test]
fn what_slurm_never_had_is_lost_after_a_while() {
    let Some(cluster) = cluster::shared() else { return };
    let (job, host) = (job(&cluster, "true"), Host::default());
    let executor = cluster.executor_with(|config| config.unseen_limit = 2.0);
    let handle = br#"{"job": 99999, "folder": "/nowhere"}"#;
    let error = executor.recover(&job, Some(handle), &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::Lost, "{error}");
}

#[test]
fn what_slurm_has_forgotten_is_known_from_its_folder() {
    let Some(cluster) = cluster::own("MinJobAge=2\n") else { return };
    let job = job(&cluster, "echo said; exit 4");
    let (result, before) = run(&cluster, &job);
    assert_eq!(result.unwrap().ending, Ending::Exited(4));
    until("Slurm has forgotten it", || cluster.call("squeue", &["-h", "-t", "all"]).is_empty());
    for by_handle in [true, false] {
        let (result, after) = recover(&cluster.executor(), &job, &before, by_handle).end();
        assert_eq!(result.unwrap().ending, Ending::Exited(4));
        assert!(after.stdout().is_empty(), "it was there already");
    }
}
