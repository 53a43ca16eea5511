//! Bytes as they come, until the job ends: what is in the database while it runs, then the rest of what is kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream};
use poem::Body;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::super::Api;
use super::source::{self, Asked, Source};
use super::{LogsAnswer, Raw, kept, live};
use crate::blobs::BlobError;
use crate::domain::gap;
use crate::domain::job::{Log, Status};
use crate::store::StoreError;

/// How often the database is asked for more.
const EVERY: Duration = Duration::from_millis(250);
/// How long it may fail before the answer breaks off.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a reader is.
struct Follower {
    api: Arc<Api>,
    closing: CancellationToken,
    asked: Asked,
    attempt: i64,
    /// The next byte of the attempt.
    at: u64,
    /// What is left of an attempt that is over.
    rest: Option<BoxStream<'static, Result<Bytes, BlobError>>>,
    then: Then,
    /// The database fails since then.
    failing: Option<Instant>,
}

/// What follows on the rest of an attempt.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Next,
    End,
}

/// What a look has found.
enum Found {
    Bytes(Bytes),
    /// Something that can be sent on, or another attempt.
    More,
    Nothing,
    End,
    /// An object that could not be read to its end.
    Broken(BlobError),
}

/// Answers with everything from the beginning of the attempt on.
pub(super) fn send(api: &Arc<Api>, closing: &CancellationToken, asked: &Asked, source: Source) -> LogsAnswer {
    let attempt = match source {
        Source::Kept { attempt, .. } | Source::Last { attempt, .. } | Source::Running { attempt } => attempt,
        Source::Nothing => 1,
    };
    let follower = Follower {
        api: Arc::clone(api),
        closing: closing.clone(),
        asked: Asked { id: asked.id, attempt: asked.attempt, stream: asked.stream },
        attempt,
        at: 0,
        rest: None,
        then: Then::Next,
        failing: None,
    };
    let pieces = stream::try_unfold(follower, Follower::next);
    LogsAnswer::Whole(Raw::of(Body::from_bytes_stream(pieces), "no-store"))
}

impl Follower {
    /// The next bytes; `None` at the end.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            let found = match self.look().await {
                Ok(found) => {
                    self.failing = None;
                    found
                }
                Err(error) if self.failing.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                    tracing::debug!(job = self.asked.id, %error, "a job's output can't be read now");
                    Found::Nothing
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            match found {
                Found::Bytes(bytes) => return Ok(Some((bytes, self))),
                Found::More => {}
                Found::End => return Ok(None),
                Found::Broken(error) => return Err(io::Error::other(error)),
                Found::Nothing => tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    // It must not look like the job's end.
                    () = self.closing.cancelled() => return Err(io::Error::other("the server ends")),
                },
            }
        }
    }

    async fn look(&mut self) -> Result<Found, StoreError> {
        if let Some(rest) = &mut self.rest {
            return Ok(match rest.try_next().await {
                Ok(Some(bytes)) => Found::Bytes(bytes),
                Ok(None) => self.after_the_rest(),
                Err(error) => Found::Broken(error),
            });
        }
        let store = self.api.store.clone();
        let Some((status, last)) = store.status(self.asked.id).await? else { return Ok(Found::End) };
        if last < self.attempt {
            // It waits for its next attempt, which may never come.
            return Ok(if status.is_terminal() { Found::End } else { Found::Nothing });
        }
        if last > self.attempt || status != Status::Started {
            return self.begin_the_rest().await;
        }
        let piece = store.live(self.asked.id, self.attempt, self.asked.stream, self.at).await?;
        if piece.bytes.is_empty() {
            return Ok(Found::Nothing);
        }
        let mut bytes = live::missing(self.at, &piece);
        self.at = piece.start + piece.bytes.len() as u64;
        bytes.extend(piece.bytes);
        Ok(Found::Bytes(bytes.into()))
    }

    /// The attempt is over: what was not sent of it follows, as it is kept.
    async fn begin_the_rest(&mut self) -> Result<Found, StoreError> {
        let asked = Asked { id: self.asked.id, attempt: Some(self.attempt), stream: self.asked.stream };
        let source = source::find(&self.api.store, &asked).await;
        let (log, then) = match source {
            Ok(Source::Last { log, .. }) => (log, Then::End),
            Ok(Source::Kept { log, .. }) => (log, if self.asked.attempt.is_some() { Then::End } else { Then::Next }),
            // It has changed meanwhile.
            Ok(Source::Running { .. } | Source::Nothing) => return Ok(Found::More),
            Err(_) => return Err(StoreError::Unavailable("the job can't be read".into())),
        };
        let part = gap::place(&log, self.at)..gap::size(&log);
        let missing = self.missing(&log);
        self.rest = Some(match kept::bytes(&self.api.blobs, log, part).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(StoreError::Unavailable(error.to_string())),
        });
        self.then = then;
        Ok(missing.map_or(Found::More, |line| Found::Bytes(line.into())))
    }

    /// The line for what is lost between what was sent and an end that is all that is kept.
    fn missing(&self, log: &Log) -> Option<String> {
        let first = log.written.saturating_sub(gap::size(log));
        let is_end = matches!(log.body, crate::domain::job::LogBody::Inline(_));
        (is_end && first > self.at).then(|| gap::note(first - self.at))
    }

    fn after_the_rest(&mut self) -> Found {
        if self.then == Then::End {
            return Found::End;
        }
        self.rest = None;
        self.attempt += 1;
        self.at = 0;
        Found::More
    }
}
