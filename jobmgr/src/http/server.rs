//! The accept loop, and a connection from its start to its end.
//!
//! poem's own server has no limit for heads, bodies, idle time or connections; this one is hyper around poem's
//! request and response types.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::StatusCode;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{FromRequest, Request, RequestBody};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::pace::{LIMITS, PacedBody, PacedStream, Phase};

/// How long requests in flight may take after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, mostly because all file descriptors are in use.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The largest head of a request in bytes; also the largest piece that is read at once.
const MAX_HEAD: usize = 64 << 10;

/// Serves until `shutdown`, at most `limit` connections at once: further ones wait in the listener's backlog.
pub async fn run(
    listener: TcpListener,
    front: Arc<Front>,
    limit: usize,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let stop = Stop { gently: shutdown, now: CancellationToken::new() };

    while let Some(place) = stop.unless_stopped(places.clone().acquire_owned()).await {
        let Ok(place) = place else { break };
        let Some((stream, remote)) = stop.unless_stopped(accept(&listener)).await else { break };
        let place = Place(Some(Arc::new(place)));
        let connection = Connection { stream, local, remote, front: front.clone(), place };
        connections.spawn(connection.serve(stop.clone()));
    }

    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not finish in time");
        stop.now.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The next connection. A lack of file descriptors is waited out; it is told once, not each time.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut told = false;
    loop {
        let failure = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(failure) => failure,
        };
        if matches!(failure.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            continue;
        }
        if !told {
            tracing::warn!(error = %failure, "can't accept connections now");
            told = true;
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// How connections learn that they should end.
#[derive(Clone)]
struct Stop {
    gently: CancellationToken,
    now: CancellationToken,
}

impl Stop {
    async fn unless_stopped<F: Future>(&self, work: F) -> Option<F::Output> {
        self.gently.run_until_cancelled(work).await
    }
}

struct Connection {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    front: Arc<Front>,
    place: Place,
}

/// A place among the connections that are served at once; who goes on with a connection in another protocol keeps it.
#[derive(Clone, Default)]
pub struct Place(#[expect(dead_code, reason = "it is there to be dropped")] Option<Arc<OwnedSemaphorePermit>>);

impl<'a> FromRequest<'a> for Place {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(request.extensions().get().cloned().unwrap_or_default())
    }
}

impl Connection {
    async fn serve(self, stop: Stop) {
        // Small answers should leave at once; a refusal only costs time.
        let _ = self.stream.set_nodelay(true);
        let phase = Phase::new();
        let from = (LocalAddr(self.local.into()), RemoteAddr(self.remote.into()));
        let stream = PacedStream::new(self.stream, phase.clone(), LIMITS);
        let (front, place) = (self.front, self.place);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(place.clone());
            answer(front.clone(), phase.clone(), from.clone(), request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(LIMITS.idle)
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = stop.unless_stopped(connection.as_mut()).await;
        let ended = match ended {
            Some(ended) => Some(ended),
            None => {
                connection.as_mut().graceful_shutdown();
                stop.now.run_until_cancelled(connection).await
            }
        };
        if let Some(Err(failure)) = ended {
            tracing::debug!(remote = %self.remote, error = %failure, "connection ended");
        }
    }
}

async fn answer(
    front: Arc<Front>,
    phase: Arc<Phase>,
    (local, remote): (LocalAddr, RemoteAddr),
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<impl Body<Data = bytes::Bytes, Error = io::Error>>, Infallible> {
    phase.answering();
    let has_body = !request.body().is_end_stream();
    let mut request = poem::Request::from((request, local, remote, Scheme::HTTP));
    if has_body {
        let body = PacedBody::new(request.take_body().into_bytes_stream(), LIMITS);
        request.set_body(poem::Body::from_bytes_stream(body));
    }
    let response = front.answer(request).await;
    // What follows on an upgrade is no request.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        phase.waiting();
    }
    Ok(response.into())
}
