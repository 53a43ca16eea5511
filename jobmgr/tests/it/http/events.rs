//! Events of one job and of all, as Server-Sent Events and over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use jobmgr::config;
use jobmgr::domain::job::{Claim, JobId, Log, LogBody, Progress};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::{Chunk, Stream as Output};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::auth::{Key, guarded, key};
use super::client::{DEADLINE, Reply, Server};
use crate::support::sse::{Said, Stream};

/// A client that reads a stream.
struct Listener {
    connection: TcpStream,
    stream: Stream,
}

impl Listener {
    async fn to(server: &Server, path: &str, last: Option<&str>) -> Listener {
        Self::with(server, Stream::request(path, last)).await
    }

    async fn with(server: &Server, request: String) -> Listener {
        let mut connection = server.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Listener { connection, stream: Stream::default() };
        while listener.stream.status().is_none() {
            assert!(listener.more().await, "an answer");
        }
        listener
    }

    /// Reads something; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = timeout(DEADLINE, self.connection.read(&mut bytes)).await.expect("something comes").unwrap();
        self.stream.push(&bytes[..read]);
        read > 0
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.stream.next() {
                return Some(said);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn some(&mut self, count: usize) -> Vec<Said> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.expect("it goes on"));
        }
        all
    }

    async fn rest(mut self) -> Vec<Said> {
        let mut all = Vec::new();
        while let Some(said) = self.next().await {
            all.push(said);
        }
        assert!(self.stream.whole, "it was not cut");
        all
    }
}

fn kinds(said: &[Said]) -> Vec<&str> {
    said.iter().map(|said| said.kind.as_str()).collect()
}

fn statuses(said: &[Said]) -> Vec<(String, i64)> {
    let statuses = said.iter().filter(|said| said.kind == "status");
    statuses
        .map(|said| (said.data["status"].as_str().unwrap().into(), said.data["attempt"].as_i64().unwrap()))
        .collect()
}

/// What the stream told of an output, with its offsets checked.
fn output(said: &[Said], stream: &str) -> String {
    let mut text = String::new();
    for said in said.iter().filter(|said| said.kind == "log" && said.data["stream"] == stream) {
        assert_eq!(said.data["offset"], text.len());
        text.push_str(said.data["text"].as_str().unwrap());
    }
    text
}

async fn write(server: &Server, claim: &Claim, stream: Output, start: u64, bytes: &[u8]) {
    let Claim { id, epoch, attempt, .. } = *claim;
    let chunk = Chunk { id, epoch, attempt, stream, start, bytes: bytes.to_vec(), time: (0, 0) };
    assert!(server.api.store.chunk(chunk).await.unwrap());
}

fn log(bytes: &[u8]) -> Log {
    Log { written: bytes.len() as u64, body: LogBody::Inline(bytes.to_vec()) }
}

async fn submitted(server: &Server, name: &str) -> JobId {
    server.api.store.submit(NewJob { name: name.into(), priority: 50, ..NewJob::default() }).await.unwrap()
}

