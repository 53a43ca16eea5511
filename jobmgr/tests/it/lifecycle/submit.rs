//! Clients that go away, and jobs that were only just accepted.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::server::{Home, eventually};

#[test]
fn what_was_accepted_is_there_after_a_crash() {
    let home = Home::new("");
    home.sh("quick", "echo quick", "");
    for round in 0..6 {
        let mut server = home.serve();
        let accepted: Vec<i64> = (0..=round % 3).map(|_| server.start("quick", json!({}))).collect();
        server.kill();
        let server = home.serve();
        for id in accepted {
            let ended = server.wait(id);
            assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", "quick\n"), "job {id}");
        }
    }
}

/// Sends the first `length` bytes of a submission and resets the connection.
fn reset_after(address: std::net::SocketAddr, length: usize, pause: Duration) {
    let body = "name=quick&parameters=%7B%7D";
    let request = format!(
        "POST /jobs/start HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request.as_bytes()[..length.min(request.len())]).unwrap();
    std::thread::sleep(pause);
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn clients_that_reset_their_connection_leave_whole_jobs_or_none() {
    let home = Home::new("");
    home.sh("quick", "echo quick", "");
    let server = home.serve();
    for round in 0..200u64 {
        // Whole requests mostly, so that the reset meets the handler at any of its steps.
        let length = if round % 4 == 0 { usize::try_from(round).unwrap() } else { 1000 };
        reset_after(server.address, length, Duration::from_micros(round * 37 % 3000));
    }
    assert_eq!(server.client().get("/healthz").status, 200);
    let last = server.start("quick", json!({}));
    assert_eq!(server.wait(last).result, "quick\n");
    let mut there = 0;
    for id in 1..last {
        eventually(&format!("job {id} has ended, or never was"), || {
            let job = server.job(id);
            job["error"] == "not_found" || job["result"] == "quick\n"
        });
        there += i32::from(server.job(id)["status"] == "ok");
    }
    assert!(there > 0, "no reset came late enough to matter");
    assert!(!home.log().contains("ERROR"), "{}", home.log());
}
