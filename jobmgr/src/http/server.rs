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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;
use super::pace::{LIMITS, PacedBody, PacedStream, Phase};
use super::tls::Tls;
use crate::metrics;

/// How long requests in flight may take after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, mostly because all file descriptors are in use.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The largest head of a request in bytes; also the largest piece that is read at once.
const MAX_HEAD: usize = 64 << 10;

/// How connections come in.
#[derive(Clone)]
pub struct Ways {
    /// What answers.
    pub front: Arc<Front>,
    /// What encrypts, if anything does.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `shutdown`, at most `limit` connections at once: further ones wait in the listener's backlog.
pub async fn run(listener: TcpListener, ways: Ways, limit: usize, shutdown: CancellationToken) -> io::Result<()> {
    let local = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let stop = Stop { gently: shutdown, now: CancellationToken::new() };

    while let Some(place) = stop.unless_stopped(places.clone().acquire_owned()).await {
        let Ok(place) = place else { break };
        let Some((stream, remote)) = stop.unless_stopped(accept(&listener)).await else { break };
        let connection = Connection { stream, local, remote, ways: ways.clone(), place: Place(Some(Arc::new(place))) };
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
    ways: Ways,
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
        let Connection { stream, local, remote, ways, place } = self;
        let _open = metrics::connection();
        // Small answers should leave at once; a refusal only costs time.
        let _ = stream.set_nodelay(true);
        let scheme = if ways.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let peers = Peers { local, remote, scheme, place };
        let Some(tls) = ways.tls else { return peers.talk(stream, ways.front, stop).await };
        // As long as a head, which can't begin before.
        let handshake = tokio::time::timeout(LIMITS.head, tls.accept(stream));
        let failure = match stop.unless_stopped(handshake).await {
            Some(Ok(Ok(stream))) => return peers.talk(stream, ways.front, stop).await,
            Some(Ok(Err(failure))) => failure.to_string(),
            Some(Err(_)) => "the client did not finish it in time".to_owned(),
            None => return,
        };
        metrics::handshake_failed();
        tracing::debug!(%remote, error = failure, "no TLS handshake");
    }
}

/// Between whom.
#[derive(Clone)]
struct Peers {
    local: SocketAddr,
    remote: SocketAddr,
    scheme: Scheme,
    place: Place,
}

impl Peers {
    /// Answers one request after the other.
    async fn talk<S>(self, stream: S, front: Arc<Front>, stop: Stop)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (phase, remote) = (Phase::new(), self.remote);
        let stream = PacedStream::new(stream, phase.clone(), LIMITS);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(self.place.clone());
            answer(front.clone(), phase.clone(), self.clone(), request)
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
            tracing::debug!(%remote, error = %failure, "connection ended");
        }
    }
}

async fn answer(
    front: Arc<Front>,
    phase: Arc<Phase>,
    peers: Peers,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<impl Body<Data = bytes::Bytes, Error = io::Error>>, Infallible> {
    phase.answering();
    let has_body = !request.body().is_end_stream();
    let (local, remote) = (LocalAddr(peers.local.into()), RemoteAddr(peers.remote.into()));
    let mut request = poem::Request::from((request, local, remote, peers.scheme));
    if has_body {
        let body = PacedBody::new(request.take_body().into_bytes_stream(), LIMITS);
        request.set_body(poem::Body::from_bytes_stream(body));
    }
    let response = front.answer(request).await;
    // What follows on an upgrade is no request.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        phase.waiting();
    }
    Ok(response)
}
