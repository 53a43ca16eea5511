use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Event};

use crate::support::{Engine, Work};

crate::on_both!(
    code_and_streams,
    output_is_complete,
    output_is_not_changed,
    what_a_job_is_given,
    another_user_may_leave_artifacts,
    inputs_and_mounts,
    options_hold,
    progress,
);

fn code_and_streams(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo out; echo err >&2; exit 7");
    let host = Host::default();
    let outcome = work.run(&host).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(7));
    assert_eq!(outcome.exit_code, Some(7));
    assert_eq!(host.stdout(), b"out\n");
    assert_eq!(host.stderr(), b"err\n");
    assert_eq!(host.checkpoints().len(), 1);
    assert!(engine.containers().contains(&work.job.key));
}

fn output_is_complete(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "seq 1 200000 & seq 1 100000 >&2; wait; printf end; printf fin >&2");
    let host = Host::default();
    assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
    let lines = |upto: u32, end: &str| (1..=upto).map(|n| format!("{n}\n")).collect::<String>() + end;
    same(&host.stdout(), lines(200_000, "end").as_bytes());
    same(&host.stderr(), lines(100_000, "fin").as_bytes());
}

fn output_is_not_changed(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "cat /jobmgr/bytes; printf 'a\\r\\nb\\n\\n\\n'; printf ' c'");
    // All values, no newline for long, and one that is cut in the middle of a character by any power of two.
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend("x".bytes().chain("\u{20ac}".repeat(30_000).bytes()));
    std::fs::write(work.dir.join("bytes"), &bytes).unwrap();
    let host = Host::default();
    assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
    bytes.extend(b"a\r\nb\n\n\n c");
    same(&host.stdout(), &bytes);
}

#[track_caller]
fn same(found: &[u8], expected: &[u8]) {
    let right = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let next = String::from_utf8_lossy(&found[right..found.len().min(right + 60)]);
    let (found, expected) = (found.len(), expected.len());
    assert!(found == expected && right == expected, "{found} of {expected} bytes, {right} right, then: {next}");
}

fn what_a_job_is_given(engine: &Engine) {
    let docker = engine.executor();
    let script = "echo $GREETING; echo $JOBMGR_ARTIFACTS_DIR; echo $0 $1; echo '{}' > $JOBMGR_OUTPUT; \
                  mkdir $JOBMGR_ARTIFACTS_DIR/sub; echo made > $JOBMGR_ARTIFACTS_DIR/sub/file";
    let work = Work::new(&docker, &["sh", "-c", script, "a b", "$c"]);
    let host = Host::default();
    assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
    assert_eq!(String::from_utf8(host.stdout()).unwrap(), "hello world\n/jobmgr/artifacts\na b $c\n");
    assert_eq!(std::fs::read_to_string(work.dir.join("artifacts/sub/file")).unwrap(), "made\n");
    assert!(work.dir.join(".jobmgr-output.json").exists());
}

fn another_user_may_leave_artifacts(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "id -u; id -g; echo x > $JOBMGR_ARTIFACTS_DIR/x");
    let work = work.options(|options| options.user = Some("1234:567".into()));
    let host = Host::default();
    let ending = work.run(&host).unwrap().ending;
    let said = [host.stderr(), host.executor_log()].concat();
    assert_eq!(ending, Ending::Exited(0), "{}", String::from_utf8_lossy(&said));
    assert_eq!(host.stdout(), b"1234\n567\n");
    assert!(work.dir.join("artifacts/x").exists());
}

fn inputs_and_mounts(engine: &Engine) {
    let docker = engine.executor();
    let more = tempfile::tempdir().unwrap();
    std::fs::write(more.path().join("data"), "data\n").unwrap();
    let script = "cat inputs/in /data/data; echo no > inputs/in; echo no > /data/data; echo yes > /jobmgr/own";
    let work = Work::sh(&docker, script).options(|options| {
        options.working_directory = Some("/jobmgr".into());
        options.mounts = vec![
            serde_json::from_value(serde_json::json!({
                "Source": more.path(), "Target": "/data", "ReadOnly": true
            }))
            .unwrap(),
        ];
    });
    std::fs::create_dir(work.dir.join("inputs")).unwrap();
    std::fs::write(work.dir.join("inputs/in"), "in\n").unwrap();
    let host = Host::default();
    assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
    assert_eq!(host.stdout(), b"in\ndata\n");
    assert_eq!(String::from_utf8(host.stderr()).unwrap().matches("Read-only").count(), 2);
    assert!(work.dir.join("own").exists());
}

fn options_hold(engine: &Engine) {
    let docker = engine.executor();
    let script = "touch /x 2>/dev/null || echo read-only; touch /scratch/x && echo scratch; \
                  cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; echo $HOSTNAME";
    let work = Work::new(&docker, &[script]).options(|options| {
        options.entrypoint = Some(vec!["sh".into(), "-c".into()]);
        options.read_only = true;
        options.tmpfs = [("/scratch".to_owned(), "size=1m".to_owned())].into();
        options.pids_limit = Some(77);
        options.cpus = Some(0.5);
        options.hostname = Some("here".into());
        options.cap_drop = vec!["ALL".into()];
    });
    let host = Host::default();
    assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
    assert_eq!(String::from_utf8(host.stdout()).unwrap(), "read-only\nscratch\n77\nhere\n");
    let key = work.job.key.clone();
    let found = engine.ask(async |client| client.inspect_container(&key, None).await).unwrap();
    let label = |name: &str| found.config.as_ref()?.labels.as_ref()?.get(name).cloned();
    assert_eq!(label("jobmgr.key").as_deref(), Some(&*work.job.key));
    assert_eq!(label("jobmgr.attempt").as_deref(), Some("1"));
    assert_eq!(found.host_config.and_then(|host| host.nano_cpus), Some(500_000_000));
}

fn progress(engine: &Engine) {
    let docker = engine.executor();
    let work = Work::sh(&docker, "echo 42 half way > $JOBMGR_PROGRESS; sleep 0.5; echo 100 > $JOBMGR_PROGRESS");
    let host = Host::default();
    work.run(&host).unwrap();
    let events = host.events();
    assert!(events.contains(&Event::Progress { percent: 100.0, message: String::new() }), "{events:?}");
}
