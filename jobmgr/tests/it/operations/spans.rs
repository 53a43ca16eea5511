//! With the feature `otel`: spans arrive at a collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::support::nobody;
use crate::support::server::{Home, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Takes what is posted to `/v1/traces`, one body after the other.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, all) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let taken = Arc::clone(&all);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || {
                loop {
                    let (mut line, mut head) = (String::new(), String::new());
                    while stream.read_line(&mut line).unwrap_or(0) > 2 {
                        head.push_str(&line.to_lowercase());
                        line.clear();
                    }
                    if head.is_empty() {
                        return;
                    }
                    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
                    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    let mut body = vec![0; length.parse().unwrap()];
                    stream.read_exact(&mut body).unwrap();
                    taken.lock().unwrap().extend(body);
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (address, all)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn count(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len()).filter(|found| *found == part).count()
}

#[test]
fn the_spans_of_a_job_arrive() {
    let (collector, taken) = collector();
    let home = Home::new(&format!("[Telemetry]\nOTLP = \"http://{collector}\"\n"));
    home.sh("traced", "echo $TRACEPARENT; exit 3", "");
    let mut server = home.serve();
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n");
    let headers = format!("Content-Type: application/json\r\n{parent}");
    let answer = server.client().try_send("POST", "/v1/run/traced?wait=30s", &headers, b"{}").unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    let told = answer.json()["result"].as_str().unwrap().trim().to_owned();
    let attempt = told.strip_prefix(&format!("00-{TRACE}-")).and_then(|rest| rest.strip_suffix("-01"));
    let attempt = attempt.unwrap_or_else(|| panic!("not in the trace of the submission: {told}")).to_owned();
    assert_ne!(attempt, "00f067aa0ba902b7");
    // What is recorded is sent at the end at the latest.
    std::process::Command::new("kill").arg(server.pid().to_string()).status().unwrap();
    assert!(server.exit().success());
    let all = taken.lock().unwrap().clone();
    for (part, least) in [
        (b"submit".as_slice(), 1),
        (b"wait", 1),
        (b"attempt", 1),
        (b"traced", 2),
        (b"jobmgr.ending", 1),
        (b"failed", 1),
    ] {
        assert!(count(&all, part) >= least, "{} is not in the spans", String::from_utf8_lossy(part));
    }
    assert!(count(&all, &bytes(TRACE)) >= 3, "all are of one trace");
    assert_eq!(count(&all, &bytes(&attempt)), 1, "what the job was told is the attempt");
    // The submission, whose parent is the client's span.
    assert_eq!(count(&all, &bytes("00f067aa0ba902b7")), 1);
}

#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    let nobody = nobody();
    let home = Home::new(&format!("[Telemetry]\nOTLP = \"http://{}\"\n", nobody.local_addr().unwrap()));
    home.sh("quick", "echo quick", "");
    let server = home.serve();
    for _ in 0..3 {
        assert_eq!(server.run("quick", serde_json::json!({})).result, "quick\n");
    }
    eventually("it still answers", || server.client().get("/healthz").status == 200);
}
