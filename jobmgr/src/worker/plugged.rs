//! A job of an executor that is in a library.
//!
//! Before the executor is given the job, the database knows which one it is and what it is given. From then on a job of
//! an executor that can recover is nobody's to queue again: it runs somewhere, and is gone on with.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jobmgr_plugin_api::loaded::Capabilities;
use jobmgr_plugin_api::{Error, Job, KillReason, Kind, MAX_HANDLE, Outcome, Stop};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use super::attempt::{Ending, again};
use super::leases::Hold;
use super::running::{Ran, Running};
use super::slot::until_done;
use super::{Shared, elsewhere};
use crate::crash;
use crate::domain::job::Claim;
use crate::domain::jobspec::Jobspec;
use crate::runner::plugin::{Call, Ready, Work};
use crate::runner::{Failure, Said};
use crate::store::{Dispatch, Taken};

/// How long an executor may take beyond the job's grace before it is ended, or left to itself where it runs other jobs.
const OVERTIME: Duration = Duration::from_secs(2);
/// The same for one whose jobs run elsewhere: it asks others to end them, and waits until they have.
const FAR_OVERTIME: Duration = Duration::from_secs(70);
/// How often it is looked whether a library has printed something.
const PRINTED: Duration = Duration::from_millis(500);
/// How often a job is gone on with whose executor died under it.
const RECOVERIES: u32 = 3;
/// The first pause before that; doubled each time.
const PAUSE: Duration = Duration::from_millis(500);
/// When a job is taken over again whose executor can't be had now.
const LATER: Duration = Duration::from_secs(10);

/// How the job got here.
pub(super) enum Origin {
    /// It was claimed.
    Claimed,
    /// It runs elsewhere, and its holder went away.
    Taken(Box<Taken>),
}

/// A job that an executor of a library has, or is about to have.
pub(super) struct Plugged<'a> {
    shared: &'a Arc<Shared>,
    name: String,
    job: Job<Value>,
    hold: &'a Hold,
    /// The last handle; the outer `None`: the executor has not begun it.
    begun: Option<Option<Vec<u8>>>,
    /// Whether it can be gone on with by another holder.
    recovers: bool,
    deadline: Instant,
    grace: Duration,
    stopping: Option<Stop>,
    /// The executor was asked to go on with it, not to begin it.
    recovering: bool,
}

/// How much longer than the job's grace an executor may take for a stop.
fn overtime(stop: Stop, can: Capabilities) -> Duration {
    if can.recover && stop != Stop::Detach { FAR_OVERTIME } else { OVERTIME }
}

/// How a call came out.
enum Came {
    /// By itself, or because it was asked to.
    Ended(Result<Outcome, Failure>),
    /// It did not stop when it was asked to.
    Deaf,
    Fenced,
}