/// A job that ran twice and left files, followed from its submission on; gives what was said.
async fn a_life(server: &Server) -> (JobId, Vec<Said>) {
    let id = submitted(server, "x").await;
    let mut listener = Listener::to(server, &format!("/v1/jobs/{id}/events"), None).await;
    for header in ["content-type: text/event-stream\r\n", "cache-control: no-store\r\n", "x-accel-buffering: no\r\n"] {
        assert!(listener.stream.head().contains(header), "{}", listener.stream.head());
    }
    let mut said = listener.some(1).await;
    let first = server.claim().await;
    assert!(server.api.store.release(&first, Duration::ZERO, "not now").await.unwrap());
    let claim = server.claim().await;
    said.extend(listener.some(4 - said.len()).await);
    // Half a character comes with its other half.
    write(server, &claim, Output::Stdout, 0, b"one \xe6\x97").await;
    said.extend(listener.some(1).await);
    write(server, &claim, Output::Stdout, 6, b"\xa5\n").await;
    said.extend(listener.some(1).await);
    let progress = Progress { percent: 50.0, message: "half".into() };
    assert!(server.api.store.progress(&claim, &progress).await.unwrap());
    said.extend(listener.some(1).await);
    let artifacts = vec![
        server.artifact(id, "a.txt", "text/plain", b"a").await,
        server.artifact(id, "b.txt", "text/plain", b"bb").await,
    ];
    server.finish(&claim, log("one 日\ntwo\n".as_bytes()), None, artifacts).await;
    said.extend(listener.rest().await);
    (id, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_followed_to_its_end() {
    let server = Server::start().await;
    let (id, said) = a_life(&server).await;
    let expected = [
        "status", "status", "status", "status", "log", "log", "progress", "log", "status", "artifact", "artifact",
        "end",
    ];
    assert_eq!(kinds(&said), expected, "{said:#?}");
    let way = [("queued", 0), ("started", 1), ("queued", 1), ("started", 2), ("completed", 2)];
    assert_eq!(statuses(&said), way.map(|(status, attempt)| (status.to_owned(), attempt)));
    assert_eq!(output(&said, "stdout"), "one 日\ntwo\n");
    assert_eq!((&said[6].data["percent"], &said[6].data["message"]), (&json!(50.0), &json!("half")));
    assert_eq!((&said[10].data["name"], &said[10].data["size"]), (&json!("b.txt"), &json!(2)));
    assert_eq!((&said[11].data["status"], &said[11].data["jobID"]), (&json!("completed"), &json!(id)));
    let ids: std::collections::BTreeSet<_> = said.iter().map(|said| said.id.clone().unwrap()).collect();
    assert_eq!(ids.len(), said.len(), "each has an id of its own");
}

/// From each of its ids the rest follows, though the job has ended and the server is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_from_any_event_of_a_job() {
    let server = Server::start().await;
    let (id, said) = a_life(&server).await;
    let path = format!("/v1/jobs/{id}/events");
    let all = Listener::to(&server, &path, None).await.rest().await;
    assert_eq!((statuses(&all), output(&all, "stdout")), (statuses(&said), output(&said, "stdout")));
    for (index, at) in said.iter().enumerate() {
        let mut listener = Listener::to(&server, &path, at.id.as_deref()).await;
        if index + 1 == said.len() {
            assert_eq!(listener.stream.status(), Some(204), "a browser does not come again");
            continue;
        }
        let mut rest = Vec::new();
        while let Some(said) = listener.next().await {
            rest.push(said);
        }
        let later = &said[index + 1..];
        assert_eq!(statuses(&rest), statuses(later), "after {at:?}");
        let left = |said: &[Said]| -> Vec<Value> {
            let left = said.iter().filter(|said| ["artifact", "end"].contains(&said.kind.as_str()));
            left.map(|said| said.data.clone()).collect()
        };
        assert_eq!(left(&rest), left(later), "after {at:?}");
        let told: String = said[..=index].iter().filter(|said| said.kind == "log").map(text).collect();
        let rest: String = rest.iter().filter(|said| said.kind == "log").map(text).collect();
        assert_eq!(told + &rest, "one 日\ntwo\n", "after {at:?}");
    }
}

fn text(said: &Said) -> &str {
    said.data["text"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_way_is_no_longer_known_is_followed_by_its_row() {
    let server = Server::start().await;
    let (id, _) = a_life(&server).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    while server.api.store.drop_events(Duration::from_millis(1)).await.unwrap() {}
    let said = Listener::to(&server, &format!("/v1/jobs/{id}/events"), None).await.rest().await;
    assert_eq!(kinds(&said), ["log", "status", "artifact", "artifact", "end"]);
    assert_eq!(
        (output(&said, "stdout").as_str(), &statuses(&said)[..]),
        ("one 日\ntwo\n", &[("completed".into(), 2)][..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_strange_output_is_told_whole() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let path = format!("/v1/jobs/{}/events", claim.id);
    let listener = tokio::spawn(Listener::to(&server, &path, None).await.rest());
    let large = "zeile \u{e9}\u{1F600}\n".repeat(20_000);
    for (index, piece) in large.as_bytes().chunks(60_000).enumerate() {
        write(&server, &claim, Output::Stdout, index as u64 * 60_000, piece).await;
    }
    write(&server, &claim, Output::Stderr, 0, b"\xff\x00x\r\n\n: no comment").await;
    let ended = jobmgr::domain::job::Ended { stdout: log(large.as_bytes()), ..Default::default() };
    let stderr = log(b"\xff\x00x\r\n\n: no comment\nlast \xe6");
    let ended = jobmgr::domain::job::Ended { stderr, ..ended };
    let finish = jobmgr::domain::job::Finish {
        status: jobmgr::domain::job::Status::Completed,
        reason: None,
        attempt: 1,
        chunks: true,
        ended,
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.api.store.finish(&claim, Arc::new(finish), None).await.unwrap().unwrap();
    let said = listener.await.unwrap();
    assert!(output(&said, "stdout") == large);
    let stderr: String = said.iter().filter(|said| said.data["stream"] == "stderr").map(text).collect();
    assert_eq!(stderr, "\u{fffd}\0x\r\n\n: no comment\nlast \u{fffd}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_are_followed() {
    let server = Server::start().await;
    let before = submitted(&server, "before").await;
    let mut listener = Listener::to(&server, "/v1/events", None).await;
    let mut named = Listener::to(&server, "/v1/events?name=y&status=completed", None).await;
    // The stream begins when the answer does; what is there by then is not told.
    server.api.store.cancel(before).await.unwrap();
    let said = listener.some(2).await;
    assert_eq!((kinds(&said), &said[0].data["status"]), (vec!["status", "end"], &json!("canceled")));
    let claim = server.claimed("y").await;
    let progress = Progress { percent: 7.0, message: "p".into() };
    assert!(server.api.store.progress(&claim, &progress).await.unwrap());
    let said = listener.some(3).await;
    assert_eq!(kinds(&said), ["status", "status", "progress"]);
    assert_eq!((&said[2].data["percent"], &said[2].id), (&json!(7.0), &None));
    let artifacts = vec![server.artifact(claim.id, "a.txt", "text/plain", b"a").await];
    server.finish(&claim, log(b"said"), None, artifacts).await;
    let last = listener.some(3).await;
    assert_eq!(kinds(&last), ["status", "artifact", "end"]);
    let filtered = named.some(3).await;
    assert_eq!(filtered, last, "the same ids too");
    // From each id the rest follows.
    for (index, at) in last.iter().enumerate() {
        submitted(&server, "mark").await;
        let mut again = Listener::to(&server, "/v1/events", at.id.as_deref()).await;
        let rest = again.some(last.len() - index).await;
        assert_eq!(rest[..last.len() - index - 1], last[index + 1..], "after {at:?}");
        assert_eq!(rest.last().unwrap().data["name"], "mark");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_too_long_is_told_so() {
    let server = Server::start().await;
    let first = submitted(&server, "x").await;
    server.api.store.cancel(first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    while server.api.store.drop_events(Duration::from_millis(10)).await.unwrap() {}
    submitted(&server, "y").await;
    for last in ["0", "1"] {
        let said = Listener::to(&server, "/v1/events", Some(last)).await.some(2).await;
        assert_eq!((kinds(&said), &said[1].data["name"]), (vec!["lost", "status"], &json!("y")), "{last}");
    }
    // Nothing that came after the second event was removed.
    let said = Listener::to(&server, "/v1/events", Some("2")).await.some(1).await;
    assert_eq!((kinds(&said), &said[0].data["name"]), (vec!["status"], &json!("y")));
    // One of a time that this database never had.
    let mut listener = Listener::to(&server, "/v1/events", Some("1000")).await;
    assert_eq!(kinds(&listener.some(1).await), ["lost"]);
    submitted(&server, "z").await;
    assert_eq!(listener.some(1).await[0].data["name"], "z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_is_refused() {
    let server = Server::start().await;
    let id = submitted(&server, "x").await;
    for path in [format!("/v1/jobs/{id}/events"), "/v1/events".to_owned()] {
        for bad in ["x", "-1", "1.2.3", "1~2", "\u{e9}"] {
            let reply = server.ask("GET", &path, &format!("Last-Event-ID: {bad}\r\n")).await;
            assert_eq!((reply.status, reply.json()["errors"][0]["field"].as_str()), (422, Some("Last-Event-ID")));
        }
    }
    let reply = server.get("/v1/events?status=gone&name=%00").await;
    assert_eq!((reply.status, reply.json()["errors"].as_array().unwrap().len()), (422, 2));
    assert_eq!(server.get("/v1/jobs/99/events").await.status, 404);
    let reply = server.get("/v1/events/ws?after=no").await;
    let fields: Vec<_> =
        reply.json()["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!((reply.status, fields), (422, vec![json!("Upgrade"), json!("after")]));
}

/// A client that reads nothing is let go, the others go on, and it can go on later where it was. And where nothing
/// happens, a comment comes, so that nobody between takes the connection for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_95_slow_and_idle_readers() {
    let server = Server::start().await;
    let mut idle = Listener::to(&server, "/v1/events?name=nothing", None).await;
    let began = Instant::now();
    let slow = Listener::to(&server, "/v1/events", Some("0")).await;
    let mut quick = Listener::to(&server, "/v1/events", Some("0")).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        let jobs = (0..500).map(|_| NewJob { name: "x".repeat(200), ..NewJob::default() }).collect();
        ids.extend(server.api.store.submit_all(jobs).await.unwrap());
    }
    let seen = quick.some(ids.len()).await;
    assert!(seen.iter().map(|said| said.data["jobID"].as_i64().unwrap()).eq(ids.iter().copied()));
    // It goes on after what it had taken until then, which is not all.
    let mut slow = slow;
    let seen = slow.some(100).await;
    let at = seen.last().unwrap().id.clone();
    drop(slow);
    let rest = Listener::to(&server, "/v1/events", at.as_deref()).await.some(ids.len() - 100).await;
    let all = seen.iter().chain(&rest).map(|said| said.data["jobID"].as_i64().unwrap());
    assert!(all.eq(ids.iter().copied()));
    while idle.stream.comments == 0 {
        assert!(idle.more().await);
        assert_eq!(idle.stream.next(), None);
    }
    assert!(began.elapsed() > Duration::from_secs(10), "not all the time either");
}

/// However long somebody wants to wait, and whether they are still there: one place is taken, and given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_96_a_long_wait_and_a_client_that_is_gone() {
    let server = Server::with(config::Server { max_connections: 1, ..config::Server::default() }).await;
    let id = submitted(&server, "x").await;
    for wait in ["1e9", "1000000000", "-1s", "forever"] {
        assert_eq!(server.get(&format!("/v1/jobs/{id}?wait={wait}")).await.status, 422, "{wait}");
    }
    for path in [format!("/v1/jobs/{id}?wait=1000000h"), "/v1/events".to_owned(), format!("/v1/jobs/{id}/events")] {
        let mut waiting = server.connect().await;
        waiting.write_all(Stream::request(&path, None).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(waiting);
        let began = Instant::now();
        assert_eq!(server.get("/healthz").await.status, 200, "after {path}");
        assert!(began.elapsed() < Duration::from_secs(5), "after {path}");
    }
}

/// A client of a WebSocket, by hand.
struct Socket {
    connection: TcpStream,
    bytes: Vec<u8>,
}

async fn shake_hands(server: &Server, path: &str, more: &str) -> (TcpStream, String) {
    let mut connection = server.connect().await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(DEADLINE, connection.read_u8()).await.unwrap().unwrap());
    }
    (connection, String::from_utf8(head).unwrap())
}

impl Socket {
    async fn to(server: &Server, path: &str) -> Socket {
        let (connection, head) = shake_hands(server, path, "Origin: http://localhost:3000\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Socket { connection, bytes: Vec::new() }
    }

    async fn byte(&mut self) -> u8 {
        timeout(DEADLINE, self.connection.read_u8()).await.expect("a frame comes").unwrap()
    }

    /// The next frame: its kind and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, second) = (self.byte().await, self.byte().await);
        assert_eq!((first & 0x80, second & 0x80), (0x80, 0), "whole, and not masked");
        let length = match second {
            126 => usize::from(self.byte().await) << 8 | usize::from(self.byte().await),
            short => usize::from(short),
        };
        self.bytes.resize(length, 0);
        timeout(DEADLINE, self.connection.read_exact(&mut self.bytes)).await.unwrap().unwrap();
        (first & 0x0f, self.bytes.clone())
    }

    async fn message(&mut self) -> Value {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, 1, "a text");
        serde_json::from_slice(&payload).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_tells_the_same() {
    let server = Server::start().await;
    let mut socket = Socket::to(&server, "/v1/events/ws?after=0&name=x").await;
    submitted(&server, "other").await;
    let id = submitted(&server, "x").await;
    let first = socket.message().await;
    assert_eq!(
        (&first["event"], &first["data"]["jobID"], &first["data"]["status"]),
        (&json!("status"), &json!(id), &json!("queued"))
    );
    server.api.store.cancel(id).await.unwrap();
    let rest = [socket.message().await, socket.message().await];
    assert_eq!(rest.each_ref().map(|said| said["event"].as_str().unwrap()), ["status", "end"]);
    // Nothing of the head of a request is waited for; what a client says is ignored, but for a ping.
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.connection.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i', 0x89, 0x81, 0, 0, 0, 0, b'!']).await.unwrap();
    assert_eq!(socket.frame().await, (10, b"!".to_vec()));
    let mut again =
        Socket::to(&server, &format!("/v1/events/ws?after={}&name=x", rest[0]["id"].as_str().unwrap())).await;
    assert_eq!(again.message().await, rest[1]);
    // With the server's end the connection ends.
    server.stop.cancel();
    assert_eq!(socket.frame().await.0, 8);
}

/// A socket counts as a connection, and its place is free again when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_has_a_place() {
    let server = Server::with(config::Server { max_connections: 1, ..config::Server::default() }).await;
    let socket = Socket::to(&server, "/v1/events/ws").await;
    let mut other = server.connect().await;
    other.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(500), other.read(&mut byte)).await.is_err(), "it has to wait");
    drop(socket);
    assert_eq!(Reply::read(&mut other).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_97_a_web_socket_from_elsewhere() {
    let server = Server::start().await;
    submitted(&server, "secret").await;
    for origin in ["https://evil.example", "null", "http://localhost.evil.example", "file://"] {
        let (_, head) = shake_hands(&server, "/v1/events/ws?after=0", &format!("Origin: {origin}\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{origin}: {head}");
    }
    let (_, head) = shake_hands(&server, "/v1/events/ws", "Origin: http://127.0.0.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// Who sees its own jobs alone is told of those alone; and of none when its token holds no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_100_each_is_told_of_its_own_jobs() {
    let server = guarded().await;
    let (ann, bob, reader) =
        (key(&server, "ann", "submit").await, key(&server, "bob", "submit").await, key(&server, "all", "read").await);
    let listen =
        async |key: &Key| Listener::with(&server, Stream::request_with("/v1/events", None, &key.header())).await;
    let (mut anns, mut bobs, mut all) = (listen(&ann).await, listen(&bob).await, listen(&reader).await);
    let submit = async |key: &Key| {
        let job = NewJob { name: "x".into(), user_id: key.token.user_id, ..NewJob::default() };
        server.api.store.submit(job).await.unwrap()
    };
    let (hers, his) = (submit(&ann).await, submit(&bob).await);
    let of = |said: &[Said]| said.iter().map(|said| said.data["jobID"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(of(&all.some(2).await), [hers, his]);
    assert_eq!((of(&anns.some(1).await), of(&bobs.some(1).await)), (vec![hers], vec![his]));
    assert!(server.api.store.revoke_token(bob.token.id).await.unwrap());
    server.api.gate.forget();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for id in [hers, his] {
        server.api.store.cancel(id).await.unwrap();
    }
    assert_eq!(of(&all.some(4).await), [hers, hers, his, his]);
    assert_eq!(of(&anns.some(2).await), [hers, hers], "the token of another one");
    assert_eq!(bobs.rest().await, []);
}
