use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use super::sha256;
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

/// Statuses and bodies.
type Answers = Vec<(u16, &'static [u8])>;

/// Answers each request with what follows, and takes the report; gives the paths that were asked for, and the report.
fn files(answers: Answers) -> (SocketAddr, JoinHandle<(Vec<String>, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
        loop {
            let mut stream = listener.accept().unwrap().0;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let is_report = path == "/report";
            let (status, content) = if is_report { (201, &b""[..]) } else { answers.next().unwrap() };
            let head =
                format!("HTTP/1.1 {status} so\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(content).unwrap();
            if is_report {
                return (asked, String::from_utf8(body).unwrap());
            }
            asked.push(path);
        }
    });
    (address, served)
}

fn grants(address: SocketAddr, inputs: &str) -> String {
    format!(r#"{{"grants": [{{"slot": 0, "name": ".result", "url": "http://{address}/report"}}], "inputs": {inputs}}}"#)
}

#[test]
fn input_files_are_fetched_before_the_command_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (address, served) = files(vec![(503, b"not now"), (200, b"one,two\n")]);
    let inputs = format!(
        r#"[{{"name": "a b.csv", "url": "http://{address}/x?signature=1", "size": 8, "sha256": "{}"}}]"#,
        sha256(b"one,two\n")
    );
    let script = "cat \"$JOBMGR_PARAMETER_DATA\"; ls \"$JOBMGR_INPUTS_DIR\"; echo \"$OTHER $(dirname \"$JOBMGR_PARAMETER_DATA\")\"
        [ \"$(dirname \"$JOBMGR_PARAMETER_DATA\")\" = \"$JOBMGR_INPUTS_DIR\" ]";
    let mut command = wrap(dir.path(), &["--grants", &grants(address, &inputs)], script);
    command.env("JOBMGR_INPUTS_DIR", "/elsewhere/7/inputs").env("OTHER", "/elsewhere/7/inputs2");
    let done = command.env("JOBMGR_PARAMETER_DATA", "/elsewhere/7/inputs/a b.csv").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(said.starts_with("one,two\na b.csv\n/elsewhere/7/inputs2 /"), "{said}");
    let folder = said.trim_end().rsplit(' ').next().unwrap();
    assert!(folder.starts_with('/') && !Path::new(folder).exists(), "{folder} is left");
    let (asked, report) = served.join().unwrap();
    assert_eq!(asked, ["/x?signature=1"; 2], "tried again while the other side is away");
    assert!(report.contains("\"exit_code\":0"), "{report}");
}

#[test]
fn a_command_whose_input_files_can_not_be_had_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let sha256 = sha256(b"one");
    let input = |name: &str, address| {
        format!(r#"[{{"name": "{name}", "url": "http://{address}/x?signature=1", "size": 3, "sha256": "{sha256}"}}]"#)
    };
    let cases: [(&str, Answers, &str); 4] = [
        ("a", vec![(410, b"The job has ended\n")], "the input file 'a' can't be had: 410 Gone: The job has ended"),
        (
            "a",
            vec![(200, b"two")],
            "it has 3 bytes and the SHA-256 3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
        ),
        ("../a", vec![], "the input file '../a' can't be had: that is no name of a file"),
        ("", vec![], "which is not seen from here, and there are no addresses for them among the grants"),
    ];
    for (name, answers, told) in cases {
        let (address, served) = files(answers);
        let inputs = if name.is_empty() { "null".to_owned() } else { input(name, address) };
        let mut command = wrap(dir.path(), &["--patience", "1s", "--grants", &grants(address, &inputs)], "touch ran");
        let done = command.env("JOBMGR_INPUTS_DIR", "/elsewhere/7/inputs").output().unwrap();
        let (_, report) = served.join().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(125), "{said}");
        assert!(said.contains(told) && report.contains(told), "{said} {report}");
        assert!(!said.contains("signature"), "the address is a secret: {said}");
        assert!(!dir.path().join("ran").exists());
    }
}

#[test]
fn a_signal_ends_it_while_input_files_are_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inputs = format!(r#"[{{"name": "a", "url": "http://{address}/x", "size": 3, "sha256": ""}}]"#);
    let mut command = wrap(dir.path(), &["--patience", "1s", "--grants", &grants(address, &inputs)], "touch ran");
    let mut child = command.env("JOBMGR_INPUTS_DIR", "/elsewhere/7/inputs").env("TMPDIR", dir.path()).spawn().unwrap();
    // It is asked for, and does not come.
    let asked = listener.accept().unwrap();
    signal(child.id(), Signal::TERM);
    let report = listener.accept().unwrap();
    drop((asked, report, listener));
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert_eq!(whole(&dir.path().join("exit")).unwrap(), "125\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the exit file is left");
}

/// As where the folder is shared.
#[test]
fn input_files_that_are_seen_are_not_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let (address, served) = files(Vec::new());
    let mut command =
        wrap(dir.path(), &["--grants", &grants(address, "null")], "[ \"$JOBMGR_INPUTS_DIR\" = \"$PWD\" ]");
    let done = command.env("JOBMGR_INPUTS_DIR", dir.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    served.join().unwrap();
}
