//! What a server does not take.

use std::time::Duration;

use jobmgr::config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::{DEADLINE, Reply, Server};

const POST: &str = "POST /jobs/start HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
const TOO_LARGE: &str = "{\"status\":\"error\",\"error\":\"too_large\"}\n";

#[tokio::test]
async fn a_form_of_four_mebibytes_is_the_largest() {
    let server = Server::start().await;
    let form = |size: usize| format!("name=x&parameters={{}}&padding={}", "x".repeat(size - 29));
    let most = form(4 << 20);
    assert_eq!(most.len(), 4 << 20);
    server.start_job(&most).await.assert(200, "{\"status\":\"ok\",\"created\":1}\n");
    server.start_job(&(most + "x")).await.assert(413, TOO_LARGE);
}

#[tokio::test]
async fn a_large_body_without_length_is_refused() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    stream.write_all(format!("{POST}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    for _ in 0..100 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    Reply::read(&mut stream).await.assert(413, TOO_LARGE);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_at_once() {
    let server = Server::start().await;
    let head = format!("{POST}Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n");
    server.send(head).await.assert(413, TOO_LARGE);
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let server = Server::start().await;
    let fits = format!("X-Long: {}\r\n", "x".repeat(50 << 10));
    assert_eq!(server.ask("GET", "/", &fits).await.status, 200);
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(65 << 10));
    assert_eq!(server.send(request).await.status, 431);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = Server::with(config::Server { max_connections: 1, ..Default::default() }).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0; 1];
    assert!(timeout(Duration::from_millis(200), second.read(&mut byte)).await.is_err());
    drop(first);
    assert_eq!(timeout(DEADLINE, second.read(&mut byte)).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn requests_may_follow_each_other_unasked() {
    let server = Server::start().await;
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    let reply = server.send(format!("{one}\r\n{one}\r\n{one}Connection: close\r\n\r\n")).await;
    assert_eq!(reply.text().matches("HTTP/1.1 200 OK").count(), 2);
    assert!(reply.text().ends_with("ok\n"));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_half_job() {
    let server = Server::start().await;
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}Content-Length: 100\r\n\r\nname=x&parameters={{}}").as_bytes()).await.unwrap();
        // Closed with bytes unread or not, in mid-body.
        drop(stream);
    }
    server.start_job("name=x&parameters={}").await.assert(200, "{\"status\":\"ok\",\"created\":1}\n");
    assert_eq!(server.api.store.unfinished().await.unwrap(), 1);
}
