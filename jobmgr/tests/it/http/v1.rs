//! `/v1`: cancel, logs, attempts, workers, and the problems that they answer with.

use std::sync::Arc;
use std::time::Duration;

use jobmgr::domain::gpu::Gpu;
use jobmgr::domain::job::{Claim, Failure, Log, LogBody, Reason};
use jobmgr::store::{Chunk, Offer, Presence, Stream};
use serde_json::{Value, json};

use super::client::Server;

fn inline(text: &str) -> Log {
    Log { written: text.len() as u64, body: LogBody::Inline(text.into()) }
}

async fn submitted(server: &Server) -> i64 {
    server.start_job("name=x&parameters={}").await.json()["created"].as_i64().unwrap()
}

async fn cancel(server: &Server, id: impl std::fmt::Display) -> super::client::Reply {
    server.post(&format!("/v1/jobs/{id}/cancel"), "", "").await
}

#[track_caller]
fn problem(reply: &super::client::Reply, status: u16, code: &str) -> Value {
    let problem = reply.json();
    assert_eq!((reply.status, &problem["code"]), (status, &json!(code)), "{problem}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)));
    assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
    problem
}

#[tokio::test]
async fn a_cancel_has_one_winner() {
    let server = Server::start().await;
    let queued = submitted(&server).await;
    let reply = cancel(&server, queued).await;
    assert_eq!((reply.status, reply.json()), (202, json!({ "id": queued, "status": "canceled" })));
    assert_eq!(problem(&cancel(&server, queued).await, 409, "conflict")["jobStatus"], "canceled");
    let shown = server.get(&format!("/jobs/get?id={queued}")).await.json();
    assert_eq!((&shown["job"]["status"], &shown["result"]), (&json!("failed"), &json!("canceled")));

    let claim = server.claimed("x").await;
    for _ in 0..2 {
        let reply = cancel(&server, claim.id).await;
        assert_eq!((reply.status, reply.json()["status"].clone()), (202, json!("started")));
    }
    server.finish(&claim, inline("said"), None, vec![]).await;
    assert_eq!(problem(&cancel(&server, claim.id).await, 409, "conflict")["jobStatus"], "canceled");
}

#[tokio::test]
async fn what_names_no_job_is_not_found() {
    let server = Server::start().await;
    for id in ["7", "0", "-1", "abc", "1%20", "+1", "9223372036854775808", "1%20OR%201=1"] {
        problem(&cancel(&server, id).await, 404, "not_found");
        for operation in ["logs", "attempts", "logs?follow=true"] {
            problem(&server.get(&format!("/v1/jobs/{id}/{operation}")).await, 404, "not_found");
        }
    }
    assert_eq!(server.get("/v1/jobs/7/cancel").await.status, 405);
}

#[tokio::test]
async fn every_parameter_that_is_wrong_is_named_at_once() {
    let server = Server::start().await;
    let reply = server.get("/v1/jobs/1/logs?stream=both&attempt=0&follow=yes").await;
    let problem = problem(&reply, 422, "invalid_parameters");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["stream", "attempt", "follow"]);
}

#[tokio::test]
async fn pages_of_others_can_not_cancel() {
    let server = Server::start().await;
    let id = submitted(&server).await;
    let path = format!("/v1/jobs/{id}/cancel");
    assert_eq!(server.ask("POST", &path, "Origin: https://evil.example\r\n").await.status, 403);
    let reply = server.send(format!("POST {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(reply.status, 421);
    assert_eq!(server.api.store.unfinished().await.unwrap(), 1);
}

async fn write(server: &Server, claim: &Claim, stream: Stream, start: u64, text: &str) {
    let Claim { id, epoch, attempt, .. } = *claim;
    let chunk = Chunk { id, epoch, attempt, stream, start, bytes: text.into(), time: (0, 0) };
    assert!(server.api.store.chunk(chunk).await.unwrap());
}

#[tokio::test]
async fn a_running_jobs_output_is_there() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let path = format!("/v1/jobs/{}/logs", claim.id);
    server.get(&path).await.assert(200, "");
    write(&server, &claim, Stream::Stdout, 0, "one ").await;
    write(&server, &claim, Stream::Stdout, 4, "two").await;
    write(&server, &claim, Stream::Stderr, 0, "wrong").await;
    let reply = server.get(&path).await;
    reply.assert(200, "one two");
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("cache-control"), "no-store");
    server.get(&format!("{path}?stream=stderr&attempt=1")).await.assert(200, "wrong");
    problem(&server.get(&format!("{path}?attempt=2")).await, 404, "not_found");
    let part = server.ask("GET", &path, "Range: bytes=4-\r\n").await;
    part.assert(206, "two");
    assert_eq!(part.header("content-range"), "bytes 4-6/*");
    let none = server.ask("GET", &path, "Range: bytes=7-\r\n").await;
    problem(&none, 416, "range_not_satisfiable");
    assert_eq!(none.header("content-range"), "bytes */7");
    write(&server, &claim, Stream::Stdout, 10, "end").await;
    server.get(&path).await.assert(200, "one two\n[jobmgr: 3 bytes left out here]\nend");
}

