//! Bodies of requests, read up to a limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use poem::http::header::{CONTENT_LENGTH, EXPECT};
use poem::{Request, RequestBody};

/// How much of a larger body is read and thrown away, so that a client that sends before it reads gets its answer.
const MAX_SKIPPED: u64 = 64 << 20;
/// For how long.
const MAX_SKIPPING: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is larger than it may be.
    TooLarge,
    /// The client went away or stopped sending.
    Incomplete,
}

/// The type of a request's body in small letters, without what follows it; empty: none is given.
pub fn content_type(request: &Request) -> String {
    let kind = request.content_type().unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body, of at most `max` bytes.
pub async fn read(request: &Request, body: &mut RequestBody, max: u64) -> Result<Bytes, Unreadable> {
    let body = body.take().map_err(|_| Unreadable::Incomplete)?;
    let announced = request.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) && waits(request) {
        // This client waits to be asked for its body; it is not.
        return Err(Unreadable::TooLarge);
    }
    let mut stream = std::pin::pin!(body.into_bytes_stream());
    let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| Unreadable::Incomplete)?;
    if announced == Some(first.len() as u64) && first.len() as u64 <= max {
        // Nearly every body arrives in one piece.
        return Ok(first);
    }
    let mut whole = BytesMut::new();
    let mut next = Some(Ok(first));
    while let Some(piece) = next {
        let piece = piece.map_err(|_| Unreadable::Incomplete)?;
        if (whole.len() + piece.len()) as u64 > max {
            drop(whole);
            skip(stream, false).await;
            return Err(Unreadable::TooLarge);
        }
        whole.extend_from_slice(&piece);
        next = stream.next().await;
    }
    Ok(whole.freeze())
}

/// Whether the client waits to be asked for its body.
pub fn waits(request: &Request) -> bool {
    request.headers().contains_key(EXPECT)
}

/// Reads some of a body that is refused, unless the client waits to be asked for it.
pub async fn skip(stream: impl Stream<Item = std::io::Result<Bytes>> + Unpin, waits: bool) {
    if !waits {
        // Whether it ends or is given up, the answer is the same.
        let _ = tokio::time::timeout(MAX_SKIPPING, skip_some(stream)).await;
    }
}

async fn skip_some(mut stream: impl Stream<Item = std::io::Result<Bytes>> + Unpin) {
    let mut skipped = 0;
    while let Some(Ok(piece)) = stream.next().await {
        skipped += piece.len() as u64;
        if skipped > MAX_SKIPPED {
            return;
        }
    }
}
