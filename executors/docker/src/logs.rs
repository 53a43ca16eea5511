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

/// How much of standard output and standard error jobmgr has.
pub struct Logs {
    given: Cell<[u64; 2]>,
}

impl Logs {
    /// From what an earlier process has handed on.
    pub fn new(logged: &[Logged; 2]) -> Self {
        Self { given: Cell::new([logged[0].bytes, logged[1].bytes]) }
    }

    /// Hands on what there is, with `follow` until the container ends; `false`: there may be more.
    pub async fn read(&self, engine: &Engine, id: &str, ctx: &Context<'_>, follow: bool) -> Result<bool, Failure> {
        let what = LogsOptions { follow, stdout: true, stderr: true, tail: "all".into(), ..Default::default() };
        let mut pieces = std::pin::pin!(engine.client.logs(id, Some(what)));
        let mut seen = [0_u64; 2];
        let mut lines = [Line::default(); 2];
        loop {
            let piece = match tokio::time::timeout(QUIET, pieces.next()).await {
                Ok(Some(piece)) => piece?,
                Ok(None) => return Ok(true),
                Err(_) if follow && engine.inspect(id).await?.as_ref().is_none_or(has_ended) => return Ok(false),
                Err(_) => continue,
            };
            let (stream, message) = match piece {
                LogOutput::StdOut { message } => (0, message),
                LogOutput::StdErr { message } => (1, message),
                // A piece without its end, or the engine's own words where output should be.
                LogOutput::Console { .. } | LogOutput::StdIn { .. } => {
                    return Err(Failure::Away("the container's log broke off".into()));
                }
            };
            if lines[stream].lacks_end(&message) && engine.podman.is_none() {
                self.give(ctx, stream, &mut seen, b"\n")?;
            }
            self.give(ctx, stream, &mut seen, &message)?;
        }
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
