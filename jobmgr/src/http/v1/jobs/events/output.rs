//! What a job writes, as text in pieces that begin and end between characters.

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;

use super::super::super::super::output::half_character;
use super::super::logs::kept;
use crate::blobs::{BlobError, Blobs};
use crate::domain::gap;
use crate::domain::job::Log;

/// How much a message holds, in bytes of the stream.
const PIECE: usize = 32 << 10;

/// The next text of a stream, and how many bytes it stands for. `all`: nothing comes after these bytes, so that half a
/// character at their end stays one.
pub fn text(bytes: &[u8], all: bool) -> (String, usize) {
    let piece = &bytes[..bytes.len().min(PIECE)];
    let whole = if all && piece.len() == bytes.len() { 0 } else { half_character(piece) };
    let piece = &piece[..piece.len() - whole];
    (String::from_utf8_lossy(piece).into_owned(), piece.len())
}

/// What is kept of an attempt that is over, from a byte on.
pub struct Rest {
    log: Log,
    runs: std::collections::VecDeque<gap::Run>,
    bytes: Option<BoxStream<'static, Result<Bytes, BlobError>>>,
    /// What was read and not told yet.
    held: Vec<u8>,
}

impl Rest {
    /// What is kept of a log.
    pub fn of(log: Log) -> Self {
        let runs = gap::runs(&log).into();
        Self { log, runs, bytes: None, held: Vec::new() }
    }

    /// The next text from byte `at` on, and its first byte; `at` is moved on. `None` at the end.
    ///
    /// # Errors
    /// When the store can't be read; trying again goes on. An object that is gone is the end.
    pub async fn next(&mut self, blobs: &Blobs, at: &mut u64) -> Result<Option<(u64, String)>, BlobError> {
        loop {
            if self.held.len() >= PIECE || (self.bytes.is_none() && !self.held.is_empty()) {
                return Ok(Some(self.say(at)));
            }
            match &mut self.bytes {
                Some(bytes) => match bytes.try_next().await {
                    Ok(Some(more)) => self.held.extend_from_slice(&more),
                    Ok(None) => {
                        self.bytes = None;
                        self.runs.pop_front();
                    }
                    Err(error) => {
                        // It is read again from where it was told.
                        (self.bytes, self.held) = (None, Vec::new());
                        return Err(error);
                    }
                },
                None => {
                    let Some(run) = self.runs.front() else { return Ok(None) };
                    let length = run.kept.end - run.kept.start;
                    let skip = at.saturating_sub(run.start);
                    if skip >= length {
                        self.runs.pop_front();
                        continue;
                    }
                    *at = (*at).max(run.start);
                    let part = run.kept.start + skip..run.kept.end;
                    match kept::bytes(blobs, self.log.clone(), part).await {
                        Ok(bytes) => self.bytes = Some(bytes),
                        Err(BlobError::Missing(key)) => {
                            tracing::warn!(key, "a job's output is gone from the store");
                            self.runs.clear();
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn say(&mut self, at: &mut u64) -> (u64, String) {
        let (text, length) = text(&self.held, self.bytes.is_none());
        self.held.drain(..length);
        let start = *at;
        *at += length as u64;
        (start, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut_and_every_byte_counts() {
        let bytes = "a\u{e9}\u{65e5}\u{1F600}".repeat(9000).into_bytes();
        let (mut said, mut at) = (String::new(), 0);
        while at < bytes.len() {
            let (text, length) = text(&bytes[at..], true);
            assert!(length > PIECE - 4 || at + length == bytes.len());
            said.push_str(&text);
            at += length;
        }
        assert_eq!(said.as_bytes(), bytes);
        assert_eq!(text(b"a\xe6\x97", false), ("a".into(), 1));
        assert_eq!(text(b"a\xe6\x97", true), ("a\u{fffd}".into(), 3));
        assert_eq!(text(b"\xff\xfea", false), ("\u{fffd}\u{fffd}a".into(), 3));
    }
}
