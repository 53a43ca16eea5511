//! From the start to the end of one job.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::progress::Progress;
use jobmgr_plugin_api::{Context, Ending, Error, Job, Outcome, Result, Stop};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitStatus};

use super::confine;
use super::descendants::{Reach, end_descendants, signal_each};
use super::leader::{self, Started};
use super::pipes::Pipes;
use crate::{OPEN_PIPE_LIMIT, Options, REST_EVERY, kill_limit, reason, unkillable, warn_of_open_pipe};

/// After a failure of ours: what can be killed is gone much sooner.
const FAILURE_LIMIT: Duration = Duration::from_secs(5);

/// Runs one job to its end; nothing of it is left then.
pub fn run(job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
    let bell = Arc::new(Bell::new()?);
    let plain = job.options.is_plain();
    let started = if plain { leader::start(job) } else { confine::start(job, ctx) };
    let ended = started.and_then(|started| {
        let rings = Arc::clone(&bell);
        let _taken_back = ctx.on_stop(move |why| rings.ring(why));
        Watch::new(started, bell, job, ctx)?.follow()
    });
    if ended.is_err() {
        end_descendants(FAILURE_LIMIT.min(kill_limit()));
    }
    if plain { ended } else { confine::finish(ended, &job.options.limits, ctx) }
}

/// Breaks `poll` when a stop is asked for.
struct Bell {
    fd: OwnedFd,
    why: OnceLock<Stop>,
}

impl Bell {
    fn new() -> Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self { fd: fd.map_err(|errno| Error::retry(format!("eventfd: {errno}")))?, why: OnceLock::new() })
    }

    fn ring(&self, why: Stop) {
        self.why.get_or_init(|| why);
        // It can only fail when it rings already.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

/// How far the job's end is.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    /// It was asked to stop, and is killed then.
    Stopping(Stop, Instant),
    /// It was killed, and is given up then.
    Killed(Stop, Instant),
    /// Its process has exited after it was asked to; the others are looked at again then.
    Leaving(Instant),
    /// Its process has exited; its pipes are given up then.
    Exited(Instant),
}

struct Watch<'a> {
    ctx: &'a Context<'a>,
    pidfd: OwnedFd,
    bell: Arc<Bell>,
    pipes: Pipes,
    progress: Option<Progress>,
    grace: Duration,
    phase: Phase,
}

/// What happened.
struct Ready {
    stop: bool,
    exited: bool,
}

impl<'a> Watch<'a> {
    fn new(mut started: Started, bell: Arc<Bell>, job: &Job<Options>, ctx: &'a Context<'a>) -> Result<Self> {
        Ok(Self {
            ctx,
            pipes: Pipes::of(&mut started)?,
            pidfd: started.pidfd,
            bell,
            progress: Progress::of(&job.env),
            grace: Duration::from_millis(job.limits.kill_grace_ms),
            phase: Phase::Running,
        })
    }

    fn follow(mut self) -> Result<Outcome> {
        let stopped = self.until_exit()?;
        if stopped.is_none() {
            self.until_pipes_end()?;
        }
        if !end_descendants(kill_limit()) {
            return Err(unkillable());
        }
        let status = leader::lock().take_status();
        self.pipes.drain(self.ctx)?;
        if let Some(progress) = &mut self.progress {
            progress.look(self.ctx);
        }
        let status = status.ok_or_else(|| Error::failed("the job was ended because its runner is closing"))?;
        Ok(outcome(status, stopped))
    }

