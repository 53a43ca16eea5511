//! Many streams on which nothing happens cost little.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::long;
use crate::support::server::{Home, eventually};
use crate::support::sse::Stream;

/// How much memory a connection may cost, in KiB: 5,000 of them 200 MiB.
const EACH: u64 = 200 * 1024 / 5000;

/// The memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn row_95_idle_streams_cost_little() {
    let count: u32 = if long() { 5000 } else { 800 };
    let home = Home::new("[Server]\nMaxConnections = 6000\n");
    home.spec("quick", "Command = \"/bin/true\"");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "ulimit -n $(ulimit -H -n); exec \"$0\" serve", env!("CARGO_BIN_EXE_jobmgr")]);
    command.current_dir(home.dir.path()).env("JOBMGR_SERVER__LISTEN", "127.0.0.1:0").env("TMPDIR", home.path("tmp"));
    let server = home.serve_by(command);
    server.run("quick", json!({}));
    let before = memory(server.pid());
    let mut listeners = Vec::new();
    for _ in 0..count {
        let mut connection = TcpStream::connect(server.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        connection.write_all(Stream::request("/v1/events", None).as_bytes()).unwrap();
        listeners.push((connection, Stream::default()));
    }
    for (connection, stream) in &mut listeners {
        while stream.status().is_none() {
            let mut bytes = [0; 1024];
            let read = connection.read(&mut bytes).unwrap();
            stream.push(&bytes[..read]);
        }
        assert_eq!(stream.status(), Some(200));
    }
    let idle = memory(server.pid()).saturating_sub(before);
    println!("{count} idle streams cost {idle} KiB, {:.1} KiB each", idle as f64 / f64::from(count));
    assert!(idle < EACH * u64::from(count), "{idle} KiB for {count} streams");
    // They are alive: each is told of a job.
    let id = server.start("quick", json!({}));
    for (connection, stream) in &mut listeners {
        eventually("each is told of a job", || {
            let mut bytes = [0; 4096];
            let read = connection.read(&mut bytes).unwrap();
            stream.push(&bytes[..read]);
            std::iter::from_fn(|| stream.next()).any(|said| said.data["jobID"] == id)
        });
    }
}
