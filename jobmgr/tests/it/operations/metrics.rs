use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::programs::{or_skip, run};
use crate::support::server::{Home, Server, eventually};

fn scrape(server: &Server) -> String {
    let answer = server.client().get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(answer.body).unwrap()
}

/// The value of a series; 0 where it is not there.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn they_count_what_happens() {
    let home = Home::new("[Worker]\nConcurrency = 2\n");
    home.sh("well", "echo well", "");
    home.sh("badly", "exit 3", "[Retry]\nMax = 1\nBackoff = \"10ms\"");
    home.sh("slow", "sleep 600", "Timeout = \"20m\"");
    let server = home.serve();
    let slow = server.start("slow", json!({}));
    server.wait_for(slow, "started");
    assert_eq!(server.run("well", json!({})).status, "completed");
    assert_eq!(server.run("badly", json!({})).status, "failed");
    assert_eq!(server.run("a stranger's \"invention\"\n", json!({})).status, "failed");
    let next = server.start("slow", json!({}));
    server.wait_for(next, "started");
    server.start("slow", json!({}));
    let text = scrape(&server);
    for (series, expected) in [
        ("jobmgr_database_up", 1.0),
        ("jobmgr_jobs{jobspec=\"slow\",status=\"queued\"}", 1.0),
        ("jobmgr_jobs{jobspec=\"slow\",status=\"started\"}", 2.0),
        ("jobmgr_attempts_total{ending=\"completed\",jobspec=\"well\"}", 1.0),
        ("jobmgr_attempts_total{ending=\"retried\",jobspec=\"badly\"}", 1.0),
        ("jobmgr_attempts_total{ending=\"failed\",jobspec=\"badly\"}", 1.0),
        ("jobmgr_attempts_total{ending=\"failed\",jobspec=\"(others)\"}", 1.0),
        ("jobmgr_attempt_duration_seconds_count{jobspec=\"badly\"}", 2.0),
        ("jobmgr_job_wait_seconds_count", 6.0),
        ("jobmgr_jobs_submitted_total", 6.0),
        ("jobmgr_worker_slots", 2.0),
        ("jobmgr_worker_jobs{place=\"slot\"}", 2.0),
        ("jobmgr_workers{state=\"active\"}", 1.0),
        ("jobmgr_http_requests_total{method=\"POST\",route=\"/jobs/start\",status=\"2xx\"}", 6.0),
        ("jobmgr_http_request_duration_seconds_count{method=\"POST\",route=\"/jobs/start\"}", 6.0),
        ("jobmgr_runner_deaths_total{kind=\"own\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}\n{text}");
    }
    for series in ["process_resident_memory_bytes", "process_open_fds", "jobmgr_sweeps_total"] {
        assert!(value(&text, series) > 0.0, "{series}\n{text}");
    }
    assert!(value(&text, "jobmgr_runner_starts_total{kind=\"own\"}") >= 2.0);
    assert!(!text.contains("invention"), "a stranger's name makes no series: {text}");
    assert_eq!(server.client().get("/nope/x").status, 404);
    let unknown = "jobmgr_http_requests_total{method=\"GET\",route=\"\",status=\"4xx\"}";
    assert_eq!(value(&scrape(&server), unknown), 1.0);
    // A runner that is killed is another one's death, and the job's crash.
    let runners = crate::support::processes::children(server.pid());
    let killed =
        runners.iter().filter(|pid| crate::support::processes::command_line(**pid).contains(&"runner".to_owned()));
    killed.for_each(|pid| drop(Command::new("kill").args(["-9", &pid.to_string()]).status()));
    eventually("a death is counted", || value(&scrape(&server), "jobmgr_runner_deaths_total{kind=\"own\"}") > 0.0);
    eventually("a crash is counted", || {
        value(&scrape(&server), "jobmgr_attempts_total{ending=\"crashed\",jobspec=\"slow\"}") > 0.0
    });
}

#[test]
fn promtool_has_nothing_to_say() {
    let Some(_) = or_skip("promtool", run(Command::new("promtool").arg("--version"))) else { return };
    let home = Home::new("");
    home.sh("well", "echo well", "");
    let server = home.serve();
    server.run("well", json!({}));
    let text = scrape(&server);
    let check = |text: &str| {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = promtool.spawn().unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.success(), said)
    };
    assert_eq!(check(&text), (true, String::new()), "{text}");
    // It does look.
    assert!(!check("no_help 1\n").1.is_empty());
    assert!(!check("a{b=\"c} 1\n").0);
}
