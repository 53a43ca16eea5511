//! What every request meets: names, methods, unknown addresses, documentation.

use jobmgr::config;
use jobmgr::store::Presence;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{DEADLINE, Reply, Server};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"];

#[tokio::test]
async fn a_greeting_and_a_pulse() {
    let server = Server::start().await;
    let root = server.get("/").await;
    assert_eq!((root.status, root.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert!(root.text().contains("/docs") && root.text().contains("/openapi.json"));
    server.get("/healthz").await.assert(200, "ok\n");
}

#[tokio::test]
async fn it_is_ready_when_a_worker_database_and_store_are_there() {
    let server = Server::start().await;
    server.get("/readyz").await.assert(503, "no worker is alive that takes jobs\n");
    let says = |slots, state: &str| Presence { state: state.into(), ..super::v1::worker("one", slots) };
    for (slots, state) in [(0, "active"), (2, "draining")] {
        server.api.store.heartbeat(says(slots, state), DEADLINE).await.unwrap();
        assert_eq!(server.get("/readyz").await.status, 503, "{slots} {state}");
    }
    server.api.store.heartbeat(says(2, "active"), DEADLINE).await.unwrap();
    server.get("/readyz").await.assert(200, "ok\n");
    let store = server.dir.path().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::write(&store, "").unwrap();
    let reply = server.get("/readyz").await;
    assert!(reply.status == 503 && reply.text().contains("store") && reply.text().lines().count() == 1, "{reply:?}");
}

#[tokio::test]
async fn numbers_are_told_while_the_database_is_away() {
    // Who may see more is not known there.
    let server = Server::start().await;
    server.api.store.close().await;
    let reply = server.get("/metrics").await;
    assert_eq!((reply.status, reply.text().lines().last()), (200, Some("jobmgr_database_up 0")));
    assert_eq!(reply.text().lines().count(), 3, "{}", reply.text());
    let server = Server::start().await;
    assert_eq!(server.get("/v1/me").await.status, 200);
    server.api.store.close().await;
    let reply = server.get("/metrics").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let has = |line: &str| reply.text().lines().any(|found| found.starts_with(line));
    assert!(has("jobmgr_database_up 0") && has("jobmgr_http_requests_total{"), "{}", reply.text());
    assert!(!has("jobmgr_jobs{") && !has("jobmgr_oldest_queued_seconds"), "{}", reply.text());
}

#[tokio::test]
async fn other_names_are_refused_whatever_the_method() {
    let server = Server::start().await;
    for method in METHODS {
        for path in ["/", "/jobs/get?id=1", "/nope", "/docs"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
            assert_eq!(server.send(request).await.status, 421, "{method} {path}");
            let reply = server.ask(method, path, "Origin: http://evil.example\r\n").await;
            assert_eq!(reply.status, 403, "{method} {path}");
            assert_eq!(server.ask(method, path, "Origin: null\r\n").await.status, 403, "{method} {path}");
        }
    }
    assert_eq!(server.send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.status, 400);
}

#[tokio::test]
async fn configured_names_are_served() {
    let server = Server::with(config::Server { hosts: vec!["jobs.example.org".into()], ..Default::default() }).await;
    let reply = server.send("GET / HTTP/1.1\r\nHost: Jobs.Example.org:80\r\nConnection: close\r\n\r\n").await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn wrong_methods_learn_the_right_ones() {
    let server = Server::start().await;
    for (method, path, allow) in [
        ("POST", "/jobs/get", "GET, HEAD"),
        ("GET", "/jobs/start", "POST"),
        ("HEAD", "/jobs/start", "POST"),
        ("DELETE", "/artifacts/download", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
        ("TRACE", "/docs", "GET, HEAD"),
    ] {
        let reply = server.ask(method, path, "X-HTTP-Method-Override: GET\r\n").await;
        assert_eq!((reply.status, reply.header("allow")), (405, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn unknown_addresses() {
    let server = Server::start().await;
    for path in
        ["/nope", "//", "/jobs/get/", "//jobs/get", "/JOBS/GET", "/jobs/%67et", "/jobs/get;x", "/docs/../", "/v1"]
    {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start().await;
    for path in ["/", "/healthz", "/jobs/get?id=1", "/openapi.json", "/docs"] {
        let (get, head) = (server.get(path).await, server.ask("HEAD", path, "").await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn each_answer_has_a_request_id() {
    let server = Server::start().await;
    assert_eq!(server.ask("GET", "/", "X-Request-Id: my-1.x_Y\r\n").await.header("x-request-id"), "my-1.x_Y");
    let made = server.ask("GET", "/nope", "X-Request-Id: <x>\r\n").await.header("x-request-id").to_owned();
    assert!(!made.is_empty() && made != "<x>");
}

#[tokio::test]
async fn row_102_the_document_and_its_page_take_nothing_from_the_query() {
    let server = Server::start().await;
    server.get("/openapi.json").await.assert(200, &jobmgr::http::openapi());
    let plain = server.get("/docs").await;
    assert!(plain.header("content-security-policy").starts_with("default-src 'none';"));
    for query in ["?url=https://evil.example", "?configUrl=https://evil.example"] {
        let reply = server.get(&format!("/docs{query}")).await;
        assert!(reply.status == 200 && reply.body == plain.body, "{query}");
    }
}

#[tokio::test]
async fn the_document_follows_the_folder() {
    let server = Server::start().await;
    let file = server.api.config.jobspecs.join("x.toml");
    let text =
        "Command = 'x'\nDescription = '</script><script>alert(1)</script>'\n[[Parameter]]\nName = 'n'\nType = 'int'\n";
    std::fs::write(&file, text).unwrap();
    let document = server.get("/openapi.json").await.json();
    assert_eq!(document["components"]["schemas"]["Run_x"]["required"], serde_json::json!(["n"]));
    assert_eq!(document["paths"]["/v1/run/x"]["post"]["operationId"], "run_x");
    let page = server.get("/docs").await;
    assert!(page.text().contains("\"operationId\": \"run_x\"") && !page.text().contains("<script>alert(1)"));
    // What can't be read is left out, and what is gone too.
    std::fs::write(server.api.config.jobspecs.join("y.toml"), "Comand = 'x'").unwrap();
    std::fs::remove_file(file).unwrap();
    server.get("/openapi.json").await.assert(200, &jobmgr::http::openapi());
}

#[tokio::test]
async fn it_stops_when_the_requests_in_flight_are_answered() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    let form = "name=x&parameters={}";
    let head = "POST /jobs/start HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded";
    busy.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\nname=x", form.len()).as_bytes()).await.unwrap();
    // The server has seen that request once it has answered a later one.
    server.get("/healthz").await.assert(200, "ok\n");
    server.stop.cancel();
    let closed = timeout(DEADLINE, idle.read_u8()).await.unwrap();
    assert_eq!(closed.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    busy.write_all(&form.as_bytes()["name=x".len()..]).await.unwrap();
    Reply::read(&mut busy).await.assert(200, "{\"status\":\"ok\",\"created\":1}\n");
    timeout(DEADLINE, server.serving).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
