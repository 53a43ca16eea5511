//! The way of a job on every platform: what the shells of both can say.

use std::time::{Duration, Instant};

use jobmgr::domain::job::Status;
use serde_json::json;

use crate::support::server::{Home, eventually, whole};

/// A jobspec that runs a line of the platform's shell.
fn shell(home: &Home, name: &str, unix: &str, windows: &str, more: &str) {
    let (command, flag, line) = if cfg!(windows) { ("cmd", "/c", windows) } else { ("sh", "-c", unix) };
    let line = toml::Value::String(line.into());
    let keep = "PreserveEnvVars = [\"PATH\", \"SystemRoot\", \"ComSpec\"]";
    home.spec(name, &format!("Command = \"{command}\"\nArguments = [\"{flag}\", {line}]\n{keep}\n{more}\n"));
}

/// Says in a file, again and again, that it runs. Its process is not the job's first one.
fn beats(home: &Home, timeout: &str) {
    shell(
        home,
        "beats",
        "cd \"$JOBMGR_PARAMETER_HOME\"; [ $JOBMGR_ATTEMPT = 1 ] || { echo attempt $JOBMGR_ATTEMPT; exit; }\n\
         sh -c 'while :; do echo beat >> beats; sleep 0.1; done'; true",
        "if %JOBMGR_ATTEMPT%==1 (for /l %i in (1,1,600) do @(echo beat>>%JOBMGR_PARAMETER_HOME%\\beats& \
         ping -n 2 127.0.0.1>nul)) else echo attempt %JOBMGR_ATTEMPT%",
        &format!("Timeout = \"{timeout}\"\nKillGrace = \"500ms\"\n[[Parameter]]\nName = \"home\"\nType = \"string\""),
    );
}

/// Nobody writes any more; what writes, does so each second at least.
fn assert_silent(home: &Home) {
    let size = || std::fs::metadata(home.path("beats")).unwrap().len();
    let mut last = (size(), Instant::now());
    eventually("the job's processes are gone", || {
        if size() != last.0 {
            last = (size(), Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(3)
    });
}

#[test]
fn output_artifacts_and_exit_codes() {
    let home = Home::new("");
    let parameter = "[[Parameter]]\nName = \"who\"\nType = \"string\"";
    let unix = "echo hello $JOBMGR_PARAMETER_WHO; echo content > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"";
    let windows = "echo hello %JOBMGR_PARAMETER_WHO%& echo content> %JOBMGR_ARTIFACTS_DIR%\\a.txt";
    shell(&home, "greet", unix, windows, parameter);
    shell(&home, "fail", "echo partly; exit 3", "echo partly& exit 3", "");
    let server = home.serve();
    let ended = server.run("greet", json!({ "who": "you" }));
    assert_eq!((ended.status.as_str(), ended.result.trim_end()), ("completed", "hello you"));
    assert_eq!((&ended.artifacts[0]["name"], &ended.artifacts[0]["mime"]), (&json!("a.txt"), &json!("text/plain")));
    assert_eq!(String::from_utf8(server.download(&ended.artifacts[0])).unwrap().trim_end(), "content");
    let ended = server.run("fail", json!({}));
    assert_eq!(ended.status, "failed");
    assert!(ended.result.starts_with("partly") && ended.result.ends_with("exit status 3"), "{:?}", ended.result);
    assert_eq!(server.run("nope", json!({})).result, "job does not exist");
}

#[test]
fn structured_output_and_progress() {
    let home = Home::new("");
    let unix = "echo '{}' > \"$JOBMGR_OUTPUT\"; echo '50 half' > \"$JOBMGR_PROGRESS\"";
    let windows = "(echo {}>%JOBMGR_OUTPUT%)& (echo 50 half>%JOBMGR_PROGRESS%)";
    shell(&home, "tells", unix, windows, "");
    let server = home.serve();
    let id = server.start("tells", json!({}));
    assert_eq!(server.wait(id).status, "completed");
    let job = home.stored(id);
    assert_eq!(job.progress.unwrap().message, "half");
    let ended = job.ended.unwrap();
    assert_eq!((ended.output, ended.warnings), (Some(json!({})), vec![]));
    eventually("nothing is left", || home.left_of_jobs().is_empty());
}

#[test]
fn a_timeout_ends_all_that_the_job_started_and_the_next_one_runs() {
    let home = Home::new("");
    beats(&home, "2s");
    shell(&home, "short", "echo next", "echo next", "");
    let server = home.serve();
    let long = server.start("beats", json!({ "home": home.dir.path() }));
    let short = server.start("short", json!({}));
    let ended = server.wait(long);
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("failed", "timeout after 2s"));
    assert_eq!(server.wait(short).result.trim_end(), "next");
    assert_silent(&home);
}

#[test]
fn a_killed_server_takes_its_jobs_with_it_and_the_next_one_runs_them_again() {
    let home = Home::new("");
    beats(&home, "10m");
    let mut server = home.serve();
    let id = server.start("beats", json!({ "home": home.dir.path() }));
    eventually("the job runs", || whole(&home.path("beats")).is_some());
    server.kill();
    assert_silent(&home);
    let server = home.serve();
    let since = Instant::now();
    assert_eq!(server.wait(id).result.trim_end(), "attempt 2");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!((home.stored(id).status, home.stored(id).attempt), (Status::Completed, 2));
    // The roots of the server that runs, and its lock; nothing of the dead one.
    let left = home.left_in_tmp();
    assert_eq!(left.iter().filter(|name| name.starts_with("jobmgr-")).count(), 2, "{left:?}");
}

#[test]
fn run_gives_output_status_and_artifacts() {
    let home = Home::new("");
    shell(
        &home,
        "both",
        "echo out; echo err >&2; echo kept > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"; exit 7",
        "(echo out)& (echo err>&2)& (echo kept>%JOBMGR_ARTIFACTS_DIR%\\a.txt)& exit 7",
        "",
    );
    let output = home.jobmgr(&["run", "both", "--artifacts", "out"]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim_end(), "out");
    assert!(text(&output.stderr).starts_with("err"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(home.path("out").join("a.txt")).unwrap().trim_ascii(), b"kept");
}
