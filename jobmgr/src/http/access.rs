//! Each request in the log and in the numbers.
//!
//! A line is written when the answer has left, or its client has gone. Nothing that a client wrote gets into it as it
//! is: it is cut, and what a terminal or a reader of lines might take for something else is escaped. The query stays
//! out of it altogether: it may hold a signature.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use poem::http::{HeaderValue, Method};
use poem::{Request, Response};
use tracing::Level;

use super::caller::Caller;
use crate::metrics;

/// How the log names these lines, for `JOBMGR_LOG`.
const TARGET: &str = "access";
/// How many characters of a path are shown.
const PATH: usize = 200;
/// And of a method.
const METHOD: usize = 16;
/// And of a token's name.
const NAME: usize = 100;

/// How requests are told of.
pub struct Access {
    /// At the level `info`, which is shown unless something else is asked for; else at `debug`.
    pub shown: bool,
}

/// A request that is being answered.
pub struct Seen {
    method: Method,
    begun: Instant,
    line: Option<Line>,
}

/// What the log says of it.
struct Line {
    shown: bool,
    begun: Instant,
    method: Method,
    path: String,
    id: String,
    remote: String,
    route: Option<Arc<str>>,
    user: Option<i64>,
    /// The name of the token that was shown.
    token: Option<String>,
    status: u16,
}

/// The template of the path that answers, such as `/v1/jobs/{id}`; put into an answer by whoever routes.
#[derive(Clone)]
pub struct Routed(pub Arc<str>);

impl Access {
    /// Notes a request, of which a line is gathered only where it will be shown.
    pub fn seen(&self, request: &Request, id: &HeaderValue) -> Seen {
        let begun = Instant::now();
        let wanted = match self.shown {
            true => tracing::enabled!(target: TARGET, Level::INFO),
            false => tracing::enabled!(target: TARGET, Level::DEBUG),
        };
        let method = request.method().clone();
        let line = wanted.then(|| Line {
            shown: self.shown,
            begun,
            method: method.clone(),
            path: harmless(request.uri().path(), PATH),
            id: id.to_str().unwrap_or_default().to_owned(),
            remote: request.remote_addr().as_socket_addr().map(ToString::to_string).unwrap_or_default(),
            route: None,
            user: None,
            token: None,
            status: 0,
        });
        Seen { method, begun, line }
    }
}

impl Seen {
    /// Counts the answer, and has it told once it has left.
    pub fn answered(self, response: Response) -> hyper::Response<Told<impl Body<Data = Bytes, Error = io::Error>>> {
        let route = response.extensions().get::<Routed>().map(|routed| Arc::clone(&routed.0));
        let status = response.status().as_u16();
        metrics::request(route.as_deref().unwrap_or_default(), self.method.as_str(), status, self.begun.elapsed());
        let line = self.line.map(|line| {
            let caller = response.extensions().get::<Caller>();
            let token = caller.and_then(|caller| caller.token.as_ref()).map(|token| harmless(&token.name, NAME));
            Line { route, user: caller.map(|caller| caller.user_id), token, status, ..line }
        });
        let response: hyper::Response<_> = response.into();
        response.map(|body| Told { body, sent: 0, line })
    }
}

/// An answer's body, which tells of its request when it is dropped.
pub struct Told<B> {
    body: B,
    sent: u64,
    line: Option<Line>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Told<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.write(self.sent);
        }
    }
}

impl Line {
    fn write(self, bytes: u64) {
        let method = harmless(self.method.as_str(), METHOD);
        let route = self.route.as_deref().unwrap_or_default();
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Line { path, id, remote, user, token, status, .. } = self;
        if self.shown {
            tracing::info!(target: TARGET, method, route, path, status, bytes, micros, id, remote, user, token, "request");
        } else {
            tracing::debug!(target: TARGET, method, route, path, status, bytes, micros, id, remote, user, token, "request");
        }
    }
}

/// At most so many characters, each one visible.
fn harmless(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_is_cut_and_escaped() {
        assert_eq!(harmless("/v1/jobs/7", PATH), "/v1/jobs/7");
        assert_eq!(harmless("a\nb\u{1b}[31m\r\t\u{202e}c", PATH), "a\\nb\\u{1b}[31m\\r\\t\\u{202e}c");
        let long = harmless(&"x".repeat(1 << 20), PATH);
        assert!(long.len() < 2 * PATH && long.ends_with('…'), "{}", long.len());
    }
}
