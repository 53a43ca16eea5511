//! Output that is too much to be kept whole: its beginning, a line that tells of the gap, its end.

use super::job::{Log, LogBody};

/// The line that stands for what is left out.
pub fn note(bytes: u64) -> String {
    format!("\n[jobmgr: {bytes} bytes left out here]\n")
}

/// How many bytes of a stream are kept, the note of a gap among them.
pub fn size(log: &Log) -> u64 {
    match &log.body {
        LogBody::Inline(bytes) => bytes.len() as u64,
        LogBody::Object { size, .. } => *size,
    }
}

/// Where in what is kept of a stream its byte number `byte` is. Of one that is left out, the place of the note; where
/// only the end is kept, and no note, the beginning of that.
pub fn place(log: &Log, byte: u64) -> u64 {
    let size = size(log);
    if byte >= log.written {
        return size;
    }
    if size == log.written {
        return byte;
    }
    match cap(size, log.written).filter(|_| matches!(log.body, LogBody::Object { .. })) {
        Some(cap) if byte < cap / 2 => byte,
        Some(cap) if log.written - byte <= cap - cap / 2 => size - (log.written - byte),
        Some(cap) => cap / 2,
        None => size.saturating_sub(log.written - byte),
    }
}

/// A run of a stream's own bytes in what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The number of its first byte in the stream.
    pub start: u64,
    /// Where it is in what is kept.
    pub kept: std::ops::Range<u64>,
}

/// What is kept of a stream without the note: its beginning and its end, or all of it.
pub fn runs(log: &Log) -> Vec<Run> {
    let size = size(log);
    let end = |kept: std::ops::Range<u64>| Run { start: log.written.saturating_sub(kept.end - kept.start), kept };
    match cap(size, log.written).filter(|_| size < log.written && matches!(log.body, LogBody::Object { .. })) {
        Some(cap) => vec![Run { start: 0, kept: 0..cap / 2 }, end(size - (cap - cap / 2)..size)],
        None => vec![end(0..size)],
    }
}

/// How many bytes of the stream itself are in an object of this size.
fn cap(size: u64, written: u64) -> Option<u64> {
    let fits = |length: &u64| {
        let left_out = size.checked_sub(*length).and_then(|cap| written.checked_sub(cap));
        left_out.is_some_and(|left_out| note(left_out).len() as u64 == *length)
    };
    let shortest = note(0).len() as u64;
    (shortest..shortest + 20).find(fits).map(|length| size - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(written: u64, size: u64) -> Log {
        Log { written, body: LogBody::Object { key: "k".into(), size } }
    }

    #[test]
    fn every_byte_is_where_it_was_put() {
        let whole = object(1000, 1000);
        assert_eq!([0, 999, 1000, 2000].map(|byte| place(&whole, byte)), [0, 999, 1000, 1000]);
        for cap in [100, 101, 128 << 10] {
            for written in [cap + 1, cap + 9, cap + 10, 3 * cap, 1000 * cap] {
                let size = cap + note(written - cap).len() as u64;
                let cut = object(written, size);
                assert_eq!(place(&cut, 0), 0);
                assert_eq!(place(&cut, cap / 2 - 1), cap / 2 - 1);
                assert_eq!(place(&cut, cap / 2), cap / 2, "left out: the note");
                assert_eq!(place(&cut, written - (cap - cap / 2)), size - (cap - cap / 2), "the first after the gap");
                assert_eq!(place(&cut, written - 1), size - 1);
                assert_eq!(place(&cut, written), size);
            }
        }
    }

    #[test]
    fn runs_are_what_the_stream_had() {
        let run = |start, kept| Run { start, kept };
        assert_eq!(runs(&object(1000, 1000)), [run(0, 0..1000)]);
        assert_eq!(runs(&Log { written: 1000, body: LogBody::Inline(vec![b'x'; 100]) }), [run(900, 0..100)]);
        assert_eq!(runs(&Log::default()), [run(0, 0..0)]);
        let size = 101 + note(899).len() as u64;
        assert_eq!(runs(&object(1000, size)), [run(0, 0..50), run(949, size - 51..size)]);
    }

    #[test]
    fn of_an_end_the_rest_is_found() {
        let end = Log { written: 1000, body: LogBody::Inline(vec![b'x'; 100]) };
        assert_eq!([0, 900, 950, 1000].map(|byte| place(&end, byte)), [0, 0, 50, 100]);
    }
}
