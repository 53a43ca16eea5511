//! Streams of events through a proxy that cuts every connection after 200 ms, and passes each to another server: no
//! event is missing, none comes twice, and those of a job come in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jobmgr::domain::job::JobId;
use jobmgr::store::Store;
use serde_json::json;

use super::{Database, elsewhere, on_each_database};
use crate::support::long;
use crate::support::server::{Home, PATIENCE, Server};
use crate::support::sse::{Said, Stream};

on_each_database!(no_event_is_missing_and_none_comes_twice);

const CONFIG: &str = "[Worker]\nLease = \"4s\"\nPoll = \"200ms\"\nConcurrency = 4";
/// After which a connection is cut.
const CUT: Duration = Duration::from_millis(200);
/// What a talkative job writes, line by line.
const TALK: &str = "for n in 1 2 3 4 5 6 7 8; do echo \"line $n é日😀\"; echo \"error $n\" >&2; sleep 0.05; done; \
                    echo a > artifacts/a.txt; echo b > artifacts/b.txt";

fn no_event_is_missing_and_none_comes_twice(database: Database) {
    let Some(home) = database.home(CONFIG) else { return };
    home.spec("quick", "Command = \"/bin/true\"");
    home.sh("talk", TALK, "");
    home.sh("flaky", "echo attempt $JOBMGR_ATTEMPT; exit 3", "[Retry]\nMax = 1\nBackoff = \"10ms\"");
    let _workers = [home.worker_by(elsewhere(&home, 1)), home.worker_by(elsewhere(&home, 2))];
    let mut servers = [api(&home), api(&home)];
    let proxy = Proxy::to(servers.each_ref().map(|server| server.address));
    let mut plan = Vec::new();
    for number in 0..if long() { 1000 } else { 100 } {
        plan.push("quick");
        plan.extend((number % 8 == 0).then_some("talk"));
        plan.extend((number % 12 == 0).then_some("flaky"));
    }
    let ids: Vec<(&str, JobId)> = thread::scope(|scope| {
        let all = [0, 1].map(|_| scope.spawn(|| follow_all(&proxy, plan.len())));
        let mut ids = Vec::new();
        let mut own = Vec::new();
        for (number, name) in plan.iter().enumerate() {
            let id = servers[number % 2].start(name, json!({}));
            ids.push((*name, id));
            if *name == "talk" {
                let proxy = &proxy;
                own.push((id, scope.spawn(move || follow_one(proxy, id))));
            }
            // One of the servers dies, and comes again.
            if number == plan.len() / 2 {
                servers[0].kill();
                servers[0] = api(&home);
                *proxy.servers.lock().unwrap() = servers.each_ref().map(|server| server.address);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(home.store());
        for follower in all {
            let said = follower.join().unwrap();
            runtime.block_on(is_whole(&store, &ids, said));
        }
        for (id, follower) in own {
            runtime.block_on(is_whole_talk(&store, id, follower.join().unwrap()));
        }
        ids
    });
    let cuts = proxy.cuts.load(Ordering::Relaxed);
    println!("{} jobs, {cuts} connections were cut", ids.len());
    assert!(cuts > 20, "the proxy cut next to nothing: {cuts} connections");
    proxy.enough.store(true, Ordering::Relaxed);
}

fn api(home: &Home) -> Server {
    home.serve_by(home.jobmgr(&["serve", "--no-worker"]))
}

/// Passes each connection to the next of its servers, and cuts it.
struct Proxy {
    address: SocketAddr,
    servers: &'static Mutex<[SocketAddr; 2]>,
    cuts: &'static AtomicUsize,
    enough: &'static AtomicBool,
}

impl Proxy {
    fn to(servers: [SocketAddr; 2]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            // For the rest of the test's process: its threads end some time after it.
            servers: Box::leak(Box::new(Mutex::new(servers))),
            cuts: Box::leak(Box::default()),
            enough: Box::leak(Box::default()),
        };
        let Proxy { servers, cuts, enough, .. } = proxy;
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if enough.load(Ordering::Relaxed) {
                    return;
                }
                let address = servers.lock().unwrap()[number % 2];
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(address)) else { continue };
                thread::spawn(move || pass(&client, &server, cuts));
            }
        });
        proxy
    }
}

fn pass(client: &TcpStream, server: &TcpStream, cuts: &AtomicUsize) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (mut from, mut to) in [(client, server), (server, client)] {
            let over = &over;
            scope.spawn(move || {
                drop(std::io::copy(&mut from, &mut to));
                over.store(true, Ordering::Relaxed);
                drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
            });
        }
        let until = Instant::now() + CUT;
        while Instant::now() < until && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        if !over.load(Ordering::Relaxed) {
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
    });
}

