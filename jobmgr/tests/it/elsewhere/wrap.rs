use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::processes::{Signal, signal};
use crate::support::server::{eventually, whole};

fn wrap(folder: &Path, arguments: &[&str], script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobmgr"));
    command.arg("wrap").args(arguments).args(["--exit-file", "exit", "--", "/bin/sh", "-c", script]);
    command.current_dir(folder).env_remove("JOBMGR_ARTIFACTS_DIR").env_remove("JOBMGR_OUTPUT");
    command
}

#[test]
fn without_grants_it_runs_the_command_and_writes_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    for (script, status) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        for arguments in [&[][..], &["--log"]] {
            let done = wrap(dir.path(), arguments, script).status().unwrap();
            assert_eq!(done.code(), Some(status), "{script}");
            assert_eq!(whole(&dir.path().join("exit")).unwrap(), format!("{status}\n"));
        }
    }
    let done = wrap(dir.path(), &["--log"], "echo out; echo err >&2").output().unwrap();
    assert_eq!((done.stdout, done.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobmgr"));
    command.args(["wrap", "--exit-file", "exit", "--", "no-such-program"]).current_dir(dir.path());
    assert_eq!(command.output().unwrap().status.code(), Some(127));
    assert_eq!(whole(&dir.path().join("exit")).unwrap(), "127\n");
    let done = wrap(dir.path(), &["--grants", "none"], "touch ran").output().unwrap();
    assert_eq!(done.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&done.stderr).contains("the grants in none: "), "{done:?}");
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn files_that_nobody_uploads_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let script = "touch \"$JOBMGR_ARTIFACTS_DIR/f\"; test -d \"$JOBMGR_ARTIFACTS_DIR\" && test -n \"$JOBMGR_OUTPUT\"";
    let done = wrap(dir.path(), &[], script).output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&done.stderr).contains("1 files in JOBMGR_ARTIFACTS_DIR go with it"), "{done:?}");
    let kept = dir.path().join("kept/here");
    let done = wrap(dir.path(), &[], script).env("JOBMGR_ARTIFACTS_DIR", &kept).output().unwrap();
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{done:?}");
    assert!(kept.join("f").exists());
}

#[test]
fn uploads_that_fail_make_a_good_end_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let grants = r#"{"grants": [{"slot": 0, "name": ".result", "url": "http://127.0.0.1:9/0"},
        {"slot": 1, "url": "http://127.0.0.1:9/1"}]}"#;
    for (script, status) in [("touch \"$JOBMGR_ARTIFACTS_DIR/f\"", 74), ("exit 5", 5)] {
        let done = wrap(dir.path(), &["--grants", grants, "--patience", "1s"], script).output().unwrap();
        assert_eq!(done.status.code(), Some(status), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stderr).contains("the report can't be uploaded: "), "{done:?}");
        assert_eq!(whole(&dir.path().join("exit")).unwrap(), format!("{status}\n"));
    }
}

#[test]
fn signals_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo term; exit 7' TERM; trap 'echo usr1; touch usr1' USR1; echo ready > ready; \
        while :; do sleep 0.05; done";
    let mut child = wrap(dir.path(), &["--log"], script).stdout(Stdio::piped()).spawn().unwrap();
    eventually("it runs", || dir.path().join("ready").exists());
    signal(child.id(), Signal::USR1);
    eventually("it has heard it", || dir.path().join("usr1").exists());
    signal(child.id(), Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut printed).unwrap();
    assert_eq!(printed, "usr1\nterm\n");
    assert_eq!(whole(&dir.path().join("exit")).unwrap(), "7\n");
}
