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
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a request's head may take from its first byte (on a new connection: from the connection).
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request.
pub const IDLE: Duration = Duration::from_secs(75);
/// How long a body may pause.
const BODY: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(60);

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
pub struct PacedStream {
    stream: TcpStream,
    phase: Arc<Phase>,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl PacedStream {
    /// Paces `stream`.
    pub fn new(stream: TcpStream, phase: Arc<Phase>) -> Self {
        Self { stream, phase, head: None, stall: None }
    }

    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        ready!(wait(&mut self.stall, STALL, cx));
        Poll::Ready(Err(too_slow("the client does not read its answer")))
    }
}

impl AsyncRead for PacedStream {
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
        ready!(wait(&mut this.head, HEAD, cx));
        Poll::Ready(Err(too_slow("the request's head is not complete")))
    }
}

impl AsyncWrite for PacedStream {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body that fails with `TimedOut` when it pauses for too long.
pub struct PacedBody<S> {
    body: Pin<Box<S>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> PacedBody<S> {
    /// Paces `body`.
    pub fn new(body: S) -> Self {
        Self { body: Box::pin(body), pause: None }
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
        ready!(wait(&mut self.pause, BODY, cx));
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
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_head_that_stops_is_given_up() {
        let (mut client, server) = pair().await;
        let mut paced = PacedStream::new(server, Phase::new());
        client.write_all(b"GET /").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(paced.read(&mut buf).await.unwrap(), 5);
        tokio::time::pause();
        let start = Instant::now();
        assert_eq!(paced.read(&mut buf).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= HEAD && start.elapsed() < HEAD * 2);
    }

    #[tokio::test]
    async fn an_answer_may_take_its_time() {
        let (_client, server) = pair().await;
        let phase = Phase::new();
        phase.answering();
        let mut paced = PacedStream::new(server, phase.clone());
        tokio::time::pause();
        let mut buf = [0; 64];
        assert!(tokio::time::timeout(HEAD * 100, paced.read(&mut buf)).await.is_err());
        phase.waiting();
        assert!(tokio::time::timeout(HEAD * 100, paced.read(&mut buf)).await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (_client, server) = pair().await;
        let mut paced = PacedStream::new(server, Phase::new());
        tokio::time::pause();
        let block = vec![0; 1 << 20];
        let failure = loop {
            if let Err(failure) = paced.write_all(&block).await {
                break failure;
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_pause_but_not_for_long() {
        let chunk = || Ok(Bytes::from_static(b"x"));
        let slow = stream::iter([20, 20, 40]).then(move |pause| async move {
            sleep(Duration::from_secs(pause)).await;
            chunk()
        });
        let mut body = PacedBody::new(slow);
        assert!(body.next().await.unwrap().is_ok());
        assert!(body.next().await.unwrap().is_ok());
        assert_eq!(body.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
