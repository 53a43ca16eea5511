//! What the job writes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jobmgr_plugin_api::{Context, Error, Result, Stream};
use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::leader::Started;
use crate::PIECE;

/// The reading ends of the job's standard output and standard error, until they end.
pub struct Pipes {
    ends: [Option<OwnedFd>; 2],
    buffer: Vec<u8>,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Pipes {
    /// Takes the pipes of a process.
    pub fn of(started: &mut Started) -> Result<Self> {
        let ends = [started.stdout.take().map(OwnedFd::from), started.stderr.take().map(OwnedFd::from)];
        for end in ends.iter().flatten() {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).map_err(|errno| Error::failed(format!("fcntl: {errno}")))?;
        }
        Ok(Self { ends, buffer: Vec::with_capacity(PIECE) })
    }

    /// Whether everything was read that can ever come.
    pub fn ended(&self) -> bool {
        self.ends.iter().all(Option::is_none)
    }

    /// The pipe to wait for, if it has not ended.
    pub fn end(&self, which: usize) -> Option<BorrowedFd<'_>> {
        self.ends[which].as_ref().map(AsFd::as_fd)
    }

    /// Reads from a pipe for which `poll` answered `ready`.
    pub fn read(&mut self, which: usize, ready: PollFlags, ctx: &Context<'_>) -> Result<()> {
        // Without a writer the rest can be read up to its end at once. Bounded, since one may come back through /proc.
        let pieces = if ready.contains(PollFlags::HUP) { 16 } else { 1 };
        if ready.contains(PollFlags::IN) {
            for _ in 0..pieces {
                if self.piece(which, ctx)? == 0 {
                    break;
                }
            }
        } else if ready.contains(PollFlags::HUP) {
            self.ends[which] = None;
        }
        Ok(())
    }

    /// Reads what is in the pipes now, and no more: somebody else may be writing for ever.
    pub fn drain(&mut self, ctx: &Context<'_>) -> Result<()> {
        for which in 0..self.ends.len() {
            let Some(end) = &self.ends[which] else { continue };
            let mut held = rustix::io::ioctl_fionread(end).unwrap_or_default();
            while held > 0 {
                let count = self.piece(which, ctx)?;
                held = if count == 0 { 0 } else { held.saturating_sub(count as u64) };
            }
        }
        Ok(())
    }

    /// Reads and hands on one piece; its length, 0 if there is none now.
    fn piece(&mut self, which: usize, ctx: &Context<'_>) -> Result<usize> {
        let Some(end) = &self.ends[which] else { return Ok(0) };
        self.buffer.clear();
        match rustix::io::read(end, spare_capacity(&mut self.buffer)) {
            Ok(0) => {
                self.ends[which] = None;
                Ok(0)
            }
            Ok(count) => ctx.log(STREAMS[which], &self.buffer).map(|()| count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(Error::failed(format!("cannot read the job's output: {errno}"))),
        }
    }
}
