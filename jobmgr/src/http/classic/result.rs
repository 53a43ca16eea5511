//! A job's output as text: the beginning of its standard output and, if it failed, why.

use futures_util::TryStreamExt;

use crate::blobs::{BlobError, Blobs};
use crate::domain::job::{Ended, LogBody, Status};

/// The text of a finished job: at most `limit` bytes of its standard output, never half a character. Bytes that are
/// not UTF-8 become U+FFFD.
///
/// # Errors
/// When the output is in the store and the store can't be read. An output that is no longer there is empty.
pub async fn result(status: Status, ended: &mut Ended, limit: u64, blobs: &Blobs) -> Result<String, BlobError> {
    let bytes = match std::mem::take(&mut ended.stdout.body) {
        LogBody::Inline(bytes) => bytes,
        LogBody::Object { key, size } => match read_start(blobs, &key, size.min(limit)).await {
            Err(BlobError::Missing(key)) => {
                tracing::warn!(key, "a job's output is gone from the store");
                Vec::new()
            }
            read => read?,
        },
    };
    let cut = ended.stdout.written > limit;
    let error = ended.error.take().filter(|_| status != Status::Completed);
    Ok(with_error(text(bytes, limit, cut), error))
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
fn half_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(lead) = tail.iter().rposition(|byte| byte & 0b1100_0000 != 0b1000_0000) else { return 0 };
    let unfinished = std::str::from_utf8(&tail[lead..]).is_err_and(|failure| failure.error_len().is_none());
    if unfinished { tail.len() - lead } else { 0 }
}

/// The output, on lines of its own, and then the error.
fn with_error(mut text: String, error: Option<String>) -> String {
    let Some(error) = error else { return text };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&error);
    text
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

    #[test]
    fn the_error_stands_on_its_own_line() {
        let with = |text: &str, error: Option<&str>| with_error(text.to_owned(), error.map(str::to_owned));
        assert_eq!(with("", Some("exit status 3")), "exit status 3");
        assert_eq!(with("a", Some("exit status 3")), "a\nexit status 3");
        assert_eq!(with("a\n", Some("exit status 3")), "a\nexit status 3");
        assert_eq!(with("a", None), "a");
    }
}
