//! How processes are started: by `vfork`, whose price does not grow with the memory of who starts them. The standard
//! library falls back to `fork` for little things (a hook before the start, a user, a bare name with another `PATH`).

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::processes::{Signal, children, signal};
use crate::support::programs::{or_skip, run};
use crate::support::server::{Home, eventually};

/// Watches the starts of some processes' children.
struct Trace(Child);

impl Trace {
    fn of(pids: &[u32], file: &std::path::Path) -> Trace {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-o"]).arg(file);
        command.args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
        let trace = Trace(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        eventually("all are traced", || pids.iter().flat_map(|pid| threads(*pid)).all(is_traced));
        trace
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // What is traced goes on.
        signal(self.0.id(), Signal::TERM);
        drop(self.0.wait());
    }
}

fn threads(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

fn is_traced(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.lines().any(|line| line == "TracerPid:\t0")
}

#[test]
fn the_server_and_its_runners_never_fork() {
    if or_skip("strace", run(Command::new("strace").arg("--version"))).is_none() {
        return;
    }
    let home = Home::new("");
    home.sh("quick", "echo quick", "");
    let server = home.serve();
    assert_eq!(server.run("quick", json!({})).status, "completed");
    let runner = children(server.pid())[0];
    let file = home.path("trace");
    let trace = Trace::of(&[server.pid(), runner], &file);
    let mut own: BTreeSet<u32> = [server.pid(), runner].into_iter().flat_map(threads).collect();
    assert_eq!(server.run("quick", json!({})).status, "completed");
    // Without one, the server starts another.
    signal(runner, Signal::KILL);
    assert_eq!(server.run("quick", json!({})).status, "completed");
    own.extend(threads(server.pid()));
    drop(trace);
    let text = std::fs::read_to_string(&file).unwrap();
    let starts = text.lines().filter_map(|line| line.trim_start().split_once(' ')).filter_map(|(thread, call)| {
        let is_start = ["clone", "fork(", "vfork("].iter().any(|name| call.trim_start().starts_with(name));
        is_start.then_some((thread.parse::<u32>().ok()?, call))
    });
    let starts: Vec<_> =
        starts.filter(|(thread, call)| own.contains(thread) && !call.contains("CLONE_THREAD")).collect();
    let (good, bad): (Vec<_>, Vec<_>) =
        starts.iter().partition(|(_, call)| call.contains("CLONE_VFORK") || call.contains("vfork("));
    assert!(bad.is_empty(), "{bad:?}");
    let servers = threads(server.pid());
    let by_server = good.iter().filter(|(thread, _)| servers.contains(thread)).count();
    assert!(by_server > 0 && good.len() > by_server, "a runner by the server, a job by the runner: {text}");
}
