//! A job while it runs: what it says, and what makes it stop.

use std::sync::Arc;
use std::time::Duration;

use jobmgr_plugin_api::{self as plugin_api, Event, Logged, Outcome, Stop};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::attempt::{Ending, again};
use super::leases::Hold;
use super::output::Output;
use super::{Live, Shared};
use crate::crash;
use crate::domain::job::{Claim, Log, LogBody, Progress};
use crate::domain::jobspec::Jobspec;
use crate::metrics;
use crate::runner::{Failure, Request, Runner, Said};
use crate::store::{EXECUTOR_LOG, StoreError, Stream};

/// How long an executor may take beyond the job's grace before its runner is ended.
const OVERTIME: Duration = Duration::from_secs(70);
/// The streams of a job.
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];
/// How often progress is written to the database.
const PROGRESS: Duration = Duration::from_secs(1);

/// A job while it runs.
pub(super) struct Running<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) claim: &'a Claim,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) warnings: Vec<String>,
    pub(super) live: super::live::Pieces,
    /// The end of what the executor says for itself, and how much that was in all.
    pub(super) executor: Log,
    /// How much of both streams there is, and of when.
    logged: [Logged; 2],
    /// What may be uploaded for it from elsewhere, and what was.
    pub(super) uploads: super::elsewhere::Uploads,
    /// Another holder began this attempt.
    pub(super) taken: bool,
    progress: Option<Progress>,
    progress_due: Instant,
    /// The last write of progress.
    writing: Option<JoinHandle<()>>,
}

/// How the job's run came out, before anything is collected.
pub(super) type Ran = Result<Result<Outcome, Failure>, Ending>;

