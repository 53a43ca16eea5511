//! Executors in libraries, on every platform that jobmgr runs on.

use std::path::Path;

use serde_json::json;

use crate::support::libraries::{of_c, of_crate};
use crate::support::server::{Home, Server};

/// Serves with these executors.
fn serve(home: &Home, executors: &[(&str, &Path)]) -> Server {
    let mut config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    for (name, library) in executors {
        let library = toml::Value::String(library.display().to_string());
        config += &format!("\n[Executors.{name}]\nPlugin = {library}\n");
    }
    std::fs::write(home.path("config.toml"), config).unwrap();
    home.serve()
}

#[test]
fn jobs_run_through_a_library_in_rust_and_one_in_c() {
    let home = Home::new("");
    let good = home.path("good.dll");
    let (Some(template), Some(())) = (of_crate("jobmgr-executor-template"), of_c("good.c", &good, &[])) else { return };
    home.shell("rust", "echo out; echo note >&2; exit 3", "echo out& echo note>&2& exit 3", "Executor = \"template\"");
    home.spec("c", "Command = \"x\"\nExecutor = \"good\"\n");
    let server = serve(&home, &[("template", &template), ("good", &good)]);
    let id = server.start("rust", json!({}));
    let ended = server.wait(id);
    assert!(ended.status == "failed" && ended.result.starts_with("out"), "{ended:?}");
    assert_eq!(home.stored(id).ended.unwrap().exit_code, Some(3));
    let stderr = server.client().get(&format!("/v1/jobs/{id}/logs?stream=stderr")).body;
    assert_eq!(String::from_utf8(stderr).unwrap().trim_end(), "note");
    assert_eq!(server.run("c", json!({})).result, "hello from C\n");
}

/// Each fails the one job that it has, with a reason; the next one runs.
#[test]
fn what_goes_wrong_in_a_library_fails_its_job_alone() {
    let Some(bad) = of_crate("jobmgr-executor-bad") else { return };
    let home = Home::new("");
    let rows = [
        ("err", "executor_error", "the cluster is not reachable"),
        ("panic", "executor_error", "no such thing"),
        ("abort", "executor_error", "the executor's process "),
        ("exit0", "executor_error", "the executor's process exited with code 0 before it gave a result"),
        ("invalid", "invalid_job", "Mode: 'invalid' is not valid"),
        ("sleep", "timeout", "timeout after 2s"),
        ("loop", "timeout", "timeout after 2s"),
    ];
    for (mode, reason) in rows.iter().map(|row| (row.0, row.1)).chain([("ok", "")]) {
        let timeout = if reason == "timeout" { "2s" } else { "60s" };
        let keys = format!("Executor = \"bad\"\nTimeout = \"{timeout}\"\nKillGrace = \"200ms\"");
        home.spec(mode, &format!("Command = \"x\"\n{keys}\n[Options]\nMode = \"{mode}\"\n"));
    }
    let server = serve(&home, &[("bad", &bad)]);
    for (mode, reason, error) in rows {
        let id = server.start(mode, json!({}));
        assert_eq!(server.wait(id).status, "failed", "{mode}");
        let job = home.stored(id);
        let said = job.ended.unwrap().error.unwrap();
        assert_eq!(job.reason.map(|reason| reason.as_str()), Some(reason), "{mode}: {said}");
        assert!(said.contains(error), "{mode}: {said}");
        assert_eq!(server.run("ok", json!({})).result, "hello\n", "after {mode}");
    }
}