    /// Waits for the end of the job's process; the stop that was asked for before it, if one was.
    fn until_exit(&mut self) -> Result<Option<Stop>> {
        loop {
            let ready = self.turn()?;
            match self.phase {
                Phase::Stopping(why, kill) if ready.exited => {
                    self.until_all_leave(kill)?;
                    return Ok(Some(why));
                }
                Phase::Killed(why, _) if ready.exited => return Ok(Some(why)),
                _ if ready.exited => return Ok(None),
                Phase::Running if ready.stop => self.ask(self.bell.why.get().copied().unwrap_or(Stop::Cancel)),
                Phase::Stopping(why, kill) if Instant::now() >= kill => {
                    let leader = leader::lock();
                    leader.kill_control_group();
                    leader.signal_group(Signal::KILL);
                    signal_each(&leader, &[Signal::KILL], Reach::All);
                    self.phase = Phase::Killed(why, Instant::now() + kill_limit());
                }
                Phase::Killed(_, give_up) if Instant::now() >= give_up => return Err(unkillable()),
                _ => {}
            }
        }
    }

    /// Asks everything that the job started to end.
    fn ask(&mut self, why: Stop) {
        let leader = leader::lock();
        // The others first: when the group ends, what it started moves in the tree, and could be missed. A stopped
        // process would see no SIGTERM without SIGCONT.
        signal_each(&leader, &[Signal::CONT, Signal::TERM], Reach::OutsideGroup);
        leader.signal_group(Signal::CONT);
        leader.signal_group(Signal::TERM);
        self.phase = Phase::Stopping(why, Instant::now() + self.grace);
    }

    /// Leaves those that outlived the job's process the rest of the grace: a shell is gone at once, what it runs may
    /// have something to save.
    fn until_all_leave(&mut self, kill: Instant) -> Result<()> {
        while leader::lock().reap_all() && Instant::now() < kill {
            self.phase = Phase::Leaving(kill.min(Instant::now() + REST_EVERY));
            self.turn()?;
        }
        Ok(())
    }

    /// Gives what outlived the job's process, and still holds its output, a while to write.
    fn until_pipes_end(&mut self) -> Result<()> {
        let until = Instant::now() + OPEN_PIPE_LIMIT;
        self.phase = Phase::Exited(until);
        while !self.pipes.ended() {
            if Instant::now() >= until {
                warn_of_open_pipe(self.ctx);
                break;
            }
            if self.turn()?.stop {
                break;
            }
        }
        Ok(())
    }

    /// Waits for something to happen, reads what there is to read and looks at the progress.
    fn turn(&mut self) -> Result<Ready> {
        // A place that waits for nothing.
        let unused = || PollFd::new(&self.bell.fd, PollFlags::empty());
        let place = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let asked = matches!(self.phase, Phase::Stopping(..) | Phase::Killed(..) | Phase::Leaving(_));
        let exited = matches!(self.phase, Phase::Leaving(_) | Phase::Exited(_));
        let mut places = [
            if asked { unused() } else { place(self.bell.fd.as_fd()) },
            if exited { unused() } else { place(self.pidfd.as_fd()) },
            self.pipes.end(0).map_or_else(unused, place),
            self.pipes.end(1).map_or_else(unused, place),
        ];
        match poll(&mut places, self.timeout().as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::failed(format!("poll: {errno}"))),
        }
        let [stop, exited, out, err] = places.map(|place| place.revents());
        self.pipes.read(0, out, self.ctx)?;
        self.pipes.read(1, err, self.ctx)?;
        if let Some(progress) = &mut self.progress {
            progress.tick(self.ctx);
        }
        Ok(Ready { stop: !stop.is_empty(), exited: !exited.is_empty() })
    }

    /// The time until the phase or the progress wants attention.
    fn timeout(&self) -> Option<Timespec> {
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Stopping(_, at) | Phase::Killed(_, at) | Phase::Leaving(at) | Phase::Exited(at) => Some(at),
        };
        let next = self.progress.as_ref().map(Progress::due);
        let at = phase.into_iter().chain(next).min()?;
        at.saturating_duration_since(Instant::now()).try_into().ok()
    }
}

fn outcome(status: WaitStatus, stopped: Option<Stop>) -> Outcome {
    let mut outcome = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Outcome::exited(code),
        (None, signal) => Outcome::signaled(signal.unwrap_or_default()),
    };
    if let Some(why) = stopped {
        outcome.ending = Ending::Killed(reason(why));
    }
    outcome
}
