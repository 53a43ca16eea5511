use std::fs;

use jobmgr_executor_slurm::Options;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Event, KillReason, Kind, Stop};

use crate::cluster;
use crate::support::{job, run, start, until};

#[test]
fn exit_codes_and_signals_are_the_commands_own() {
    let Some(cluster) = cluster::shared() else { return };
    let cases = [
        ("exit 0", Ending::Exited(0)),
        ("exit 7", Ending::Exited(7)),
        ("exit 137", Ending::Exited(137)),
        ("kill -KILL $$", Ending::Signaled(9)),
        ("kill -SEGV $$", Ending::Signaled(11)),
    ];
    for (script, ending) in cases {
        let (result, host) = run(&cluster, &job(&cluster, &format!("echo out; echo err >&2; {script}")));
        let outcome = result.unwrap();
        assert_eq!(outcome.ending, ending, "{script}");
        assert_eq!((host.stdout(), host.stderr()), (b"out\n".to_vec(), b"err\n".to_vec()), "{script}");
        assert!(outcome.detail["slurm"]["job"].is_u64(), "{outcome:?}");
    }
    let mut missing = job(&cluster, "");
    missing.command = vec!["/nowhere/program".into()];
    let (result, host) = run(&cluster, &missing);
    assert_eq!(result.unwrap().ending, Ending::Exited(127));
    assert!(String::from_utf8(host.stderr()).unwrap().contains("/nowhere/program"));
}

#[test]
fn arguments_and_environment_arrive_as_they_are() {
    let Some(cluster) = cluster::shared() else { return };
    let nasty = "it's \"$HOME\" `id` $(id)\n#SBATCH --comment=x\n%j \\n";
    let mut job = job(&cluster, "");
    job.command = ["sh", "-c", r#"printf '%s|%s|' "$1" "$NASTY"; pwd; test -n "$SLURM_JOB_ID""#, "-", nasty]
        .map(Into::into)
        .to_vec();
    job.env.insert("NASTY".into(), nasty.into());
    let (result, host) = run(&cluster, &job);
    assert_eq!(result.unwrap().ending, Ending::Exited(0));
    assert_eq!(String::from_utf8(host.stdout()).unwrap(), format!("{nasty}|{nasty}|{}\n", job.dir));
}

#[test]
fn output_is_live() {
    let Some(cluster) = cluster::shared() else { return };
    let gate = cluster.path().join("gate-live");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.1; done; echo second", gate.display());
    let running = start(&cluster.executor(), &job(&cluster, &script));
    running.until_said("first");
    fs::write(gate, "").unwrap();
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Exited(0));
    assert_eq!(host.stdout(), b"first\nsecond\n");
}

#[test]
fn artifacts_come_home_from_both_kinds_of_folders() {
    let Some(cluster) = cluster::shared() else { return };
    let script = "mkdir $JOBMGR_ARTIFACTS_DIR/sub; echo one > $JOBMGR_ARTIFACTS_DIR/sub/file; echo {} > $JOBMGR_OUTPUT
        ln -s /etc/passwd $JOBMGR_ARTIFACTS_DIR/link; echo $JOBMGR_ARTIFACTS_DIR; pwd";
    for shared in [None, Some(cluster.path().join("shared"))] {
        let job = job(&cluster, script);
        let executor = cluster.executor_with(|config| config.shared_dir.clone_from(&shared));
        let (result, host) = start(&executor, &job).end();
        assert_eq!(result.unwrap().ending, Ending::Exited(0));
        let home = format!("{}/artifacts", job.dir);
        assert_eq!(fs::read_to_string(format!("{home}/sub/file")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(format!("{}/.jobmgr-output.json", job.dir)).unwrap(), "{}\n");
        let work = shared.as_ref().map_or(job.dir.clone(), |dir| format!("{}/{}/work", dir.display(), job.key));
        assert_eq!(String::from_utf8(host.stdout()).unwrap(), format!("{work}/artifacts\n{work}\n"));
        assert_eq!(fs::symlink_metadata(format!("{home}/link")).is_ok(), shared.is_none(), "links do not travel");
    }
}

#[test]
fn progress_is_read_from_both_kinds_of_folders() {
    let Some(cluster) = cluster::shared() else { return };
    for shared in [None, Some(cluster.path().join("shared"))] {
        let mut job = job(&cluster, "echo '42 nearly' > $JOBMGR_PROGRESS; echo told; exec sleep 600");
        job.env.insert("JOBMGR_PROGRESS".into(), format!("{}/.jobmgr-progress", job.dir));
        let executor = cluster.executor_with(|config| config.shared_dir.clone_from(&shared));
        let running = start(&executor, &job);
        let told = Event::Progress { percent: 42.0, message: "nearly".into() };
        until("progress is told", || running.host.events().contains(&told));
        running.until_said("told");
        running.stop(Stop::Cancel);
        let (_, host) = running.end();
        assert_eq!(host.events().iter().filter(|event| **event == told).count(), 1, "it is told once");
    }
}

#[test]
fn the_log_of_the_executor_tells_the_whole_story() {
    let Some(cluster) = cluster::shared() else { return };
    let mut job = job(&cluster, "echo begun; sleep 2; exit 3");
    job.options.extra = vec!["--hold".into()];
    let running = start(&cluster.executor(), &job);
    let number = running.number();
    let log = |host: &Host| String::from_utf8(host.executor_log()).unwrap();
    until("it waits", || log(&running.host).contains("queued: JobHeldUser\n"));
    cluster.call("scontrol", &["release", &number]);
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Exited(3));
    let log = log(&host);
    let lines: Vec<_> = log.lines().collect();
    let submitted = format!("--job-name={} --comment=jobmgr:{}", job.key, job.key);
    assert!(lines[0].starts_with("sbatch --no-requeue --hold ") && lines[0].ends_with(&submitted), "{log}");
    assert!(lines[1].starts_with(&format!("following slurm {{\"job\":{number},")), "{log}");
    let mut states = lines.iter().filter(|line| line.starts_with("queued: ") || **line == "running");
    assert_eq!(states.next_back(), Some(&"running"), "{log}");
    let end = lines.last().unwrap();
    assert!(end.starts_with("ended: {\"ending\":{\"exited\":3}") && end.contains("\"state\":\"FAILED\""), "{log}");
}

