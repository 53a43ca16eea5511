use std::time::{Duration, Instant};

use crate::clustered::counted::Counted;
use crate::clustered::patience::Patience;
use crate::clustered::poller::{Poller, Watch};
use crate::clustered::watched::Seen;
use crate::clustered::{Cluster, Poll, say};
use crate::{Context, Error, Job, KillReason, Outcome, Result, Stop, StopGuard};

/// The shortest wait between two looks at a job.
const QUICK: Duration = Duration::from_millis(50);
/// How long the end of the output is tried to be read, and what the job left to be brought.
const AFTER_END: Duration = Duration::from_secs(30);
/// How long a job may take to be gone after its grace.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// One job that the system has.
pub struct Follow<'a, C: Cluster> {
    cluster: &'a C,
    job: &'a Job<C::Options>,
    handle: C::Handle,
    ctx: &'a Context<'a>,
    counted: Counted<'a>,
    watch: Watch<C::Handle>,
    begun: Instant,
    logs_due: Instant,
    /// Since when there is a reason to ask earlier, and when that was last done.
    news: Option<(Instant, Instant)>,
    /// What was told of the queue, and of a system that does not answer.
    queued: Option<String>,
    in_trouble: bool,
    /// The last state that was written down.
    logged: Option<String>,
    _wake: StopGuard<'a>,
}

impl<'a, C: Cluster> Follow<'a, C> {
    pub fn new(
        cluster: &'a C,
        poller: &Poller<C>,
        job: &'a Job<C::Options>,
        handle: C::Handle,
        ctx: &'a Context<'a>,
    ) -> Result<Self> {
        let watch = poller.watch(handle.clone())?;
        let watched = std::sync::Arc::clone(&watch.job);
        Ok(Self {
            cluster,
            job,
            handle,
            ctx,
            counted: Counted::new(*ctx, job.logged),
            watch,
            begun: Instant::now(),
            logs_due: Instant::now(),
            news: None,
            queued: None,
            in_trouble: false,
            logged: None,
            _wake: ctx.on_stop(move |_| watched.wake()),
        })
    }

    /// Until it has ended, or a stop is asked for and done.
    pub fn until_end(mut self) -> Result<Outcome> {
        loop {
            let seen = self.watch.job.wait(self.pause());
            if let Some(Poll::Ended(outcome)) = seen.poll {
                say(self.ctx, &format!("ended: {}", shown(&outcome)))?;
                return match self.rest()? {
                    None => self.cluster.judge(self.job, outcome, self.ctx),
                    Some(error) => Err(error),
                };
            }
            match self.ctx.stop() {
                Some(Stop::Detach) => return Err(Error::stopped()),
                Some(why) => return self.end(why),
                None => {}
            }
            self.tell(&seen)?;
            if seen.unknown_since.is_some_and(|since| since.elapsed() >= self.cluster.unseen_limit()) {
                self.rest_or_warn()?;
                return Err(Error::lost(format!("{} does not know the job '{}' any more", C::NAME, self.job.key)));
            }
            self.look(&seen)?;
        }
    }

    /// Looks often at a young job, so that a short one is not made long.
    fn pause(&self) -> Duration {
        (self.begun.elapsed() / 8).max(QUICK).min(C::LOOK)
    }

    /// What can be seen without a question to the system.
    fn look(&mut self, seen: &Seen) -> Result<()> {
        let is_news = self.cluster.news(self.job, &self.handle, seen.poll.as_ref());
        self.hurry(is_news);
        self.output(seen)
    }

    /// The output, where it is time to.
    fn output(&mut self, seen: &Seen) -> Result<()> {
        let is_queued = matches!(seen.poll, None | Some(Poll::Queued(_)));
        if is_queued || Instant::now() < self.logs_due {
            return Ok(());
        }
        self.logs_due = Instant::now() + C::LOOK;
        // What can't be read now is read later: the last look says so if not.
        self.logs().map(drop)
    }

    /// Has the system asked earlier while there is a reason; less and less often where that changes nothing.
    fn hurry(&mut self, is_news: bool) {
        let now = Instant::now();
        self.news = match self.news {
            _ if !is_news => None,
            Some((since, last)) if now - last < (now - since) / 4 => Some((since, last)),
            news => {
                self.watch.hurry();
                Some((news.map_or(now, |(since, _)| since), now))
            }
        };
    }

    /// The output that is new. `Err`: jobmgr is gone; `Ok(Some)`: it can't be read.
    fn logs(&self) -> Result<Option<Error>> {
        let from = self.counted.logged();
        let result = self.cluster.logs(self.job, &self.handle, &from, &Context::new(&self.counted));
        match self.counted.gone() {
            Some(gone) => Err(gone),
            None => Ok(result.err()),
        }
    }

    /// All the rest of the output of a job that has ended, and what else it left.
    fn rest(&self) -> Result<Option<Error>> {
        if let Some(error) = self.patiently(|| self.logs())? {
            self.ctx.warn(format!("the end of the output can't be read: {error}"));
        }
        self.patiently(|| {
            let result = self.cluster.collect(self.job, &self.handle, &Context::new(&self.counted));
            self.counted.gone().map_or(Ok(result.err()), Err)
        })
    }

    /// Tries for a while; gives the last error.
    fn patiently(&self, attempt: impl Fn() -> Result<Option<Error>>) -> Result<Option<Error>> {
        let until = Instant::now() + AFTER_END;
        let mut patience = Patience::new(Duration::from_millis(200));
        while let Some(error) = attempt()? {
            if Instant::now() >= until {
                return Ok(Some(error));
            }
            if self.ctx.stop() == Some(Stop::Detach) {
                return Err(Error::stopped());
            }
            std::thread::sleep(patience.failed());
        }
        Ok(None)
    }