#[tokio::test]
async fn the_output_of_an_ended_job_is_there() {
    let server = Server::start().await;
    let small = server.claimed("x").await;
    server.finish(&small, inline("said\n"), None, vec![]).await;
    let large = server.claimed("x").await;
    let bytes = "0123456789".repeat(10_000);
    let object = server.artifact(large.id, "stdout", "text/plain", bytes.as_bytes()).await;
    let body = LogBody::Object { key: object.key.clone(), size: object.size };
    server.finish(&large, Log { written: object.size, body }, None, vec![]).await;
    for (id, bytes) in [(small.id, "said\n"), (large.id, bytes.as_str())] {
        let path = format!("/v1/jobs/{id}/logs");
        let reply = server.get(&path).await;
        reply.assert(200, bytes);
        assert_eq!(reply.header("content-length"), bytes.len().to_string());
        let part = server.ask("GET", &path, "Range: bytes=1-2\r\n").await;
        part.assert(206, &bytes[1..3]);
        assert_eq!(part.header("content-range"), format!("bytes 1-2/{}", bytes.len()));
        let same = format!("If-None-Match: {}\r\n", reply.header("etag"));
        server.ask("GET", &path, &same).await.assert(304, "");
        assert_eq!(server.ask("GET", &path, "Range: bytes=999999-\r\n").await.status, 416);
        assert_eq!(server.ask("HEAD", &path, "").await.header("content-length"), bytes.len().to_string());
        let followed = server.get(&format!("{path}?follow=true")).await;
        assert_eq!(followed.dechunked().unwrap(), bytes.as_bytes());
        server.get(&format!("{path}?stream=stderr")).await.assert(200, "");
    }
    server.api.blobs.delete(&object.key).await.unwrap();
    problem(&server.get(&format!("/v1/jobs/{}/logs", large.id)).await, 410, "gone");
}

#[tokio::test]
async fn who_follows_gets_all_of_every_attempt_and_then_the_end() {
    let server = Arc::new(Server::start().await);
    let id = submitted(&server).await;
    let follow = |path: String| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.get(&path).await.dechunked() })
    };
    let all = follow(format!("/v1/jobs/{id}/logs?follow=true"));
    let early = follow(format!("/v1/jobs/{id}/logs?follow=true&stream=stderr"));
    let claim = server.claim().await;
    assert_eq!(claim.id, id);
    let first = follow(format!("/v1/jobs/{id}/logs?follow=true&attempt=1"));
    write(&server, &claim, Stream::Stdout, 0, "first ").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let failure = Failure {
        reason: Reason::ExitCode,
        error: Some("exit status 1".into()),
        exit_code: Some(1),
        signal: None,
        stdout: inline("first try\n"),
        stderr: Log::default(),
    };
    assert!(server.api.store.retry(&claim, Arc::new(failure), Duration::ZERO).await.unwrap());
    assert_eq!(first.await.unwrap().unwrap(), b"first try\n");
    let claim = server.claim().await;
    write(&server, &claim, Stream::Stdout, 0, "second").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!all.is_finished() && !early.is_finished());
    server.finish(&claim, inline("second try\n"), None, vec![]).await;
    assert_eq!(String::from_utf8(all.await.unwrap().unwrap()).unwrap(), "first try\nsecond try\n");
    assert_eq!(early.await.unwrap().unwrap(), b"");
    server.get(&format!("/v1/jobs/{id}/logs?attempt=1")).await.assert(200, "first try\n");
    server.get(&format!("/v1/jobs/{id}/logs")).await.assert(200, "second try\n");

    let list = server.get(&format!("/v1/jobs/{id}/attempts")).await.json();
    let items = list["items"].as_array().unwrap();
    let brief: Vec<_> = items.iter().map(|one| (one["attempt"].clone(), one["ending"].clone())).collect();
    assert_eq!(brief, [(json!(2), json!("completed")), (json!(1), json!("failed"))]);
    assert_eq!((&items[1]["reason"], &items[1]["exitCode"]), (&json!("exit_code"), &json!(1)));
    assert!(items[0]["started"].as_str().unwrap().ends_with('Z') && items[0]["durationMs"].is_i64());
}

