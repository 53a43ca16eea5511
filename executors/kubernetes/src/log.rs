use std::time::Duration;

use futures_util::AsyncBufReadExt;
use jobmgr_plugin_api::runtime::runtime;
use jobmgr_plugin_api::{Context, Logged, Result, Stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;

use crate::api::Log;
use crate::manifest::CONTAINER;

/// More than this of a line without an end is passed on in pieces.
const LONG: usize = 64 << 10;
/// The longest beginning of a line that may be a time.
const STAMP: usize = 40;

/// Where reading goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Position {
    /// The time of the last line of which jobmgr has something, in nanoseconds since 1970; 0: that is not known.
    pub time: u64,
    /// The bytes that jobmgr has of lines of that time; of all lines where it is not known.
    pub bytes: u64,
}

impl Position {
    /// In a process that knows only what jobmgr has.
    pub fn recovered(logged: Logged) -> Self {
        let bytes = if logged.time_ns == 0 { logged.bytes } else { logged.time_bytes };
        Self { time: logged.time_ns, bytes }
    }

    /// What to ask the API server for. It knows seconds only.
    pub fn params(self, follow: bool) -> LogParams {
        let seconds = i64::try_from(self.time / 1_000_000_000).unwrap_or(i64::MAX);
        let since = (self.time > 0).then(|| Timestamp::from_second(seconds).ok()).flatten();
        LogParams {
            container: Some(CONTAINER.into()),
            follow,
            timestamps: true,
            since_time: since,
            ..LogParams::default()
        }
    }

    /// So many more bytes of a line of this time.
    fn passed(&mut self, time: u64, bytes: u64) {
        let before = if time == self.time { self.bytes } else { 0 };
        *self = Self { time, bytes: before + bytes };
    }
}

/// Reads one connection: lines, each with its time in front.
pub struct Reader {
    log: Log,
    lines: Lines,
}

/// How far it came.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// There was something.
    Some,
    /// There is nothing now.
    Quiet,
    /// The connection has ended.
    End,
    /// The connection broke, for this reason.
    Broken(String),
}

impl Reader {
    pub fn new(log: Log, from: Position) -> Self {
        let have = Position { time: from.time, bytes: 0 };
        Self { log, lines: Lines { from, have, skip: from.bytes, pending: Vec::new(), at: At::Start } }
    }

    /// Passes on what comes next, and moves the position; waits for it at most `limit`.
    pub fn next(&mut self, limit: Duration, position: &mut Position, ctx: &Context<'_>) -> Result<Read> {
        let log = &mut self.log;
        match runtime().block_on(async { tokio::time::timeout(limit, piece(log)).await }) {
            Err(_) => Ok(Read::Quiet),
            Ok(Err(error)) => Ok(Read::Broken(error.to_string())),
            Ok(Ok(piece)) if piece.is_empty() => {
                self.lines.pass_on(true, position, ctx)?;
                Ok(Read::End)
            }
            Ok(Ok(piece)) => {
                self.lines.pending.extend_from_slice(&piece);
                self.lines.pass_on(false, position, ctx)?;
                Ok(Read::Some)
            }
        }
    }
}

/// What has come; nothing is lost where this is given up.
async fn piece(log: &mut Log) -> std::io::Result<Vec<u8>> {
    let piece = log.fill_buf().await?.to_vec();
    log.consume_unpin(piece.len());
    Ok(piece)
}

struct Lines {
    from: Position,
    /// What was read so far.
    have: Position,
    /// What is still to be left out, of lines of the time where it goes on.
    skip: u64,
    pending: Vec<u8>,
    at: At,
}

/// What comes next.
#[derive(Clone, Copy)]
enum At {
    /// A line.
    Start,
    /// More of a line of this time.
    In(u64),
    /// More of a line that the kubelet wrote, not the job.
    Foreign,
}