    /// As [`rest`](Self::rest) for a job that counts as ended whatever it left.
    fn rest_or_warn(&self) -> Result<()> {
        if let Some(error) = self.rest()? {
            self.ctx.warn(format!("what the job left can't be brought: {error}"));
        }
        Ok(())
    }

    /// Says what changed: why the job waits, and whether the system answers.
    fn tell(&mut self, seen: &Seen) -> Result<()> {
        match &seen.trouble {
            Some(why) if !self.in_trouble => say(self.ctx, &format!("{} does not answer: {why}", C::NAME))?,
            None if self.in_trouble => say(self.ctx, &format!("{} answers again", C::NAME))?,
            _ => {}
        }
        self.in_trouble = seen.trouble.is_some();
        match &seen.poll {
            Some(Poll::Queued(reason)) if self.queued.as_ref() != Some(reason) => {
                self.ctx.progress(0.0, format!("queued: {reason}"));
                self.queued = Some(reason.clone());
            }
            Some(Poll::Running) if self.queued.take().is_some() => self.ctx.progress(0.0, "running"),
            _ => {}
        }
        self.log(seen.poll.as_ref())
    }

    /// Writes down what state the job is in, when that is new.
    fn log(&mut self, poll: Option<&Poll>) -> Result<()> {
        let state = match poll {
            Some(Poll::Queued(reason)) => format!("queued: {reason}"),
            Some(Poll::Running) => "running".to_owned(),
            Some(Poll::Unknown) => format!("{} does not know it", C::NAME),
            Some(Poll::Ended(_)) | None => return Ok(()),
        };
        if self.logged.as_ref() == Some(&state) {
            return Ok(());
        }
        say(self.ctx, &state)?;
        self.logged = Some(state);
        Ok(())
    }

    /// Has the system end the job, and waits for it.
    fn end(&mut self, why: Stop) -> Result<Outcome> {
        let grace = Duration::from_millis(self.job.limits.kill_grace_ms);
        let asked = Instant::now();
        let mut seen = self.watch.job.wait(Duration::ZERO);
        let mut order = Order::new(seen.answers);
        say(self.ctx, &format!("ending the job: {why:?}"))?;
        loop {
            let late = asked.elapsed().saturating_sub(grace);
            self.log(seen.poll.as_ref())?;
            if let Err(error) = order.give(self.cluster, &self.handle, !late.is_zero(), seen.answers) {
                say(self.ctx, &format!("ending the job: {error}"))?;
            }
            self.hurry(true);
            seen = self.watch.job.wait(QUICK);
            if let Some(Poll::Ended(outcome)) = &seen.poll {
                say(self.ctx, &format!("ended: {}", shown(outcome)))?;
                self.rest_or_warn()?;
                let judged = self.cluster.judge(self.job, outcome.clone(), self.ctx);
                return Ok(killed(why, Some(judged.as_ref().unwrap_or(outcome))));
            }
            if seen.poll == Some(Poll::Unknown) && order.is_done_since(seen.answers) {
                self.rest_or_warn()?;
                return Ok(killed(why, None));
            }
            if late >= KILL_LIMIT {
                self.rest_or_warn()?;
                let message = format!("{} was asked to end the job, and has not said that it is gone", C::NAME);
                return Ok(killed(why, None).with_message(message));
            }
            self.output(&seen)?;
        }
    }
}

/// The order to end a job: first to cancel it, then to kill it; again where it was not taken.
struct Order {
    taken: bool,
    hard: bool,
    /// The answers before it was taken.
    answers: u64,
    due: Instant,
    patience: Patience,
}

impl Order {
    fn new(answers: u64) -> Self {
        let patience = Patience::new(Duration::from_secs(1));
        Self { taken: false, hard: false, answers, due: Instant::now(), patience }
    }

    fn give<C: Cluster>(&mut self, cluster: &C, handle: &C::Handle, hard: bool, answers: u64) -> Result<()> {
        if hard && !self.hard {
            *self = Self { hard, ..Self::new(answers) };
        }
        if self.taken || Instant::now() < self.due {
            return Ok(());
        }
        let result = if hard { cluster.kill(handle) } else { cluster.cancel(handle) };
        match result {
            Ok(()) => (self.taken, self.answers) = (true, answers),
            Err(_) => self.due = Instant::now() + self.patience.failed(),
        }
        result
    }

    /// Whether the system was surely asked after the order was taken: one question may have been on its way.
    fn is_done_since(&self, answers: u64) -> bool {
        self.taken && answers >= self.answers + 2
    }
}

/// An end in one line.
fn shown(outcome: &Outcome) -> String {
    serde_json::to_string(outcome).unwrap_or_default()
}

/// What a job is that was to stop before the system had it, or while nothing is known of it.
pub fn stopped(why: Stop) -> Result<Outcome> {
    if why == Stop::Detach { Err(Error::stopped()) } else { Ok(killed(why, None)) }
}

/// The end of a job that was asked for, with what the system says of it.
fn killed(why: Stop, theirs: Option<&Outcome>) -> Outcome {
    let mut outcome = Outcome::killed(match why {
        Stop::Cancel => KillReason::Cancelled,
        Stop::Timeout => KillReason::Timeout,
        Stop::Detach => KillReason::Other,
    });
    if let Some(theirs) = theirs {
        outcome.message.clone_from(&theirs.message);
        outcome.detail.clone_from(&theirs.detail);
        (outcome.exit_code, outcome.signal) = (theirs.exit_code, theirs.signal);
    }
    outcome
}
