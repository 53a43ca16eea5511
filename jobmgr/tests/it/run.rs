//! `jobmgr run`: one job, here and now.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::processes::{Signal, of_jobs, runs, signal};
use crate::support::server::{Home, eventually};

fn run(home: &Home, arguments: &[&str]) -> Output {
    let mut command = home.jobmgr(&["run"]);
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn assert_nothing_left(home: &Home) {
    assert!(of_jobs(home.dir.path()).is_empty());
    assert_eq!(home.left_in_tmp(), Vec::<String>::new());
    assert!(!home.path("jobmgr.db").exists() && !home.path("artifacts-store").exists(), "its queue is its own");
}

#[test]
fn the_exit_status_is_the_jobs() {
    let home = Home::new("");
    home.sh("good", "echo fine; echo aside >&2", "");
    home.sh("five", "exit 5", "");
    home.sh("nine", "kill -9 $$", "");
    home.sh("term", "kill -TERM $$", "");
    home.sh("late", "sleep 60", "Timeout = \"300ms\"");
    home.spec("gone", "Command = \"/no/such/program\"");
    for (name, status, complaint) in [
        ("good", 0, "aside\n"),
        ("five", 5, "jobmgr: five: exit status 5\n"),
        ("nine", 137, "jobmgr: nine: signal: killed\n"),
        ("term", 143, "jobmgr: term: signal: terminated\n"),
        ("late", 124, "jobmgr: late: timeout after 300ms\n"),
        ("gone", 1, "jobmgr: gone: fork/exec /no/such/program: no such file or directory\n"),
    ] {
        let output = run(&home, &[name]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(status), complaint));
        assert_eq!(stdout(&output), if name == "good" { "fine\n" } else { "" });
        assert_nothing_left(&home);
    }
}

#[test]
fn output_comes_while_the_job_runs() {
    let home = Home::new("");
    let script = "echo out; echo err >&2; until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done; printf end";
    home.sh("slow", script, "Timeout = \"2m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"");
    let parameter = format!("home={}", home.dir.path().display());
    let mut command = home.jobmgr(&["run", "slow", "-p", &parameter]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    err.read_line(&mut line).unwrap();
    assert_eq!(line, "out\nerr\n");
    assert!(child.try_wait().unwrap().is_none());
    std::fs::write(home.path("go"), "").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "end");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn bytes_pass_as_they_are() {
    let home = Home::new("");
    home.sh("bytes", "printf 'a\\000\\377\\nb'; printf '\\376' >&2", "");
    let output = run(&home, &["bytes"]);
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\0\xff\nb"[..], &b"\xfe"[..]));
}

#[test]
fn artifacts_are_saved_where_one_says() {
    let home = Home::new("");
    home.sh(
        "files",
        "cd \"$JOBMGR_ARTIFACTS_DIR\"; mkdir sub; echo 1 > one; echo 2 > sub/two; ln -s one link; exit 3",
        "",
    );
    let output = run(&home, &["files", "--artifacts", "out/here"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(home.path("out/here/one")).unwrap(), "1\n");
    assert_eq!(std::fs::read_to_string(home.path("out/here/sub/two")).unwrap(), "2\n");
    assert!(stderr(&output).contains("saved out/here/sub/two"), "{}", stderr(&output));
    assert!(stderr(&output).contains("artifact link was left out: symlink"), "{}", stderr(&output));
    let output = run(&home, &["files"]);
    assert!(stderr(&output).contains("one, sub/two (--artifacts DIR saves them)"), "{}", stderr(&output));
    assert_nothing_left(&home);
}

#[test]
fn a_name_or_parameter_that_is_wrong_is_explained() {
    let home = Home::new("");
    home.sh("greet", "echo \"$JOBMGR_PARAMETER_WHO $JOBMGR_PARAMETER_TIMES\"", "[[Parameter]]\nName = \"who\"\nType = \"string\"\n[[Parameter]]\nName = \"times\"\nType = \"int\"\nDefault = 1");
    home.spec("broken", "Command = 5");
    for (arguments, status, words) in [
        (&["greeet"][..], 2, &["greeet: job does not exist", "broken, greet"][..]),
        (&["../greet"], 2, &["invalid job name", "broken, greet"]),
        (&["broken"], 2, &["broken.toml: line 1, column 11", "'Command'"]),
        (&["greet"], 1, &["greet: parameter 'who' is required but not set"]),
        (&["greet", "-p", "who=a", "-p", "times=x"], 1, &["parameter 'times'", "'x'", "a whole number"]),
        (&["greet", "-p", "who"], 2, &["KEY=VALUE"]),
    ] {
        let output = run(&home, arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?} {output:?}");
        for word in words {
            assert!(stderr(&output).contains(word), "{word:?} is missing: {}", stderr(&output));
        }
    }
    let output = run(&home, &["greet", "-p", "who=a=b c", "--parameter", "times=007"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "a=b c 7\n"));
    assert_nothing_left(&home);
}

#[test]
fn an_empty_folder_says_that_there_is_none() {
    let home = Home::new("");
    std::fs::remove_dir(home.path("jobspecs")).unwrap();
    let output = run(&home, &["any"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "jobmgr: any: job does not exist; jobspecs in jobspecs/: none\n");
}

#[test]
fn ctrl_c_ends_the_job_and_leaves_nothing() {
    let home = Home::new("");
    home.sh("long", "setsid sleep 600 & echo $!; sleep 600", "Timeout = \"10m\"\nKillGrace = \"300ms\"");
    let mut child = home.jobmgr(&["run", "long"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let stray: u32 = line.trim().parse().unwrap();
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!runs(stray));
    assert_nothing_left(&home);
}

#[test]
fn its_job_dies_with_it() {
    let home = Home::new("");
    home.sh("long", "setsid sleep 600 & echo $!; sleep 600", "Timeout = \"10m\"");
    let mut child = home.jobmgr(&["run", "long"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let since = Instant::now();
    eventually("no process of the job is left", || of_jobs(home.dir.path()).is_empty());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_job() {
    let home = Home::new("");
    home.sh("chatty", "for i in $(seq 2000); do echo \"line $i of many more to come\"; done; echo done > \"$JOBMGR_ARTIFACTS_DIR/done\"", "");
    let binary = env!("CARGO_BIN_EXE_jobmgr");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{binary} run chatty --artifacts out | head -n 1")]).current_dir(home.dir.path());
    let output = command.output().unwrap();
    assert_eq!(stdout(&output), "line 1 of many more to come\n");
    eventually("the artifact is saved", || home.path("out/done").exists());
}
