//! Answers that go on: messages as they come, and a comment now and then.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;

use super::message::Message;
use super::right::Right;

/// How often something is sent at least, so that nobody between us and the client takes the connection for dead.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client should wait before it comes again.
const COME_AGAIN: &str = "retry: 1000\n\n";

/// Where messages come from.
pub trait Source: Send + 'static {
    /// The next ones, none when there was nothing for a [`HEARTBEAT`]; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Vec<Message>>> + Send;
}

/// An answer of Server-Sent Events.
pub struct Sse(Response);

/// Answers with what a source gives, as long as the client may have it. Nothing is read from it before the client has
/// taken what came before.
pub fn send(source: impl Source, right: Right) -> Sse {
    let pieces = stream::unfold((source, right, true), |(mut source, mut right, first)| async move {
        if first {
            return Some((Ok::<_, io::Error>(Bytes::from_static(COME_AGAIN.as_bytes())), (source, right, false)));
        }
        let messages = source.next().await?;
        if !right.lasts().await {
            return None;
        }
        let mut text = String::new();
        messages.iter().for_each(|message| message.to_sse(&mut text));
        if text.is_empty() {
            text.push_str(":\n\n");
        }
        Some((Ok(text.into()), (source, right, false)))
    });
    answer(Body::from_bytes_stream(pieces))
}

/// Answers with nothing. It has the type of the others all the same: generators of clients take answers of one kind.
pub fn none() -> Sse {
    answer(Body::empty())
}

fn answer(body: Body) -> Sse {
    let response = Response::builder()
        .header("content-type", Sse::CONTENT_TYPE)
        .header("cache-control", "no-store")
        .header("x-accel-buffering", "no")
        .header("x-content-type-options", "nosniff");
    Sse(response.body(body))
}

impl Payload for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }

    fn register(_registry: &mut Registry) {}
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        self.0
    }
}
