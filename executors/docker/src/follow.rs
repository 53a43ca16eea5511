//! From a container to its outcome.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::WaitContainerOptions;
use futures_util::StreamExt;
use jobmgr_plugin_api::progress::{self, Progress};
use jobmgr_plugin_api::{Context, Error, Job, Kind, Outcome, Result, Stop};
use tokio::time::{sleep, timeout};

use crate::Docker;
use crate::engine::{Away, Engine};
use crate::failure::{Failure, is_shortage};
use crate::logs::{Logs, Until};
use crate::options::Options;
use crate::outcome::{Circumstances, has_ended, is_new, may_lack_its_cause, outcome};
use crate::stop::{Stops, reason};

/// How often a signal is sent again to a container that does not run, or an engine that does not answer.
const AGAIN: Duration = Duration::from_millis(200);
/// How many times a container whose log has ended may still be called running, with pauses that double.
const SETTLES: u32 = 7;

/// After which pauses, in milliseconds, a container that was killed is looked at again for why.
const CAUSE: [u64; 4] = [20, 50, 150, 400];

/// How often the log of a container is read that can't be followed, at most.
const READ_EVERY: Duration = Duration::from_millis(200);
/// How long a container is not looked at while its end is waited for.
const POLL: Duration = Duration::from_secs(10);

/// One call's view of the job's container.
pub struct Following<'a> {
    docker: &'a Docker,
    job: &'a Job<Options>,
    ctx: &'a Context<'a>,
    id: String,
    logs: Logs,
    progress: RefCell<Option<Progress>>,
    signalled: Cell<Option<Stop>>,
}

/// What is known of the container between two looks at it.
struct Known {
    /// It was made a moment ago.
    fresh: bool,
    /// Its log has come to an end.
    log_ended: bool,
    /// How often it was called running after that.
    settles: u32,
    /// The engine was away since the container was last seen running.
    gap: bool,
}

impl<'a> Following<'a> {
    /// Of the container `id`, which is the job's.
    pub fn new(docker: &'a Docker, job: &'a Job<Options>, ctx: &'a Context<'a>, id: String) -> Self {
        Self {
            docker,
            job,
            ctx,
            id,
            logs: Logs::new(&job.logged),
            progress: RefCell::new(Progress::of(&job.env)),
            signalled: Cell::new(None),
        }
    }

    /// Follows it until it has ended, or a stop has ended it. `fresh`: it was made a moment ago.
    pub async fn to_the_end(&self, stops: &Stops, fresh: bool) -> Result<Outcome> {
        let outcome = tokio::select! {
            biased;
            error = self.heed(stops) => Err(error),
            outcome = self.follow(stops, fresh) => outcome,
            () = self.watch_progress() => Err(Error::stopped()),
        };
        self.look_at_progress();
        outcome
    }

    async fn follow(&self, stops: &Stops, fresh: bool) -> Result<Outcome> {
        let mut away = Away::new(self.docker.config.patience());
        let mut known = Known { fresh, log_ended: false, settles: 0, gap: false };
        loop {
            match self.look(stops, &mut known, &mut away).await {
                Ok(Some(found)) => return self.outcome(&self.with_cause(found).await, known.gap).await,
                Ok(None) => {}
                Err(Failure::Away(why) | Failure::Refused { status: 500.., message: why }) => {
                    known = Known { fresh: false, log_ended: false, settles: 0, gap: true };
                    away.pause(&self.docker.connection, &why).await?;
                }
                Err(other) => {
                    let error = self.docker.error(other);
                    return match self.signalled.get() {
                        // It was not started any more.
                        Some(why) if error.kind() == Kind::Stopped => Ok(Outcome::killed(reason(why))),
                        _ => Err(error),
                    };
                }
            }
        }
    }

    /// Looks at the container once, and does what is to do: gives it when it has ended.
    async fn look(
        &self,
        stops: &Stops,
        known: &mut Known,
        away: &mut Away,
    ) -> Result<Option<ContainerInspectResponse>, Failure> {
        let engine = self.docker.connection.engine().await?;
        if std::mem::take(&mut known.fresh) {
            self.start(engine, stops).await?;
        } else {
            let Some(found) = engine.inspect(&self.id).await? else { return Err(self.lost().into()) };
            away.back();
            if has_ended(&found) {
                // Once more: a log that is followed now and then ends before its last lines (Docker 20.10).
                self.logs.read(engine, &self.id, self.ctx, Until::TheLast).await?;
                return Ok(Some(found));
            }
            if is_new(&found) {
                self.start(engine, stops).await?;
            }
            known.gap = false;
            if known.log_ended && known.settles < SETTLES {
                known.settles += 1;
                sleep(Duration::from_millis(10 << known.settles)).await;
                return Ok(None);
            }
        }
        known.settles = 0;
        known.log_ended = if engine.podman.is_some() {
            self.poll(engine).await?
        } else {
            self.logs.read(engine, &self.id, self.ctx, Until::TheEnd).await?
        };
        Ok(None)
    }

