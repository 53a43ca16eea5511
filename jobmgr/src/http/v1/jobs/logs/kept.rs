//! The output of attempts that are over.

use std::io;
use std::ops::Range;

use futures_util::{StreamExt, TryStreamExt};
use poem::Body;
use poem::http::HeaderMap;

use super::super::super::super::range::{Wanted, wanted};
use super::super::super::problem::{Code, Problem};
use super::source::Asked;
use super::{LogsAnswer, Raw, not_there, unavailable};
use crate::blobs::{BlobError, Blobs};
use crate::domain::gap;
use crate::domain::job::{Log, LogBody};

/// Answers with what is kept, or the part that is asked for.
pub(super) async fn send(
    blobs: &Blobs,
    asked: &Asked,
    attempt: i64,
    log: Log,
    headers: &HeaderMap,
) -> Result<LogsAnswer, Problem> {
    let size = gap::size(&log);
    // An attempt that is over never changes.
    let etag = format!("\"{}-{attempt}-{}\"", asked.id, asked.stream.as_str());
    let (part, is_part) = match wanted(headers, size, &etag) {
        Wanted::Unchanged => return Ok(LogsAnswer::Unchanged),
        Wanted::Unsatisfiable => return Ok(not_there(size)),
        Wanted::Whole => (0..size, false),
        Wanted::Part(part) => (part, true),
    };
    let body = body(blobs, log, part.clone()).await.map_err(|error| lost(asked.id, error))?;
    let raw = Raw::of(body, "private").with("etag", etag).with("accept-ranges", "bytes");
    let raw = raw.with("content-length", part.end - part.start);
    if !is_part {
        return Ok(LogsAnswer::Whole(raw));
    }
    let last = part.end - 1;
    Ok(LogsAnswer::Part(raw.with("content-range", format_args!("bytes {}-{last}/{size}", part.start))))
}

async fn body(blobs: &Blobs, log: Log, part: Range<u64>) -> Result<Body, BlobError> {
    Ok(Body::from_bytes_stream(bytes(blobs, log, part).await?.map_err(io::Error::other)))
}

/// A part of what is kept, in pieces.
pub(in super::super) async fn bytes(
    blobs: &Blobs,
    log: Log,
    part: Range<u64>,
) -> Result<futures_util::stream::BoxStream<'static, Result<bytes::Bytes, BlobError>>, BlobError> {
    match log.body {
        LogBody::Object { key, .. } => blobs.get(&key, Some(part)).await,
        LogBody::Inline(bytes) => {
            let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).min(bytes.len());
            let part = bytes[index(part.start)..index(part.end)].to_vec();
            Ok(futures_util::stream::iter([Ok(part.into())]).boxed())
        }
    }
}

fn lost(id: i64, error: BlobError) -> Problem {
    match error {
        BlobError::Missing(key) => {
            tracing::warn!(job = id, key, "a job's output is gone from the store");
            Problem::new(Code::Gone, format!("the output of job {id} is no longer kept"))
        }
        error => unavailable(id, error),
    }
}