impl<'a> Running<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, claim: &'a Claim, warnings: Vec<String>) -> Self {
        let cap = shared.parts.config.max_log_bytes;
        Running {
            shared,
            claim,
            stdout: Output::new(shared.root.spool(claim, "stdout"), cap),
            stderr: Output::new(shared.root.spool(claim, "stderr"), cap),
            warnings,
            live: super::live::Pieces::new(),
            executor: Log::default(),
            logged: Default::default(),
            uploads: super::elsewhere::Uploads::default(),
            taken: false,
            progress: None,
            progress_due: Instant::now(),
            writing: None,
        }
    }

    /// Has the runner run the job, starting one where there is none.
    pub(super) async fn run(
        &mut self,
        slot: &mut Option<Runner>,
        spec: &Jobspec,
        request: &Request,
        hold: &Hold,
    ) -> Ran {
        crash::at(crash::Point::BeforeSpawn);
        let mut runner = hand_over(slot.take(), self.claim, request).await?;
        crash::at(crash::Point::AfterSpawn);
        let result = self.follow(&mut runner, spec, hold).await;
        crash::at(crash::Point::AfterExit);
        match &result {
            Ok(Err(Failure::Unkillable(why))) => {
                // Now: it takes a while until a runner has gone that can't end what it runs.
                self.shared.retire(self.claim, why);
                end(runner).await;
            }
            Ok(Ok(_) | Err(Failure::Invalid(_) | Failure::Executor(_) | Failure::Retry(_))) => *slot = Some(runner),
            _ => end(runner).await,
        }
        match result {
            Ok(Err(Failure::Died(why))) => {
                metrics::runner_died("own");
                Err(Ending::Crashed(why))
            }
            Ok(Err(Failure::Retry(why))) => Err(again(self.claim, why)),
            // Ended by the worker, not by itself or by request: it is to be run again.
            Ok(Ok(outcome)) if was_canceled(&outcome) && !hold.cancel.is_cancelled() => {
                Err(Ending::Release { delay: Duration::ZERO, why: "the worker ends".into() })
            }
            other => other,
        }
    }

    /// Listens to the job until it has ended; asks it to stop when its time is over or the worker ends.
    async fn follow(&mut self, runner: &mut Runner, spec: &Jobspec, hold: &Hold) -> Ran {
        let ending = self.shared.ending.clone();
        let far = Duration::from_secs(365 * 24 * 3600);
        let deadline = tokio::time::sleep(spec.timeout.min(far));
        tokio::pin!(deadline);
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                () = hold.fence.cancelled() => return Err(Ending::Fenced),
                () = &mut deadline => {
                    if stopping {
                        return Err(Ending::Crashed("the executor did not end the job when it was asked to".into()));
                    }
                    stopping = true;
                    drop(runner.stop(Stop::Timeout).await);
                    deadline.as_mut().reset(Instant::now() + spec.kill_grace + OVERTIME);
                }
                () = either(&ending, &hold.cancel), if !stopping => {
                    stopping = true;
                    drop(runner.stop(Stop::Cancel).await);
                    deadline.as_mut().reset(Instant::now() + spec.kill_grace + OVERTIME);
                }
                () = self.live.due() => self.flush(),
                () = tokio::time::sleep_until(self.progress_due), if self.progress.is_some() => self.note_progress(),
                // Last: a job that writes without a pause must not keep the others from being looked at.
                said = runner.next() => match said {
                    Said::Done(result) => return Ok(result),
                    said => self.hear(said)?,
                },
            }
        }
    }

    pub(super) fn hear(&mut self, said: Said) -> Result<(), Ending> {
        let claim = self.claim;
        let full = |error: std::io::Error| again(claim, format!("the job's output can't be kept: {error}"));
        match said {
            Said::Log { stream: plugin_api::Stream::Stdout, time_ns, data } => {
                self.tell(Live::Stdout(&data));
                self.written(Stream::Stdout, time_ns, &data);
                self.stdout.write(&data).map_err(full)
            }
            Said::Log { stream: plugin_api::Stream::Stderr, time_ns, data } => {
                self.tell(Live::Stderr(&data));
                self.written(Stream::Stderr, time_ns, &data);
                self.stderr.write(&data).map_err(full)
            }
            Said::Log { data, .. } => {
                self.executor_said(&data);
                Ok(())
            }
            Said::Event(Event::Progress { percent, message }) => {
                self.tell(Live::Progress(percent, &message));
                self.progress = Some(Progress { percent, message });
                self.note_progress();
                Ok(())
            }
            Said::Event(Event::Warning(text)) => {
                self.warn(text);
                Ok(())
            }
            Said::Event(other) => {
                self.executor_said(format!("{}\n", other.to_json()).as_bytes());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes what was written to one of the job's streams.
    fn written(&mut self, stream: Stream, time_ns: u64, data: &[u8]) {
        let logged = &mut self.logged[usize::from(stream == Stream::Stderr)];
        logged.add(time_ns, data.len() as u64);
        self.live.add(stream, data, (logged.time_ns, logged.time_bytes));
    }

    /// Keeps the end of what the executor says for itself.
    pub(super) fn executor_said(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.live.add(Stream::Executor, data, (0, 0));
        self.executor.written += data.len() as u64;
        if let LogBody::Inline(end) = &mut self.executor.body {
            end.extend_from_slice(data);
            let over = end.len().saturating_sub(usize::try_from(EXECUTOR_LOG).unwrap_or(usize::MAX));
            end.drain(..over);
        }
    }

    /// Of an attempt that does not end its job: what its executor has said, which nobody could ask for again.
    pub(super) async fn last_words(&mut self) {
        self.live.last_words(&self.shared.parts.store, self.claim).await;
    }

    /// How much of both streams is there.
    pub(super) fn logged(&self) -> [Logged; 2] {
        self.logged
    }

    /// Waits until there is output to be written for those who look.
    pub(super) async fn live_due(&self) {
        self.live.due().await;
    }

    /// Goes on with the output that another holder has written, where all of it is there; else it is asked for again.
    pub(super) async fn restore(&mut self) -> Result<(), StoreError> {
        self.taken = true;
        let Claim { id, attempt, .. } = *self.claim;
        let store = &self.shared.parts.store;
        self.executor = store.executor_log(id, attempt).await?;
        self.live.start_after(Stream::Executor, self.executor.written);
        let (mut streams, mut times) = ([Vec::new(), Vec::new()], [(0, 0); 2]);
        for ((stream, bytes), time) in STREAMS.into_iter().zip(&mut streams).zip(&mut times) {
            loop {
                let from = bytes.len() as u64;
                let live = store.live(id, attempt, stream, from).await?;
                if live.start != from {
                    return store.forget_output(self.claim).await;
                }
                if live.bytes.is_empty() {
                    break;
                }
                bytes.extend_from_slice(&live.bytes);
                *time = live.time;
            }
        }
        let have = STREAMS.into_iter().zip(&streams).zip(times).zip(&mut self.logged);
        for (((stream, bytes), (time_ns, time_bytes)), logged) in have {
            *logged = Logged::bytes(bytes.len() as u64);
            (logged.time_ns, logged.time_bytes) = (time_ns, time_bytes);
            self.live.start_after(stream, logged.bytes);
        }
        let [stdout, stderr] = streams;
        let kept = self.stdout.write(&stdout).and_then(|()| self.stderr.write(&stderr));
        kept.map_err(|error| StoreError::Failed(format!("the job's output can't be kept: {error}")))
    }

    pub(super) fn warn(&mut self, text: String) {
        warn!(job = self.claim.id, "{text}");
        self.tell(Live::Warning(&text));
        self.warnings.push(text);
    }

    fn tell(&self, live: Live<'_>) {
        if let Some(tap) = &self.shared.parts.tap {
            tap(self.claim.id, live);
        }
    }

    /// Writes what the job wrote, for those who look while it runs, without waiting for it.
    pub(super) fn flush(&mut self) {
        let (store, claim) = (self.shared.parts.store.clone(), self.claim.clone());
        self.live.flush(store, &claim);
    }

    /// Waits for what is being written of its output.
    pub(super) async fn last_chunks(&mut self) {
        self.live.settle().await;
    }

    /// Writes progress now and then, without waiting for it.
    fn note_progress(&mut self) {
        if self.progress_due > Instant::now() {
            return;
        }
        if let Some(progress) = self.progress.take() {
            self.progress_due = Instant::now() + PROGRESS;
            let (store, claim) = (self.shared.parts.store.clone(), self.claim.clone());
            // The next one tells more than this one.
            self.writing = Some(tokio::spawn(async move { drop(store.progress(&claim, &progress).await) }));
        }
    }

    /// Writes what was not written yet, and waits for what is being written.
    pub(super) async fn last_progress(&mut self) {
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
        if let Some(progress) = self.progress.take() {
            drop(self.shared.parts.store.progress(self.claim, &progress).await);
        }
    }
}

/// Gives the job to the kept runner, or to a new one where there is none or it has died meanwhile.
async fn hand_over(kept: Option<Runner>, claim: &Claim, request: &Request) -> Result<Runner, Ending> {
    if let Some(mut runner) = kept {
        if runner.run(request).await.is_ok() {
            return Ok(runner);
        }
        end(runner).await;
    }
    let started = Runner::start().await.inspect(|_| metrics::runner_started("own"));
    let mut runner = started.map_err(|error| again(claim, format!("no runner can be started: {error}")))?;
    match runner.run(request).await {
        Ok(()) => Ok(runner),
        Err(error) => {
            end(runner).await;
            Err(again(claim, format!("the runner does not take the job: {error}")))
        }
    }
}

/// Ends a runner, and what it did not end itself: nothing of an attempt may be left when the next one starts.
async fn end(runner: Runner) {
    runner.end().await;
    super::end_orphans().await;
}

async fn either(one: &CancellationToken, other: &CancellationToken) {
    tokio::select! {
        () = one.cancelled() => {}
        () = other.cancelled() => {}
    }
}

pub(super) fn was_canceled(outcome: &Outcome) -> bool {
    outcome.ending == jobmgr_plugin_api::Ending::Killed(jobmgr_plugin_api::KillReason::Cancelled)
}
