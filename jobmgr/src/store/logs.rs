//! Output as it is kept in a column: JSON, with bytes that are no text in base64.

use serde::{Deserialize, Serialize};

use crate::domain::job::{Ended, Log, LogBody, Skipped};

#[derive(Serialize, Deserialize)]
struct Column<'a> {
    written: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default)]
    size: u64,
    /// Of a piece of a running job's output: see [`Chunk`](super::Chunk).
    #[serde(default, skip_serializing_if = "is_none")]
    time: (u64, u64),
}

fn is_none(time: &(u64, u64)) -> bool {
    *time == (0, 0)
}

/// `None` for a stream that nothing was written to.
pub(super) fn to_column(log: &Log) -> Option<String> {
    piece_to_column(log, (0, 0))
}

/// The same for a piece of a running job's output, with the time of its end.
pub(super) fn piece_to_column(log: &Log, time: (u64, u64)) -> Option<String> {
    let mut column = Column { written: log.written, text: None, base64: None, key: None, size: 0, time };
    match &log.body {
        LogBody::Inline(bytes) if bytes.is_empty() && log.written == 0 => return None,
        LogBody::Inline(bytes) => {
            column.size = bytes.len() as u64;
            match std::str::from_utf8(bytes) {
                // JSON writes NUL as \u0000, so no database ever sees one.
                Ok(text) => column.text = Some(text.into()),
                Err(_) => column.base64 = Some(BASE64.encode(bytes)),
            }
        }
        LogBody::Object { key, size } => {
            column.key = Some(key.clone());
            column.size = *size;
        }
    }
    serde_json::to_string(&column).ok()
}

/// The stream that a column holds.
pub(super) fn from_column(column: Option<String>) -> Result<Log, String> {
    piece_from_column(column).map(|(log, _)| log)
}

/// The piece of a running job's output that a column holds, and the time of its end.
pub(super) fn piece_from_column(column: Option<String>) -> Result<(Log, (u64, u64)), String> {
    let Some(column) = column else { return Ok((Log::default(), (0, 0))) };
    let column: Column<'_> = serde_json::from_str(&column).map_err(|error| error.to_string())?;
    let body = match (column.text, column.base64, column.key) {
        (_, _, Some(key)) => LogBody::Object { key, size: column.size },
        (_, Some(base64), _) => LogBody::Inline(BASE64.decode(base64).map_err(|error| error.to_string())?),
        (text, None, None) => LogBody::Inline(text.unwrap_or_default().into_owned().into_bytes()),
    };
    Ok((Log { written: column.written, body }, column.time))
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) skipped: Vec<Skipped>,
    /// A column of its own, so to speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) executor: Option<String>,
}

impl Notes {
    pub(super) fn of(ended: &Ended) -> Self {
        let Ended { warnings, skipped, executor_log, .. } = ended;
        Notes { warnings: warnings.clone(), skipped: skipped.clone(), executor: to_column(executor_log) }
    }
}

/// `None` where there is nothing to note.
pub(super) fn notes_to_column(notes: &Notes) -> Option<String> {
    if notes.warnings.is_empty() && notes.skipped.is_empty() && notes.executor.is_none() {
        return None;
    }
    serde_json::to_string(notes).ok()
}

/// Warnings, the files that were skipped, and what the executor said.
pub(super) fn notes_from_column(column: Option<String>) -> Result<Notes, String> {
    column.map_or_else(|| Ok(Notes::default()), |text| serde_json::from_str(&text).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for bytes in [&b"plain\n"[..], b"a\0b", b"\xff\xfe", "\u{e9}\u{1F600}".as_bytes()] {
            let log = Log { written: bytes.len() as u64, body: LogBody::Inline(bytes.to_vec()) };
            let column = to_column(&log).unwrap();
            assert!(!column.contains('\0'), "no database keeps a NUL in text: {column}");
            assert_eq!(from_column(Some(column)).unwrap(), log);
        }
        assert_eq!(to_column(&Log::default()), None);
        assert_eq!(from_column(None).unwrap(), Log::default());
    }

    #[test]
    fn an_object_keeps_its_place() {
        let log = Log { written: 9_000_000, body: LogBody::Object { key: "jobs/1/1/stdout".into(), size: 8_000_000 } };
        assert_eq!(from_column(to_column(&log)).unwrap(), log);
    }
}
