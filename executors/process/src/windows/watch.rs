//! From the start to the end of one job.

use std::io::Read;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::progress::Progress;
use jobmgr_plugin_api::{Context, Ending, Error, Job, Outcome, Result, Stop, Stream};

use super::job_object::send_break;
use super::running::{self, any_left, end_descendants};
use crate::{OPEN_PIPE_LIMIT, Options, PIECE, REST_EVERY, kill_limit, reason, unkillable, warn_of_open_pipe};

/// After a failure of ours: what can be killed is gone much sooner.
const FAILURE_LIMIT: Duration = Duration::from_secs(5);
/// How many pieces of output may wait.
const WAITING: usize = 4;

/// Runs one job to its end; nothing of it is left then.
pub fn run(job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
    let child = running::start(job, ctx)?;
    let (tell, news) = sync_channel(WAITING);
    let asked = Arc::new(OnceLock::new());
    let _taken_back = {
        let (asked, tell) = (Arc::clone(&asked), tell.clone());
        ctx.on_stop(move |why| {
            asked.get_or_init(|| why);
            // Where there is no place for it, there is other news to wake up for.
            let _ = tell.try_send(News::Asked);
        })
    };
    let group = child.id();
    let open = listen(child, &tell);
    let grace = Duration::from_millis(job.limits.kill_grace_ms);
    let watch = Watch { ctx, news, asked, group, open, grace, progress: Progress::of(&job.env), phase: Phase::Running };
    let ended = watch.follow();
    if ended.is_err() {
        end_descendants(FAILURE_LIMIT);
    }
    ended
}

/// What the threads that listen to the job have to tell.
enum News {
    Output(Stream, Vec<u8>),
    /// One of the streams has ended.
    PipeEnd,
    Exited(std::io::Result<ExitStatus>),
    /// A stop was asked for.
    Asked,
}

/// Starts a thread for each pipe and one for the process; how many pipes there are.
///
/// They end with what they listen to. One that still can't, since a stranger holds the pipe, ends with this process.
fn listen(mut child: Child, tell: &SyncSender<News>) -> usize {
    let out = child.stdout.take().map(|pipe| read(pipe, Stream::Stdout, tell.clone()));
    let err = child.stderr.take().map(|pipe| read(pipe, Stream::Stderr, tell.clone()));
    let tell = tell.clone();
    std::thread::spawn(move || tell.send(News::Exited(child.wait())));
    usize::from(out.is_some()) + usize::from(err.is_some())
}

fn read(mut pipe: impl Read + Send + 'static, stream: Stream, tell: SyncSender<News>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if tell.send(News::Output(stream, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        // Nobody listens any more: just as well.
        let _ = tell.send(News::PipeEnd);
    });
}

/// How far the job's end is.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// It was asked to stop, and is killed then.
    Stopping(Stop, Instant),
    /// It was killed, and is given up then.
    Killed(Stop, Instant),
    /// Its process has exited; its pipes are given up then.
    Exited(Instant),
}

struct Watch<'a> {
    ctx: &'a Context<'a>,
    news: Receiver<News>,
    asked: Arc<OnceLock<Stop>>,
    group: u32,
    /// How many pipes have not ended.
    open: usize,
    grace: Duration,
    progress: Option<Progress>,
    phase: Phase,
}

impl Watch<'_> {
    fn follow(mut self) -> Result<Outcome> {
        let status = self.until_exit()?;
        let outcome = self.outcome(status);
        if let Phase::Stopping(_, kill) = self.phase {
            self.until_all_leave(kill)?;
        } else if matches!(self.phase, Phase::Running) && !self.until_pipes_end(|watch| watch.asked.get().is_some())? {
            warn_of_open_pipe(self.ctx);
        }
        if !end_descendants(kill_limit()) {
            return Err(unkillable());
        }
        // Whoever wrote is dead: what is in the pipes comes at once.
        self.until_pipes_end(|_| false)?;
        if let Some(progress) = &mut self.progress {
            progress.look(self.ctx);
        }
        Ok(outcome)
    }

    /// Waits for the end of the job's process.
    fn until_exit(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.turn()? {
                return Ok(status);
            }
            match (self.phase, self.asked.get()) {
                (Phase::Running, Some(why)) => {
                    // Who can't be asked needs no time to answer.
                    let grace = if send_break(self.group) { self.grace } else { Duration::ZERO };
                    self.phase = Phase::Stopping(*why, Instant::now() + grace);
                }
                (Phase::Stopping(why, kill), _) if Instant::now() >= kill => {
                    self.phase = Phase::Killed(why, Instant::now() + kill_limit());
                    end_descendants(Duration::ZERO);
                }
                (Phase::Killed(_, give_up), _) if Instant::now() >= give_up => return Err(unkillable()),
                _ => {}
            }
        }
    }

    /// Leaves those that outlived the job's process the rest of the grace: a shell is gone at once, what it runs may
    /// have something to save.
    fn until_all_leave(&mut self, kill: Instant) -> Result<()> {
        while any_left() && Instant::now() < kill {
            self.phase = Phase::Exited(kill.min(Instant::now() + REST_EVERY));
            self.turn()?;
        }
        Ok(())
    }

    fn outcome(&self, status: ExitStatus) -> Outcome {
        let mut outcome = Outcome::exited(status.code().unwrap_or_default());
        match self.phase {
            Phase::Stopping(why, _) => outcome.ending = Ending::Killed(reason(why)),
            // The exit code is ours, not the job's.
            Phase::Killed(why, _) => outcome = Outcome::killed(reason(why)),
            Phase::Running | Phase::Exited(_) => {}
        }
        outcome
    }

    /// Gives what holds the output a while to write; `false` if somebody still does. `hurry` says when not to wait.
    fn until_pipes_end(&mut self, hurry: impl Fn(&Self) -> bool) -> Result<bool> {
        let until = Instant::now() + OPEN_PIPE_LIMIT;
        self.phase = Phase::Exited(until);
        while self.open > 0 && !hurry(self) {
            if Instant::now() >= until {
                return Ok(false);
            }
            self.turn()?;
        }
        Ok(true)
    }

    /// Waits for news, hands output on and looks at the progress; the status if the process has exited.
    fn turn(&mut self) -> Result<Option<ExitStatus>> {
        let mut exited = None;
        match self.news.recv_timeout(self.timeout()) {
            Ok(News::Output(stream, data)) => self.ctx.log(stream, &data)?,
            Ok(News::PipeEnd) => self.open -= 1,
            Ok(News::Exited(Ok(status))) => exited = Some(status),
            Ok(News::Exited(Err(error))) => return Err(Error::failed(format!("cannot wait for the job: {error}"))),
            Ok(News::Asked) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::failed("nobody listens to the job")),
        }
        if let Some(progress) = &mut self.progress {
            progress.tick(self.ctx);
        }
        Ok(exited)
    }

    /// The time until the phase or the progress wants attention.
    fn timeout(&self) -> Duration {
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Stopping(_, at) | Phase::Killed(_, at) | Phase::Exited(at) => Some(at),
        };
        let next = self.progress.as_ref().map(Progress::due);
        let at = phase.into_iter().chain(next).min();
        at.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()))
    }
}
