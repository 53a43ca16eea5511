//! How slow a client may be. hyper closes a connection that is idle between requests; it does not tell that wait from
//! a half-sent head, and knows no limit for bodies or for clients that stop reading. These are here.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long each wait may be.
#[derive(Clone, Copy)]
pub struct Limits {
    /// A request's head, from its first byte (on a new connection: from the connection).
    pub head: Duration,
    /// A connection, for its next request.
    pub idle: Duration,
    /// A pause in a body.
    pub pause: Duration,
    /// A client that takes nothing of its answer.
    pub stall: Duration,
}

/// What clients are given.
pub const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    pause: Duration::from_secs(30),
    stall: Duration::from_secs(60),
};

/// Where a connection stands; shared by its stream and its service.
pub struct Phase(AtomicU8);

const WAITING: u8 = 0;
const READING_HEAD: u8 = 1;
const ANSWERING: u8 = 2;

impl Phase {
    /// A new connection: its first request is due.
    pub fn new() -> Arc<Phase> {
        Arc::new(Phase(AtomicU8::new(READING_HEAD)))
    }

    /// A request's head is complete.
    pub fn answering(&self) {
        self.0.store(ANSWERING, Ordering::Relaxed);
    }

    /// Its answer is on the way; what comes now is the next request.
    pub fn waiting(&self) {
        self.0.store(WAITING, Ordering::Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Relaxed) == phase
    }
}

/// A connection that fails with `TimedOut` when its client is too slow. Timers are made only when there is a wait.
pub struct PacedStream<S> {
    stream: S,
    phase: Arc<Phase>,
    limits: Limits,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> PacedStream<S> {
    /// Paces `stream`.
    pub fn new(stream: S, phase: Arc<Phase>, limits: Limits) -> Self {
        Self { stream, phase, limits, head: None, stall: None }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        ready!(wait(&mut self.stall, self.limits.stall, cx));
        Poll::Ready(Err(too_slow("the client does not read its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if result.is_ready() {
            if this.phase.is(WAITING) {
                this.phase.0.store(READING_HEAD, Ordering::Relaxed);
                this.head = None;
            }
            return result;
        }
        if !this.phase.is(READING_HEAD) {
            this.head = None;
            return Poll::Pending;
        }
        ready!(wait(&mut this.head, this.limits.head, cx));
        Poll::Ready(Err(too_slow("the request's head is not complete")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An encrypted stream may hold what it has taken.
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, result)
    }
}

/// A request's body that fails with `TimedOut` when it pauses for too long.
pub struct PacedBody<S> {
    body: Pin<Box<S>>,
    limit: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> PacedBody<S> {
    /// Paces `body`.
    pub fn new(body: S, limits: Limits) -> Self {
        Self { body: Box::pin(body), limit: limits.pause, pause: None }
    }
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for PacedBody<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let result = self.body.as_mut().poll_next(cx);
        if result.is_ready() {
            self.pause = None;
            return result;
        }
        let limit = self.limit;
        ready!(wait(&mut self.pause, limit, cx));
        Poll::Ready(Some(Err(too_slow("the request's body does not go on"))))
    }
}

fn wait(timer: &mut Option<Pin<Box<Sleep>>>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
    timer.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, timeout};

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);
    const LONG: Duration = Duration::from_secs(60);
    const NONE: Limits = Limits { head: LONG, idle: LONG, pause: LONG, stall: LONG };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn row_19_a_head_that_stops_is_given_up() {
        let (mut client, server) = pair().await;
        let mut paced = PacedStream::new(server, Phase::new(), Limits { head: SHORT, ..NONE });
        client.write_all(b"GET /").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(paced.read(&mut buf).await.unwrap(), 5);
        let start = Instant::now();
        assert_eq!(paced.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn row_19_a_head_that_trickles_is_given_up() {
        let (mut client, server) = pair().await;
        let phase = Phase::new();
        phase.waiting();
        let mut paced = PacedStream::new(server, phase, Limits { head: SHORT, ..NONE });
        let trickle = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(SHORT / 6).await
            }
        });
        let mut buf = [0; 64];
        let failure = loop {
            if let Err(failure) = paced.read(&mut buf).await {
                break failure;
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        trickle.abort();
    }

    #[tokio::test]
    async fn an_answer_may_take_its_time() {
        let (_client, server) = pair().await;
        let phase = Phase::new();
        let mut paced = PacedStream::new(server, phase.clone(), Limits { head: SHORT, ..NONE });
        let mut buf = [0; 64];
        for enter in [Phase::answering, Phase::waiting] {
            enter(&phase);
            assert!(timeout(SHORT * 3, paced.read(&mut buf)).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (_client, server) = pair().await;
        let mut paced = PacedStream::new(server, Phase::new(), Limits { stall: SHORT, ..NONE });
        let block = vec![0; 1 << 20];
        let failure = loop {
            if let Err(failure) = paced.write_all(&block).await {
                break failure;
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn row_19_a_body_may_pause_but_not_for_long() {
        let slow = stream::iter([0, 1, 8]).then(|pause| async move {
            sleep(SHORT / 2 * pause).await;
            Ok(Bytes::from_static(b"x"))
        });
        let mut body = PacedBody::new(slow, Limits { pause: SHORT, ..NONE });
        assert!(body.next().await.unwrap().is_ok());
        assert!(body.next().await.unwrap().is_ok());
        assert_eq!(body.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