impl Lines {
    /// Passes on all that is whole; `is_all`: nothing comes any more.
    fn pass_on(&mut self, is_all: bool, position: &mut Position, ctx: &Context<'_>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            if let At::Start = self.at {
                match stamp(rest) {
                    Stamp::At(time, length) => {
                        self.at = At::In(time);
                        rest = &rest[length..];
                    }
                    Stamp::None => self.at = At::Foreign,
                    Stamp::Unsure if is_all => self.at = At::Foreign,
                    Stamp::Unsure => break,
                }
            }
            let end = rest.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
            let length = match end {
                Some(end) => end,
                None if is_all || rest.len() >= LONG => rest.len(),
                None => break,
            };
            let (data, after) = rest.split_at(length);
            self.give(data, position, ctx)?;
            rest = after;
            if end.is_some() {
                self.at = At::Start;
            }
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    fn give(&mut self, data: &[u8], position: &mut Position, ctx: &Context<'_>) -> Result<()> {
        let At::In(time) = self.at else { return ctx.log(Stream::Executor, data) };
        if time < self.from.time {
            return Ok(());
        }
        if self.from.time != 0 && time > self.from.time {
            self.skip = 0;
        }
        let skipped = self.skip.min(data.len() as u64);
        self.skip -= skipped;
        let new = &data[skipped as usize..];
        if !new.is_empty() {
            ctx.log_at(Stream::Stdout, time, new)?;
        }
        self.have.passed(time, data.len() as u64);
        // While something is left out jobmgr has more than was read.
        if self.skip == 0 {
            *position = self.have;
        }
        Ok(())
    }
}

enum Stamp {
    /// This time, and the bytes that it takes.
    At(u64, usize),
    None,
    /// More of the line must come first.
    Unsure,
}

fn stamp(line: &[u8]) -> Stamp {
    let begin = &line[..line.len().min(STAMP)];
    let Some(end) = begin.iter().position(|byte| b" \n".contains(byte)) else {
        return if line.len() < STAMP { Stamp::Unsure } else { Stamp::None };
    };
    let time = std::str::from_utf8(&begin[..end]).ok().and_then(|text| text.parse::<Timestamp>().ok());
    match time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()) {
        // An empty line may have no space after its time.
        Some(time) if begin[end] == b'\n' => Stamp::At(time, end),
        Some(time) => Stamp::At(time, end + 1),
        None => Stamp::None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use std::time::Duration;

    use futures_util::io::Cursor;
    use jobmgr_plugin_api::test::Host;

    use super::{Position, Read, Reader};

    const LOG: &str = "2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:00.5Z two\n2026-01-01T01:00:01+01:00 three\n\
                       unable to retrieve container logs\n2026-01-01T00:00:02Z \n2026-01-01T00:00:03Z last";

    fn read(log: &str, from: Position) -> (String, String, Position) {
        let (host, mut position) = (Host::default(), from);
        let mut reader = Reader::new(Box::pin(Cursor::new(log.as_bytes().to_vec())), from);
        while reader.next(Duration::from_secs(60), &mut position, &host.context()).unwrap() == Read::Some {}
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(host.stdout()), text(host.executor_log()), position)
    }

    #[test]
    fn times_are_cut_off_and_the_kubelets_own_words_go_elsewhere() {
        let (stdout, executor, _) = read(LOG, Position::default());
        assert_eq!(stdout, "one\ntwo\nthree\n\nlast");
        assert_eq!(executor, "unable to retrieve container logs\n");
    }

    #[test]
    fn it_goes_on_after_any_byte() {
        let whole = read(LOG, Position::default()).0;
        for bytes in 0..=whole.len() {
            let (rest, ..) = read(LOG, Position { time: 0, bytes: bytes as u64 });
            assert_eq!(rest, whole[bytes..], "{bytes}");
        }
    }

    #[test]
    fn it_goes_on_after_any_break_also_where_the_beginning_is_gone() {
        let whole = read(LOG, Position::default()).0;
        for cut in 0..=LOG.len() {
            let (before, _, position) = read(&LOG[..cut], Position::default());
            let (after, ..) = read(LOG, position);
            assert_eq!(before + &after, whole, "{cut}");
            let (_, _, position) = read(LOG, Position::default());
            assert_eq!(read(&LOG[LOG.len() - 25..], position).0, "");
        }
    }
}