#[tokio::test]
async fn a_server_that_ends_does_not_pretend_that_the_job_did() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    write(&server, &claim, Stream::Stdout, 0, "half").await;
    let path = format!("/v1/jobs/{}/logs?follow=true", claim.id);
    let (reply, ()) = tokio::join!(server.get(&path), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.stop.cancel();
    });
    assert!(reply.text().contains("half") && reply.dechunked().is_none(), "{}", reply.text());
}

pub fn worker(id: &str, slots: i64) -> Presence {
    Presence {
        id: id.into(),
        name: "gpu-1".into(),
        host: "box".into(),
        version: "1.2.3".into(),
        slots,
        labels: vec!["gpu".into()],
        storage: "here".into(),
        state: "active".into(),
        gpus: vec![Gpu { id: "GPU-1".into(), name: "Model".into(), memory_bytes: 8 << 30 }],
    }
}

#[tokio::test]
async fn workers_are_listed() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/workers").await.json(), json!({ "items": [], "next": null }));
    server.api.store.heartbeat(worker("one", 4), Duration::from_secs(60)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.api.store.heartbeat(worker("two", 0), Duration::ZERO).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let list = server.get("/v1/workers").await.json();
    let items = list["items"].as_array().unwrap();
    assert_eq!([&items[0]["alive"], &items[1]["alive"]], [false, true]);
    let one = &items[1];
    for (key, value) in [
        ("id", json!("one")),
        ("name", json!("gpu-1")),
        ("host", json!("box")),
        ("version", json!("1.2.3")),
        ("slots", json!(4)),
        ("gpus", json!([{ "id": "GPU-1", "name": "Model", "memoryBytes": 8_u64 << 30 }])),
        ("labels", json!(["gpu"])),
        ("state", json!("active")),
    ] {
        assert_eq!(one[key], value, "{key}");
    }
    assert!(one["lastSeen"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_process_without_a_worker_knows_what_workers_publish() {
    let server = Server::without_worker().await;
    let own = |name: &str, text: &str| {
        std::fs::write(server.api.config.jobspecs.join(format!("{name}.toml")), text).unwrap();
    };
    own("both", "Command = \"true\"\nPriority = 3\n");
    own("mine", "Command = \"true\"\nPriority = 4\n");
    let offer = |name: &str, about: &str| Offer { name: name.into(), hash: "0".into(), about: about.into() };
    let offers = vec![
        offer("both", "{\"priority\":7}"),
        offer("theirs", "{\"priority\":8,\"queueTimeoutMs\":1}"),
        offer("bad", "{"),
    ];
    server.api.store.heartbeat(worker("one", 1), Duration::from_secs(60)).await.unwrap();
    server.api.store.publish("one", offers).await.unwrap();
    let mut late = 0;
    for (name, priority) in [("both", 7), ("theirs", 8), ("mine", 4), ("bad", 50), ("unknown", 50)] {
        let id = server.start_job(&format!("parameters={{}}&name={name}")).await.json()["created"].as_i64().unwrap();
        late = if name == "theirs" { id } else { late };
        assert_eq!(server.api.store.job(id).await.unwrap().unwrap().priority, priority, "{name}");
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(server.api.store.sweep().await.unwrap().overdue, [late], "its QueueTimeout is known too");
}
