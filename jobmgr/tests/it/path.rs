//! The whole path of a job, from its submission to its artifacts, on every platform.

use std::time::{Duration, Instant};

use jobmgr::domain::job::{Reason, Status};
use serde_json::json;

use crate::support::server::{Home, eventually, whole};

/// Says in a file, again and again, that it runs. Its process is not the job's first one.
fn beats(home: &Home) {
    home.shell(
        "beats",
        "cd \"$JOBMGR_PARAMETER_HOME\"; [ $JOBMGR_ATTEMPT = 1 ] || { echo attempt $JOBMGR_ATTEMPT; exit; }\n\
         sh -c 'while :; do echo beat >> beats; sleep 0.1; done'; true",
        "if %JOBMGR_ATTEMPT%==1 (for /l %i in (1,1,600) do @(echo beat>>%JOBMGR_PARAMETER_HOME%\\beats& \
         ping -n 2 127.0.0.1>nul)) else echo attempt %JOBMGR_ATTEMPT%",
        "Timeout = \"10m\"\nKillGrace = \"500ms\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"",
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
fn output_artifacts_and_ends_reach_the_client() {
    let home = Home::new("");
    let parameter = "[[Parameter]]\nName = \"who\"\nType = \"string\"\nDefault = \"you\"";
    home.shell(
        "greet",
        "echo hello $JOBMGR_PARAMETER_WHO; echo aside >&2; echo kept > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"; \
         echo '{\"n\":1}' > \"$JOBMGR_OUTPUT\"; echo '50 half' > \"$JOBMGR_PROGRESS\"",
        "(echo hello %JOBMGR_PARAMETER_WHO%)& (echo aside>&2)& (echo kept>%JOBMGR_ARTIFACTS_DIR%\\a.txt)& \
         (echo {}>%JOBMGR_OUTPUT%)& (echo 50 half>%JOBMGR_PROGRESS%)",
        parameter,
    );
    home.shell("fails", "echo before; exit 3", "(echo before)& exit 3", "");
    beats(&home);
    home.spec("missing", "Command = \"no-such-program\"");
    let server = home.serve();
    let id = server.start("greet", json!({ "who": "world" }));
    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.trim_end()), ("completed", "hello world"));
    assert_eq!(ended.artifacts[0]["name"], "a.txt");
    assert_eq!(server.download(&ended.artifacts[0]).trim_ascii(), b"kept");
    let job = home.stored(id);
    assert_eq!(job.progress.unwrap().message, "half");
    let stored = job.ended.unwrap();
    assert!(stored.output.is_some() && stored.warnings.is_empty(), "{stored:?}");

    let ended = server.run("fails", json!({}));
    assert_eq!(ended.result.lines().collect::<Vec<_>>(), ["before", "exit status 3"]);
    assert!(server.run("missing", json!({})).result.contains("no-such-program"));
    assert_eq!(server.run("nobody", json!({})).result, "job does not exist");
    eventually("nothing is left", || home.left_of_jobs().is_empty());
}

#[test]
fn a_timeout_ends_all_that_the_job_started() {
    let home = Home::new("");
    beats(&home);
    let spec = std::fs::read_to_string(home.path("jobspecs/beats.toml")).unwrap();
    home.spec("beats", &spec.replace("10m", "2s"));
    let server = home.serve();
    let id = server.start("beats", json!({ "home": home.dir.path() }));
    assert_eq!(server.wait(id).result, "timeout after 2s");
    assert_eq!(home.stored(id).reason, Some(Reason::Timeout));
    assert_silent(&home);
}

#[test]
fn a_killed_server_takes_its_jobs_with_it_and_the_next_one_runs_them_again() {
    let home = Home::new("");
    beats(&home);
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
    home.shell(
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
