use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Context, Error, Logged, Result, Stop};

use crate::api::{Api, Opened};
use crate::log::{Position, Read, Reader};

/// How long one look waits for more.
const QUIET: Duration = Duration::from_millis(20);
/// How long one look may take while there is always more.
const LOOK: Duration = Duration::from_secs(1);
/// How long the connection that was open at the end may be silent.
const LAST: Duration = Duration::from_secs(2);
/// How long the one that is opened after the end may be.
const AFTER_END: Duration = Duration::from_secs(30);

/// How far the output of an attempt was passed on.
#[derive(Default)]
pub struct Output {
    reader: Option<Reader>,
    position: Option<Position>,
    /// A connection was read to its end.
    was_ended: bool,
    /// All of it is passed on, or gone.
    is_done: bool,
}

/// The pod whose output is read.
pub struct Source<'a> {
    pub api: &'a Api,
    pub namespace: &'a str,
    pub pod: &'a str,
}

impl Output {
    /// Passes on what has come since the last look. Gives whether the connection has ended, so that the job may have
    /// too.
    pub fn look(&mut self, source: &Source<'_>, from: Logged, ctx: &Context<'_>) -> Result<bool> {
        let position = self.position(from);
        if self.reader.is_none() {
            self.reader = open(source, position, true)?.map(|log| Reader::new(log, position));
        }
        let until = Instant::now() + LOOK;
        while Instant::now() < until {
            match self.next(QUIET, ctx)? {
                Some(Read::Some) => {}
                Some(Read::End) => return Ok(true),
                Some(Read::Broken(_)) => return Ok(false),
                Some(Read::Quiet) | None => break,
            }
        }
        Ok(false)
    }

    /// Passes on all the rest of the output of a container that has ended.
    pub fn finish(&mut self, source: &Source<'_>, from: Logged, ctx: &Context<'_>) -> Result<()> {
        if self.is_done {
            return Ok(());
        }
        // Of a pod that is gone already this is all there is.
        while self.next(LAST, ctx)? == Some(Read::Some) {
            stop(ctx)?;
        }
        // A connection may have ended too early, and nobody would know.
        let position = self.position(from);
        match source.api.log(source.namespace, source.pod, &position.params(false))? {
            Opened::Log(log) => self.reader = Some(Reader::new(log, position)),
            Opened::Gone if !self.was_ended => ctx.warn("the pod is gone, and with it the end of its output"),
            Opened::Gone | Opened::Nothing => {}
        }
        loop {
            stop(ctx)?;
            match self.next(AFTER_END, ctx)? {
                Some(Read::Some) => {}
                Some(Read::End) | None => break,
                Some(Read::Quiet) => return Err(Error::retry("reading the output: nothing comes any more")),
                Some(Read::Broken(why)) => return Err(Error::retry(format!("reading the output: {why}"))),
            }
        }
        self.is_done = true;
        Ok(())
    }

    fn position(&mut self, from: Logged) -> Position {
        *self.position.get_or_insert_with(|| Position::recovered(from))
    }

    /// The next piece; a connection that is of no use any more is closed.
    fn next(&mut self, limit: Duration, ctx: &Context<'_>) -> Result<Option<Read>> {
        let (Some(reader), Some(position)) = (&mut self.reader, &mut self.position) else { return Ok(None) };
        let read = reader.next(limit, position, ctx)?;
        if matches!(read, Read::End | Read::Broken(_)) {
            self.reader = None;
            self.was_ended |= read == Read::End;
        }
        Ok(Some(read))
    }
}

fn open(source: &Source<'_>, position: Position, follow: bool) -> Result<Option<crate::api::Log>> {
    match source.api.log(source.namespace, source.pod, &position.params(follow))? {
        Opened::Log(log) => Ok(Some(log)),
        Opened::Nothing | Opened::Gone => Ok(None),
    }
}

fn stop(ctx: &Context<'_>) -> Result<()> {
    if ctx.stop() == Some(Stop::Detach) { Err(Error::stopped()) } else { Ok(()) }
}