#[test]
fn what_slurm_has_of_a_job_is_its_key_and_no_array() {
    let Some(cluster) = cluster::own("") else { return };
    let seen = cluster.path().join("environment");
    let script = format!("env > {}\nexec /usr/bin/sbatch \"$@\"", seen.display());
    let bin = cluster.wrap(&[("sbatch", script.as_str()), ("squeue", "exec /usr/bin/squeue \"$@\"")]);
    let executor = cluster.executor_with(|config| {
        config.bin = Some(bin);
        config.accounting = Some(false);
    });
    let job = job(&cluster, "true");
    assert_eq!(start(&executor, &job).outcome().ending, Ending::Exited(0));
    let shown = cluster.call("squeue", &["-h", "-t", "all", "-o", "%j|%k|%F|%A|%K"]);
    let fields: Vec<_> = shown.trim().split('|').collect();
    assert_eq!(fields[..2], [job.key.as_str(), &format!("jobmgr:{}", job.key)], "{shown}");
    assert_eq!((fields[2], fields[4]), (fields[3], "N/A"), "no task of an array: {shown}");
    // An SBATCH_ARRAY_INX of jobmgr's own environment, for one, would make an array of every job.
    let environment = fs::read_to_string(seen).unwrap();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && environment.contains("SLURM_CONF="));
    assert!(!environment.contains("CARGO_"), "{environment}");
}

#[test]
fn gpus_are_given_and_bounded() {
    let Some(cluster) = cluster::shared() else { return };
    let mut two = job(&cluster, "echo $CUDA_VISIBLE_DEVICES");
    two.options =
        Options { gres: Some("gpu:2".into()), memory: Some("50M".into()), cpus: Some(2), ..Options::default() };
    let (result, host) = run(&cluster, &two);
    assert_eq!(result.unwrap().ending, Ending::Exited(0));
    assert_eq!(String::from_utf8(host.stdout()).unwrap().trim().split(',').count(), 2);

    let mut nine = job(&cluster, "true");
    nine.options.gres = Some("gpu:9".into());
    let error = run(&cluster, &nine).0.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn what_sbatch_refuses_is_said_in_its_words() {
    let Some(cluster) = cluster::shared() else { return };
    let cases = [
        (
            Options { partition: Some("nowhere".into()), ..Options::default() },
            "sbatch: invalid partition specified: nowhere",
        ),
        (Options { time: Some("soon".into()), ..Options::default() }, "sbatch: Invalid --time specification"),
        (
            Options { memory: Some("4T".into()), ..Options::default() },
            "sbatch: Memory specification can not be satisfied",
        ),
        (Options { extra: vec!["--florp=1".into()], ..Options::default() }, "sbatch: unrecognized option '--florp=1'"),
    ];
    for (options, words) in cases {
        let mut job = job(&cluster, "true");
        job.options = options;
        let error = run(&cluster, &job).0.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_job_that_waits_says_why() {
    let Some(cluster) = cluster::shared() else { return };
    let mut job = job(&cluster, "echo begun");
    job.options.extra = vec!["--hold".into()];
    let running = start(&cluster.executor(), &job);
    let number = running.number();
    let why = "queued: JobHeldUser";
    let is_why = |event: &Event| matches!(event, Event::Progress { message, .. } if message == why);
    until("the reason is told", || running.host.events().iter().any(is_why));
    cluster.call("scontrol", &["release", &number]);
    assert_eq!(running.outcome().ending, Ending::Exited(0));
}

#[test]
fn somebody_elses_job_of_the_same_name_is_left_alone() {
    let Some(cluster) = cluster::shared() else { return };
    let job = job(&cluster, "echo ours");
    let name = format!("--job-name={}", job.key);
    let said = cluster.call("sbatch", &["--parsable", &name, "--output=/dev/null", "--wrap=sleep 600"]);
    let theirs = said.trim();
    let running = start(&cluster.executor(), &job);
    assert_ne!(running.number(), theirs);
    let (result, host) = running.end();
    assert_eq!(result.unwrap().ending, Ending::Exited(0));
    assert_eq!(host.stdout(), b"ours\n");
    assert!(cluster.call("squeue", &["-h", "-j", theirs, "-o", "%T"]).contains("RUNNING"));
    cluster.call("scancel", &[theirs]);
}

#[test]
fn a_job_that_somebody_else_cancels_was_cancelled() {
    let Some(cluster) = cluster::shared() else { return };
    let running = start(&cluster.executor(), &job(&cluster, "echo begun; exec sleep 600"));
    running.until_said("begun");
    cluster.call("scancel", &[&running.number()]);
    let outcome = running.outcome();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(outcome.signal, Some(15));
    assert_eq!(outcome.message.unwrap(), "Slurm: CANCELLED (ended with scancel, not by jobmgr)");
    assert_eq!(outcome.detail["slurm"]["state"], "CANCELLED");
}
