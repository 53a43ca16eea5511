//! The container's output from a byte on.
//!
//! Engines know times, not positions, so a log is read from its beginning and what jobmgr has is passed over.

use std::cell::Cell;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use jobmgr_plugin_api::{Context, Logged, Stream};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::outcome::has_ended;

/// How long a container may say nothing before it is asked whether it has ended, and nobody told.
const QUIET: Duration = Duration::from_secs(10);

/// Docker cuts lines into pieces of this size.
const CUT: usize = 16 << 10;

/// How far a log is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The container's end, as it is written.
    TheEnd,
    /// What there is now of a container that may still run.
    Now,
    /// What there is of one that has ended.
    TheLast,
}

/// How much of standard output and standard error jobmgr has.
pub struct Logs {
    given: Cell<[u64; 2]>,
    /// How long the log was when it was read last.
    length: Cell<u64>,
}

impl Logs {
    /// From what an earlier process has handed on.
    pub fn new(logged: &[Logged; 2]) -> Self {
        Self { given: Cell::new([logged[0].bytes, logged[1].bytes]), length: Cell::new(0) }
    }

    /// Hands on what there is; `false`: the engine did not say that this is the end.
    pub async fn read(&self, engine: &Engine, id: &str, ctx: &Context<'_>, until: Until) -> Result<bool, Failure> {
        let follow = until == Until::TheEnd;
        let what = LogsOptions { follow, stdout: true, stderr: true, tail: "all".into(), ..Default::default() };
        let mut pieces = std::pin::pin!(engine.client.logs(id, Some(what)));
        let mut pass = Pass::default();
        let mut last = None;
        loop {
            let piece = match tokio::time::timeout(QUIET, pieces.next()).await {
                Ok(Some(piece)) => piece?,
                Ok(None) => break,
                Err(_) if follow && engine.inspect(id).await?.as_ref().is_none_or(has_ended) => return Ok(false),
                Err(_) => continue,
            };
            let piece = match piece {
                LogOutput::StdOut { message } => (0, message),
                LogOutput::StdErr { message } => (1, message),
                // A piece without its end, or the engine's own words where output should be.
                LogOutput::Console { .. } | LogOutput::StdIn { .. } => {
                    return Err(Failure::Away("the container's log broke off".into()));
                }
            };
            let next = if until == Until::Now { last.replace(piece) } else { Some(piece) };
            if let Some((stream, message)) = next {
                self.take(engine, ctx, &mut pass, stream, &message)?;
            }
        }
        if let Some((stream, message)) = last {
            // What was being written at this moment may be half a line: it counts when it stays as it is.
            let length = pass.seen.iter().sum::<u64>() + message.len() as u64;
            if self.length.replace(length) == length {
                self.take(engine, ctx, &mut pass, stream, &message)?;
            }
        }
        Ok(true)
    }

    fn take(
        &self,
        engine: &Engine,
        ctx: &Context<'_>,
        pass: &mut Pass,
        stream: usize,
        message: &[u8],
    ) -> Result<(), Failure> {
        if pass.lines[stream].lacks_end(message) && engine.podman.is_none() {
            self.give(ctx, stream, &mut pass.seen, b"\n")?;
        }
        self.give(ctx, stream, &mut pass.seen, message)
    }

    fn give(&self, ctx: &Context<'_>, stream: usize, seen: &mut [u64; 2], message: &[u8]) -> Result<(), Failure> {
        let mut given = self.given.get();
        let old = usize::try_from(given[stream].saturating_sub(seen[stream])).unwrap_or(usize::MAX);
        seen[stream] += message.len() as u64;
        if let Some(new) = message.get(old..).filter(|new| !new.is_empty()) {
            ctx.log([Stream::Stdout, Stream::Stderr][stream], new)?;
            given[stream] = seen[stream];
            self.given.set(given);
        }
        Ok(())
    }
}

/// One reading of the log from its beginning.
#[derive(Default)]
struct Pass {
    seen: [u64; 2],
    lines: [Line; 2],
}

/// The line of a stream that is being read. Docker 20.10 drops the end of a line that its driver `local` had cut; that
/// there was one is known by the piece that follows.
#[derive(Clone, Copy, Default)]
struct Line {
    cut: bool,
    lacks_end: bool,
}

impl Line {
    /// Takes the next piece; whether there was the end of a line before it that is missing.
    fn lacks_end(&mut self, piece: &[u8]) -> bool {
        let lacked = self.lacks_end;
        let open = piece.last() != Some(&b'\n');
        let was_cut = self.cut;
        self.cut = open && piece.len() == CUT;
        self.lacks_end = was_cut && open && !self.cut;
        lacked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which pieces have the end of a line missing before them.
    fn missing(pieces: &[&[u8]]) -> Vec<bool> {
        let mut line = Line::default();
        pieces.iter().map(|piece| line.lacks_end(piece)).collect()
    }

    #[test]
    fn only_a_line_that_was_cut_can_lack_its_end() {
        let full = [b'x'; CUT];
        assert_eq!(missing(&[b"a", b"b\n", b"c"]), [false; 3]);
        assert_eq!(missing(&[&full, &full, b"end\n", b"c\n"]), [false; 4]);
        assert_eq!(missing(&[&full, b"end", b"c\n", b"d\n"]), [false, false, true, false]);
        assert_eq!(missing(&[&full, b"end", &full, b"end", b"c"]), [false, false, true, false, true]);
        assert_eq!(missing(&[&full, b"", b"c\n"]), [false, false, true]);
    }
}