impl<'a> Plugged<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        spec: &Jobspec,
        job: Job<Value>,
        hold: &'a Hold,
        origin: Origin,
    ) -> Self {
        let (name, begun, age) = match origin {
            Origin::Claimed => (spec.executor.clone(), None, Duration::ZERO),
            Origin::Taken(taken) => (taken.executor, Some(taken.handle), taken.age),
        };
        let recovers = begun.is_some();
        let far = Duration::from_secs(365 * 24 * 3600);
        Self {
            shared,
            name,
            job,
            hold,
            begun,
            recovers,
            deadline: Instant::now() + spec.timeout.min(far).saturating_sub(age),
            grace: spec.kill_grace,
            stopping: None,
            recovering: false,
        }
    }

    /// Runs it to its end, or until it is detached from.
    pub(super) async fn run(mut self, running: &mut Running<'a>) -> Ran {
        let mut deaths = 0;
        loop {
            let ready = match self.ready(running).await {
                Ok(ready) => ready,
                Err(ran) => return *ran,
            };
            let can = ready.runner.loaded().capabilities;
            self.recovers |= can.recover;
            let dispatching = match self.dispatch(running.claim, &ready, can) {
                Ok(dispatching) => dispatching,
                Err(why) => return Ok(Err(Failure::Executor(why))),
            };
            // What is never asked for again may be written while it runs.
            let (is_ours, (came, printed)) = if can.recover || can.cleanup {
                if !dispatching.await {
                    return Err(Ending::Fenced);
                }
                (true, self.call(running, &ready, can).await)
            } else {
                tokio::join!(dispatching, self.call(running, &ready, can))
            };
            if !is_ours {
                return Err(Ending::Fenced);
            }
            running.executor_said(&printed);
            crash::at(crash::Point::AfterExit);
            let died = match came {
                Came::Fenced => return Err(Ending::Fenced),
                Came::Deaf => return self.deaf(can),
                // Whatever it did of that, its time was over.
                Came::Ended(Err(Failure::Died(_))) if !can.recover && self.stopping == Some(Stop::Timeout) => {
                    return self.killed(KillReason::Timeout);
                }
                Came::Ended(Err(Failure::Died(why))) => why,
                Came::Ended(result) => return self.ended(running, result, can),
            };
            deaths += 1;
            if !can.recover || deaths > RECOVERIES {
                return Ok(Err(Failure::Executor(died)));
            }
            warn!(job = self.job.id, executor = self.name, why = died, "goes on with a job whose executor died");
            let pause = PAUSE * 2_u32.pow(deaths - 1);
            if self.hold.fence.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Err(Ending::Fenced);
            }
        }
    }

    /// A runner with the executor in it. Opening a library runs its code, so it is within the job's time.
    async fn ready(&mut self, running: &Running<'_>) -> Result<Ready, Box<Ran>> {
        let plugins = &running.shared.parts.plugins;
        let ending = &running.shared.ending;
        let opened = tokio::select! {
            biased;
            () = self.hold.fence.cancelled() => Err(Err(Ending::Fenced)),
            () = tokio::time::sleep_until(self.deadline), if self.begun.is_none() => {
                Err(Ok(Ok(Outcome::killed(KillReason::Timeout))))
            }
            () = self.hold.cancel.cancelled(), if self.begun.is_none() => {
                Err(Ok(Ok(Outcome::killed(KillReason::Cancelled))))
            }
            () = ending.cancelled() => Err(Err(self.leave("the worker ends".into(), Duration::ZERO))),
            opened = plugins.ready(&self.name) => match opened {
                Ok(ready) => Ok(ready),
                // What it has begun goes on, whether it can be asked now or not.
                Err(failure) if self.begun.is_some() && self.recovers => {
                    warn!(job = self.job.id, executor = self.name, why = %failure, "a job that runs can't be asked now");
                    Err(Err(Ending::Detach { delay: LATER, why: failure.to_string() }))
                }
                Err(Failure::Retry(why)) => Err(Err(again(running.claim, why))),
                Err(Failure::Died(why) | Failure::Invalid(why)) => Err(Ok(Err(Failure::Executor(why)))),
                Err(failure) => Err(Ok(Err(failure))),
            },
        };
        if opened.is_err() {
            super::end_orphans().await;
        }
        opened.map_err(Box::new)
    }

    /// Before anything else: the database knows who has it.
    fn dispatch(
        &self,
        claim: &'a Claim,
        ready: &Ready,
        can: Capabilities,
    ) -> Result<impl Future<Output = bool> + use<'a>, String> {
        let again = can.recover || can.cleanup;
        let job = || serde_json::to_string(&self.job).unwrap_or_default();
        let job = again.then(|| elsewhere::closed(&self.shared.parts.secrets, claim, job())).transpose()?;
        let dispatch = Dispatch {
            executor: self.name.clone(),
            about: serde_json::to_string(&ready.about).unwrap_or_default(),
            recovers: can.recover,
            job,
        };
        let (shared, hold) = (self.shared, self.hold);
        Ok(async move {
            let write = || shared.parts.store.dispatch(claim, dispatch.clone());
            let done = until_done(shared, &hold.fence, write).await == Some(true);
            hold.elsewhere.fetch_or(can.recover, Ordering::Relaxed);
            done
        })
    }

    /// One call of the executor; what its library printed.
    async fn call(&mut self, running: &mut Running<'a>, ready: &Ready, can: Capabilities) -> (Came, Vec<u8>) {
        let work = match &self.begun {
            None => Work::Run,
            Some(_) if !can.recover => Work::Run,
            Some(handle) => Work::Recover { handle: handle.clone() },
        };
        crash::at(crash::Point::BeforeSpawn);
        self.recovering = matches!(work, Work::Recover { .. });
        self.begun.get_or_insert(None);
        self.job.logged = running.logged();
        let json = serde_json::to_vec(&self.job).unwrap_or_default();
        let came = match ready.runner.call(&work, &json).await {
            Ok(mut call) => {
                crash::at(crash::Point::AfterSpawn);
                self.follow(running, &mut call, ready, can).await
            }
            Err(failure) => Came::Ended(Err(failure)),
        };
        if ready.shared {
            return (came, Vec::new());
        }
        let printed = ready.runner.clone().end().await;
        super::end_orphans().await;
        (came, printed)
    }

    /// Listens to the executor until it has ended the call; asks it to stop when the job's time is over, somebody wants
    /// that, or the worker ends.
    async fn follow(&mut self, running: &mut Running<'a>, call: &mut Call, ready: &Ready, can: Capabilities) -> Came {
        let (ending, draining) = (running.shared.ending.clone(), running.shared.draining.clone());
        let mut listening = tokio::time::interval(PRINTED);
        listening.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline = self.deadline;
        let mut detaching = false;
        // The one that was asked before has died over it.
        if let Some(stop) = self.stopping {
            drop(call.stop(stop).await);
            deadline = Instant::now() + self.grace + overtime(stop, can);
        }
        loop {
            let stop = tokio::select! {
                biased;
                () = self.hold.fence.cancelled() => {
                    // Whoever has the job now asks for it; here only the asking ends.
                    drop(call.stop(if can.recover { Stop::Detach } else { Stop::Cancel }).await);
                    return Came::Fenced;
                }
                () = tokio::time::sleep_until(deadline) => match self.stopping {
                    Some(_) => return Came::Deaf,
                    None => Stop::Timeout,
                },
                () = self.hold.cancel.cancelled(), if self.stopping.is_none() => Stop::Cancel,
                () = draining.cancelled(), if can.recover && self.stopping.is_none() => Stop::Detach,
                () = ending.cancelled(), if can.recover && self.stopping.is_some() && !detaching => Stop::Detach,
                () = ending.cancelled(), if !can.recover && self.stopping.is_none() => Stop::Cancel,
                () = running.live_due() => { running.flush(); continue }
                // Of a runner with several jobs nobody knows whose it is.
                _ = listening.tick(), if !ready.shared => { running.executor_said(&ready.runner.printed()); continue }
                // Last: one that logs without a pause must not keep the others from being looked at.
                said = call.next() => match said {
                    Said::Done(result) => return Came::Ended(result),
                    said => match self.hear(running, call, said, deadline).await {
                        Ok(()) => continue,
                        Err(()) => return Came::Fenced,
                    },
                },
            };
            detaching |= stop == Stop::Detach;
            self.stopping = Some(self.stopping.unwrap_or(stop));
            drop(call.stop(stop).await);
            deadline = Instant::now() + self.grace + overtime(stop, can);
        }
    }

    /// What a request must not hold up: it may read much.
    fn interruption(&self, running: &Running<'_>, deadline: Instant) -> impl Future<Output = ()> + 'static {
        let (fence, cancel) = (self.hold.fence.clone(), self.hold.cancel.clone());
        let (ending, draining) = (running.shared.ending.clone(), running.shared.draining.clone());
        let (recovers, stopping) = (self.recovers, self.stopping.is_some());
        async move {
            tokio::select! {
                () = fence.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = cancel.cancelled(), if !stopping => {}
                () = draining.cancelled(), if recovers && !stopping => {}
                () = ending.cancelled(), if !stopping => {}
            }
        }
    }

    async fn hear(&mut self, running: &mut Running<'a>, call: &Call, said: Said, deadline: Instant) -> Result<(), ()> {
        match said {
            Said::Checkpoint(handle) if handle.len() > MAX_HANDLE => {
                let why = format!("a handle of {} bytes: at most {MAX_HANDLE} are kept", handle.len());
                drop(call.answer(Err(Error::invalid(why))).await);
            }
            Said::Checkpoint(_) if !self.recovers => {
                let why = "an executor that can't recover keeps no handles; export it with `recover`";
                drop(call.answer(Err(Error::new(Kind::Unsupported, why))).await);
            }
            Said::Checkpoint(handle) => {
                let store = &running.shared.parts.store;
                let write = || store.keep_handle(running.claim, handle.to_vec());
                if until_done(self.shared, &self.hold.fence, write).await != Some(true) {
                    drop(call.not_ours().await);
                    return Err(());
                }
                self.begun = Some(Some(handle.to_vec()));
                drop(call.answer(Ok(Value::Null)).await);
            }
            Said::Request(method, json) => {
                let until = self.interruption(running, deadline);
                let answer = tokio::select! {
                    biased;
                    () = until => Err(Error::stopped()),
                    answer = elsewhere::request(running, &self.job, self.recovers, &method, &json) => answer,
                };
                drop(call.answer(answer).await);
            }
            said => {
                // Where the disk is full, what the executor says is not kept, but it goes on.
                if let Err(Ending::Release { why, .. }) = running.hear(said) {
                    running.warn(why);
                }
            }
        }
        Ok(())
    }

    /// What the end of a call means.
    fn ended(&self, running: &mut Running<'_>, result: Result<Outcome, Failure>, can: Capabilities) -> Ran {
        let reason = match self.stopping {
            Some(Stop::Timeout) => KillReason::Timeout,
            _ => KillReason::Cancelled,
        };
        match result {
            Err(Failure::Stopped(_)) if self.stopping == Some(Stop::Detach) => {
                Err(Ending::Detach { delay: Duration::ZERO, why: "the worker ends".into() })
            }
            Err(Failure::Stopped(_)) if self.stopping.is_some() => self.killed(reason),
            Err(Failure::Stopped(why)) => {
                Ok(Err(Failure::Executor(format!("the executor stopped without being asked to: {why}"))))
            }
            // It runs, whether it can be asked now or not.
            Err(Failure::Retry(why)) if can.recover && self.recovering => Err(Ending::Detach { delay: LATER, why }),
            Err(Failure::Retry(why)) => Err(again(running.claim, why)),
            Ok(outcome) if super::running::was_canceled(&outcome) => self.killed(reason),
            other => Ok(other),
        }
    }

    /// It did not stop in time: what is here of it was ended.
    fn deaf(&self, can: Capabilities) -> Ran {
        match self.stopping {
            Some(Stop::Detach) if can.recover => {
                Err(Ending::Detach { delay: Duration::ZERO, why: "the worker ends".into() })
            }
            Some(Stop::Timeout) => self.killed(KillReason::Timeout),
            _ => self.killed(KillReason::Cancelled),
        }
    }

    /// One that was ended because the worker ends is run again.
    fn killed(&self, reason: KillReason) -> Ran {
        if reason == KillReason::Cancelled && !self.hold.cancel.is_cancelled() {
            return Err(self.leave("the worker ends".into(), Duration::ZERO));
        }
        Ok(Ok(Outcome::killed(reason)))
    }

    fn leave(&self, why: String, delay: Duration) -> Ending {
        if self.begun.is_some() && self.recovers {
            Ending::Detach { delay, why }
        } else {
            Ending::Release { delay, why }
        }
    }
}