    /// Reads the log again and again until the container seems to have ended, or for a while: podman 4.3 loses lines
    /// in the middle of a log that is followed.
    async fn poll(&self, engine: &Engine) -> Result<bool, Failure> {
        let until = Instant::now() + POLL;
        let mut end = std::pin::pin!(engine.client.wait_container(&self.id, None::<WaitContainerOptions>));
        while Instant::now() < until {
            let begin = Instant::now();
            self.logs.read(engine, &self.id, self.ctx, Until::Now).await?;
            // A long log takes its time, and may take a tenth of ours.
            let pause = READ_EVERY.max(begin.elapsed() * 9);
            if timeout(pause, end.next()).await.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lost(&self) -> Error {
        Error::lost(format!("the container {} ({}) is gone: somebody has removed it", self.job.key, self.id))
    }

    /// Starts it, unless its end was asked for before.
    async fn start(&self, engine: &Engine, stops: &Stops) -> Result<(), Failure> {
        if let Some(why) = stops.now() {
            self.signalled.set(Some(why).filter(|why| *why != Stop::Detach));
            return Err(Error::stopped().into());
        }
        match engine.start(&self.id).await {
            Err(Failure::Refused { status, message }) => Err(Failure::Other(self.not_started(status, &message))),
            other => other,
        }
    }

    fn not_started(&self, status: u16, message: &str) -> Error {
        let text = format!("the engine can't start the container: {message}");
        let lower = message.to_lowercase();
        let command = ["executable file not found", "no such file or directory", "permission denied", "is a directory"];
        if status == 404 && lower.contains("no such container") {
            self.lost()
        } else if is_shortage(message) {
            Error::retry(text)
        } else if status < 500 || command.iter().any(|words| lower.contains(words)) {
            Error::invalid(text)
        } else {
            Error::failed(text)
        }
    }

    /// Docker hears that a container has ended and that it needed too much memory one after the other, in no order.
    async fn with_cause(&self, mut found: ContainerInspectResponse) -> ContainerInspectResponse {
        let Ok(engine) = self.docker.connection.engine().await else { return found };
        if self.job.options.memory.is_none() || self.signalled.get().is_some() || engine.podman.is_some() {
            return found;
        }
        for pause in CAUSE {
            if !may_lack_its_cause(&found) {
                break;
            }
            sleep(Duration::from_millis(pause)).await;
            if let Ok(Some(newer)) = engine.inspect(&self.id).await {
                found = newer;
            }
        }
        found
    }

    async fn outcome(&self, found: &ContainerInspectResponse, gap: bool) -> Result<Outcome> {
        let mut away = None;
        if let (true, Ok(engine)) = (gap, self.docker.connection.engine().await) {
            away = Some(engine.keeps_containers().await);
            if engine.podman.is_none() {
                self.ctx.warn("the engine was away when the container ended: the last of its output may be missing");
            }
        }
        let outcome = outcome(found, &Circumstances { signalled: self.signalled.get(), away });
        if let Some(text) = &outcome.message {
            self.ctx.warn(text.clone());
        }
        Ok(outcome)
    }

    /// Waits for a stop and sees that it is kept; returns only when the container shall go on without us.
    async fn heed(&self, stops: &Stops) -> Error {
        let why = stops.asked().await;
        if why == Stop::Detach {
            return Error::stopped();
        }
        let grace = Duration::from_millis(self.job.limits.kill_grace_ms);
        let polite = async {
            let signal = self.stop_signal().await;
            while !self.signal(why, &signal).await {
                sleep(AGAIN).await;
            }
            std::future::pending::<()>().await;
        };
        // What it gives is that the grace is over.
        let _ = timeout(grace, polite).await;
        loop {
            self.signal(why, "SIGKILL").await;
            sleep(AGAIN).await;
        }
    }

    /// The image may have a signal of its own by which it wants to be asked.
    async fn stop_signal(&self) -> String {
        let found = match self.docker.connection.engine().await {
            Ok(engine) => engine.inspect(&self.id).await.ok().flatten(),
            Err(_) => None,
        };
        let signal = found.and_then(|found| found.config?.stop_signal).filter(|signal| !signal.is_empty());
        signal.unwrap_or_else(|| "SIGTERM".into())
    }

    /// Whether the signal was passed on.
    async fn signal(&self, why: Stop, signal: &str) -> bool {
        let Ok(engine) = self.docker.connection.engine().await else { return false };
        let sent = matches!(engine.kill(&self.id, signal).await, Ok(true));
        if sent {
            self.signalled.set(Some(why));
        }
        sent
    }

    async fn watch_progress(&self) {
        if self.progress.borrow().is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            sleep(progress::EVERY).await;
            self.look_at_progress();
        }
    }

    fn look_at_progress(&self) {
        if let Some(progress) = self.progress.borrow_mut().as_mut() {
            progress.look(self.ctx);
        }
    }
}
