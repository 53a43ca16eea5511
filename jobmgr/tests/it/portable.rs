//! The way of a job on every platform: what the shells of both can say.

use serde_json::json;

use crate::support::server::{Home, eventually};

/// A jobspec that runs a line of the platform's shell.
fn shell(home: &Home, name: &str, unix: &str, windows: &str, more: &str) {
    let (command, flag, line) = if cfg!(windows) { ("cmd", "/c", windows) } else { ("sh", "-c", unix) };
    let line = toml::Value::String(line.into());
    let keep = "PreserveEnvVars = [\"PATH\", \"SystemRoot\", \"ComSpec\"]";
    home.spec(name, &format!("Command = \"{command}\"\nArguments = [\"{flag}\", {line}]\n{keep}\n{more}\n"));
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
fn a_timeout_ends_the_job_and_the_next_one_runs() {
    let home = Home::new("");
    let windows = "echo begun& for /l %i in (0,0,1) do @rem";
    shell(&home, "long", "echo begun; sleep 600", windows, "Timeout = \"2s\"\nKillGrace = \"200ms\"");
    shell(&home, "short", "echo next", "echo next", "");
    let server = home.serve();
    let (long, short) = (server.start("long", json!({})), server.start("short", json!({})));
    let ended = server.wait(long);
    assert_eq!(ended.status, "failed");
    assert!(ended.result.starts_with("begun") && ended.result.ends_with("timeout after 2s"), "{:?}", ended.result);
    assert_eq!(server.wait(short).result.trim_end(), "next");
}

#[test]
fn a_server_that_was_killed_leaves_its_jobs_to_the_next_one() {
    let home = Home::new("");
    // The first attempt goes on until it is ended from outside.
    let unix = "echo $JOBMGR_ATTEMPT; if [ $JOBMGR_ATTEMPT = 1 ]; then sleep 600; fi";
    let windows = "echo %JOBMGR_ATTEMPT%& if %JOBMGR_ATTEMPT%==1 for /l %i in (0,0,1) do @rem";
    shell(&home, "again", unix, windows, "Timeout = \"10m\"");
    let mut first = home.serve();
    let id = first.start("again", json!({}));
    first.wait_for(id, "started");
    first.kill();
    let second = home.serve();
    let ended = second.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.trim_end()), ("completed", "2"));
    eventually("the temporary directory of the first is gone", || {
        home.left_in_tmp().iter().filter(|name| !name.ends_with(".lock")).count() == 1
    });
}
