use crate::setup::{home, quiet};
use crate::support::server::eventually;

/// MiB of a field of /proc/PID/status.
fn mib(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn runner_of(server: u32) -> u32 {
    let mut found = None;
    eventually("the runner is there", || {
        let tasks = std::fs::read_dir(format!("/proc/{server}/task")).unwrap();
        found = tasks.flatten().find_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        found.is_some()
    });
    found.unwrap()
}

pub fn memory() {
    let home = home(1);
    let server = quiet(&home);
    server.run("noop", serde_json::json!({}));
    let runner = runner_of(server.pid());
    println!("memory idle: server {:.1} MiB, runner {:.1} MiB", mib(server.pid(), "VmRSS"), mib(runner, "VmRSS"));
    let script = "truncate -s 4G $JOBMGR_ARTIFACTS_DIR/x.bin";
    home.sh("large", script, "Timeout = \"5m\"");
    let end = server.run("large", serde_json::json!({}));
    assert_eq!((end.status.as_str(), end.artifacts.len()), ("completed", 1), "{}", end.result);
    println!(
        "memory at its peak, with an artifact of 4 GiB: server {:.1} MiB, runner {:.1} MiB",
        mib(server.pid(), "VmHWM"),
        mib(runner, "VmHWM")
    );
}