/// Reads a stream until `enough` says so or it answers with another status than 200, and goes on after each cut.
fn follow(proxy: &Proxy, path: &str, first: Option<&str>, mut enough: impl FnMut(&Said) -> bool) -> Vec<Said> {
    let (mut all, mut last) = (Vec::<Said>::new(), first.map(str::to_owned));
    let until = Instant::now() + 3 * PATIENCE;
    loop {
        assert!(Instant::now() < until, "{path} does not come to its end; {} events", all.len());
        let Ok(mut connection) = TcpStream::connect(proxy.address) else { continue };
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut stream = Stream::default();
        if connection.write_all(Stream::request(path, last.as_deref()).as_bytes()).is_err() {
            continue;
        }
        let mut bytes = [0; 16 << 10];
        while let Ok(read @ 1..) = connection.read(&mut bytes) {
            stream.push(&bytes[..read]);
            assert!(matches!(stream.status(), None | Some(200 | 204 | 503)), "{}", stream.head());
            if stream.status() == Some(503) {
                break;
            }
            while let Some(said) = stream.next() {
                last = said.id.clone().or(last);
                let is_enough = enough(&said);
                all.push(said);
                if is_enough {
                    return all;
                }
            }
        }
    }
}

fn follow_all(proxy: &Proxy, jobs: usize) -> Vec<Said> {
    let mut ended = BTreeSet::new();
    follow(proxy, "/v1/events", Some("0"), |said| {
        if said.kind == "end" {
            assert!(ended.insert(said.data["jobID"].as_i64().unwrap()), "told twice: {said:?}");
        }
        ended.len() == jobs
    })
}

fn follow_one(proxy: &Proxy, id: JobId) -> Vec<Said> {
    follow(proxy, &format!("/v1/jobs/{id}/events"), None, |said| said.kind == "end")
}

/// Status and attempt of each event of a job, as the database has them.
async fn way(store: &Store, id: JobId) -> Vec<(String, i64)> {
    let events = store.events_of(id, 0).await.unwrap();
    events.iter().map(|event| (event.status.as_str().to_owned(), event.attempt)).collect()
}

fn told_way<'s>(said: impl Iterator<Item = &'s Said>) -> Vec<(String, i64)> {
    let statuses = said.filter(|said| said.kind == "status");
    statuses
        .map(|said| (said.data["status"].as_str().unwrap().to_owned(), said.data["attempt"].as_i64().unwrap()))
        .collect()
}

async fn is_whole(store: &Store, ids: &[(&str, JobId)], said: Vec<Said>) {
    let mut of_job = BTreeMap::<JobId, Vec<Said>>::new();
    let mut seen = BTreeSet::new();
    for said in said.into_iter().filter(|said| said.kind != "progress") {
        assert!(seen.insert(said.id.clone().unwrap()), "twice: {said:?}");
        of_job.entry(said.data["jobID"].as_i64().unwrap()).or_default().push(said);
    }
    assert_eq!(of_job.len(), ids.len());
    for (name, id) in ids {
        let said = &of_job[id];
        assert_eq!(told_way(said.iter()), way(store, *id).await, "{name} {id}: each once and in its order");
        let kinds: Vec<&str> = said.iter().rev().take(3).map(|said| said.kind.as_str()).collect();
        let expected = if *name == "talk" { ["end", "artifact", "artifact"] } else { ["end", "status", "status"] };
        assert_eq!(kinds, expected, "{name} {id}");
        assert_eq!(said.iter().filter(|said| said.kind == "artifact").count(), if *name == "talk" { 2 } else { 0 });
    }
}

async fn is_whole_talk(store: &Store, id: JobId, said: Vec<Said>) {
    assert_eq!(told_way(said.iter()), way(store, id).await, "job {id}");
    let names: Vec<_> = said.iter().filter(|said| said.kind == "artifact").map(|said| &said.data["name"]).collect();
    assert_eq!(names, ["a.txt", "b.txt"]);
    for (stream, word) in [("stdout", "line"), ("stderr", "error")] {
        let (mut text, mut attempt) = (String::new(), 0);
        for said in &said {
            if said.kind == "status" && said.data["status"] == "started" {
                (text, attempt) = (String::new(), attempt + 1);
            }
            if said.kind == "log" && said.data["stream"] == stream {
                assert_eq!(said.data["offset"], text.len(), "job {id}: no gap, no repeat");
                text.push_str(said.data["text"].as_str().unwrap());
            }
        }
        let end = if word == "line" { " é日😀" } else { "" };
        let whole: String = (1..=8).map(|number| format!("{word} {number}{end}\n")).collect();
        assert_eq!(text, whole, "job {id}, attempt {attempt}");
    }
}
