use std::convert::Infallible;

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jobmgr::store::Store;
use serde_json::json;

use crate::history::fill;
use crate::setup::{REPEATS, home, median, post, quiet, rate, rate_at};
use crate::support::client::Client;

const JSON: &str = "Content-Type: application/json\r\n";
/// How many jobs a batch has.
const BATCH: usize = 1000;

/// What `/v1` answers in a second, and how long a page of jobs takes among a million.
pub fn v1() {
    submissions();
    reads();
    pages();
}

/// With the worker held by a gate, so that what is measured is the submission; beside the classic endpoint.
fn submissions() {
    let home = home(1);
    let server = quiet(&home);
    let gate = post(&mut server.client(), "gate");
    server.wait_for(gate, "started");
    let body = json!({ "name": "noop" }).to_string();
    let (mut classic, mut new) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        classic.push(rate(&server, 16, 500, |client| {
            post(client, "noop");
        }));
        new.push(rate(&server, 16, 500, |client| sent(client, "/v1/jobs", &body)));
    }
    let (classic, new) = (median(classic), median(new));
    println!("submissions on 16 connections: /v1 {new:.0}/s, classic {classic:.0}/s; ratio {:.2}", new / classic);
    let batch = json!({ "jobs": vec![json!({ "name": "noop" }); BATCH] }).to_string();
    let rates = (0..REPEATS).map(|_| rate(&server, 2, 5, |client| sent(client, "/v1/jobs/batch", &batch)));
    println!("jobs in batches of {BATCH}, 2 connections: {:.0}/s", median(rates.collect()) * BATCH as f64);
}

fn sent(client: &mut Client, path: &str, body: &str) {
    let answer = client.try_send("POST", path, JSON, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
}

/// Beside a bare server in this process that makes one keyed read through the same store's pool.
fn reads() {
    let home = home(1);
    let server = quiet(&home);
    let id = server.start("noop", json!({}));
    server.wait(id);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bare = runtime.block_on(async {
        let (store, listener) = (home.store().await, tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, store, id));
        address
    });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        theirs.push(rate_at(bare, 16, 1000, |client| assert_eq!(client.get("/").status, 200)));
        ours.push(rate(&server, 16, 1000, |client| {
            assert_eq!(client.get(&format!("/v1/jobs/{id}")).status, 200);
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "GET /v1/jobs/ID, 16 connections: {ours:.0}/s, a bare keyed read {theirs:.0}/s; ratio {:.2}",
        ours / theirs
    );
}

async fn serve(listener: tokio::net::TcpListener, store: Store, id: i64) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        drop(stream.set_nodelay(true));
        let store = store.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |_: hyper::Request<Incoming>| {
                let store = store.clone();
                async move {
                    let status = store.status(id).await.unwrap();
                    Ok::<_, Infallible>(hyper::Response::new(Text(Some(Bytes::from(format!("{status:?}"))))))
                }
            });
            drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

/// A body that is there as a whole.
struct Text(Option<Bytes>);

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|text| Ok(Frame::data(text))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0.as_ref().map_or(0, |text| text.len() as u64))
    }
}

/// Pages of 50 among a million ended jobs: the first, and one in the middle.
fn pages() {
    let home = home(1);
    quiet(&home).kill();
    fill(&home);
    let server = quiet(&home);
    let mut client = server.client();
    let first = client.get("/v1/jobs?limit=50").json();
    assert_eq!(first["items"].as_array().unwrap().len(), 50);
    let next = first["next"].as_str().unwrap().to_owned();
    for (what, path) in [
        ("the newest", "/v1/jobs?limit=50".to_owned()),
        ("the next", format!("/v1/jobs?limit=50&cursor={next}")),
        ("by status", "/v1/jobs?limit=50&status=completed".to_owned()),
        ("by name", "/v1/jobs?limit=50&name=old".to_owned()),
    ] {
        let times = (0..101).map(|_| {
            let start = std::time::Instant::now();
            assert_eq!(client.get(&path).status, 200);
            start.elapsed().as_secs_f64() * 1e3
        });
        println!("50 of 1,000,000 jobs, {what}: median {:.2} ms", median(times.collect()));
    }
}
