//! A job's output as text: its beginning.

use futures_util::TryStreamExt;

use crate::blobs::{BlobError, Blobs};
use crate::domain::job::{Log, LogBody};

/// At most `limit` bytes of the beginning of a log as text, never half a character, and whether the job wrote more. Bytes
/// that are not UTF-8 become U+FFFD.
///
/// # Errors
/// When the log is in the store and the store can't be read. One that is no longer there is empty.
pub async fn beginning(log: Log, limit: u64, blobs: &Blobs) -> Result<(String, bool), BlobError> {
    let bytes = match log.body {
        LogBody::Inline(bytes) => bytes,
        LogBody::Object { key, size } => match read_start(blobs, &key, size.min(limit)).await {
            Err(BlobError::Missing(key)) => {
                tracing::warn!(key, "a job's output is gone from the store");
                Vec::new()
            }
            read => read?,
        },
    };
    let cut = log.written > limit;
    Ok((text(bytes, limit, cut), cut))
}

async fn read_start(blobs: &Blobs, key: &str, length: u64) -> Result<Vec<u8>, BlobError> {
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut stream = blobs.get(key, Some(0..length)).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// `cut`: the job wrote more than `limit`, so the end may be in the middle of a character.
fn text(mut bytes: Vec<u8>, limit: u64, cut: bool) -> String {
    bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    if cut {
        bytes.truncate(bytes.len() - half_character(&bytes));
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(failure) => String::from_utf8_lossy(failure.as_bytes()).into_owned(),
    }
}

/// How many bytes at the end begin a character that does not end.
pub fn half_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000) else { return 0 };
    let unfinished = std::str::from_utf8(&tail[lead..]).is_err_and(|failure| failure.error_len().is_none());
    if unfinished { tail.len() - lead } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_between_characters() {
        let whole = "aé日😀";
        for limit in 0..whole.len() {
            let cut = text(whole.as_bytes().to_vec(), limit as u64, true);
            assert!(whole.starts_with(&cut), "{limit}: {cut:?}");
            assert!(limit - cut.len() < 4, "{limit}: {cut:?}");
        }
        assert_eq!(text(whole.into(), 100, false), whole);
        assert_eq!(text(b"abc".to_vec(), 3, true), "abc");
    }

    #[test]
    fn other_bytes_are_shown_as_such() {
        assert_eq!(text(b"a\xffb".to_vec(), 100, false), "a\u{fffd}b");
        assert_eq!(text(b"a\xe6\x97".to_vec(), 100, false), "a\u{fffd}");
        assert_eq!(text(b"a\xff\xff\xff\xff".to_vec(), 3, true), "a\u{fffd}\u{fffd}");
        assert_eq!(text(vec![0x80; 8], 4, true), "\u{fffd}".repeat(4));
    }
}
