//! One claim to its end.

use std::sync::Arc;
use std::time::Duration;

use jobmgr_plugin_api::{Event, Outcome, Stop};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::collect::{self, CollectError, Collected};
use super::output::Output;
use super::verdict::Verdict;
use super::workspace::{Directory, Spare};
use super::{Live, Shared, given};
use crate::blobs::BlobError;
use crate::domain::job::{Claim, Ended, Finish, Log, Progress, Reason, Status};
use crate::domain::jobspec::Jobspec;
use crate::runner::{Failure, Request, Runner, Said};

/// How long an executor may take beyond the job's grace before its runner is ended.
const OVERTIME: Duration = Duration::from_secs(70);
/// How long uploads are tried again while the store is away.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How long uploads may go on when the worker ends its jobs.
const LAST_UPLOADS: Duration = Duration::from_secs(5);
/// When a job runs again that could not be run, or its result not be stored, now: doubled for each time.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest such pause: `AGAIN` doubled so often.
const DOUBLINGS: u32 = 9;
/// How often progress is written to the database.
const PROGRESS: Duration = Duration::from_secs(1);
/// How large a structured output may be.
const MAX_OUTPUT: u64 = 1 << 20;

/// How an attempt ended, for the queue.
pub(super) enum Ending {
    /// The job ended.
    Finish(Box<Finish>),
    /// It could not be run now, or the worker ends: queued again, not counted.
    Release { delay: Duration, why: String },
    /// Its runner died.
    Crashed(String),
    /// The lease is lost.
    Fenced,
}

/// What a slot keeps from one attempt to the next.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) runner: Option<Runner>,
    pub(super) spare: Option<Spare>,
}

/// Where the objects of an attempt are in the store.
pub(super) fn key_prefix(claim: &Claim, attempt: i64) -> String {
    format!("jobs/{}/{attempt}", claim.id)
}

/// Runs the claim; gives its end, and its directory, which is still there.
pub(super) async fn run(
    shared: &Arc<Shared>,
    kept: &mut Kept,
    claim: &Claim,
    fence: &CancellationToken,
) -> (Ending, Option<Directory>) {
    let parts = &shared.parts;
    let spec = match parts.jobspecs.get(&claim.name) {
        Ok(spec) => spec,
        Err(why) => return (ended_early(claim, Verdict::failed(Reason::InvalidJob, why)), None),
    };
    let env = match given::parameters(claim, &spec) {
        Ok(env) => env,
        Err(verdict) => return (ended_early(claim, verdict), None),
    };
    let directory = match shared.root.directory(claim, kept.spare.take()) {
        Ok(directory) => directory,
        Err(error) => return (again(claim, format!("the temporary directory can't be made: {error}")), None),
    };
    let (request, warnings) = given::request(parts.store.installation(), claim, &spec, env, &directory);
    let mut running = Running::new(shared, claim, warnings);
    let said = running.run(&mut kept.runner, &spec, &request, fence).await;
    let ending = match said {
        Ok(outcome) => running.collect(&spec, outcome, &directory, fence).await,
        Err(ending) => ending,
    };
    (ending, Some(directory))
}

/// The job goes back to the queue, for longer each time.
fn again(claim: &Claim, why: String) -> Ending {
    let before = u32::try_from(claim.attempt - 1).unwrap_or(0).min(DOUBLINGS);
    Ending::Release { delay: AGAIN * 2_u32.pow(before), why }
}

/// The end of a job that was never run.
fn ended_early(claim: &Claim, verdict: Verdict) -> Ending {
    let ended = Ended {
        error: verdict.error,
        exit_code: None,
        signal: None,
        stdout: Log::default(),
        stderr: Log::default(),
        output: None,
        warnings: Vec::new(),
        artifacts: Vec::new(),
        skipped: Vec::new(),
    };
    let finish = Finish { status: verdict.status, reason: verdict.reason, attempt: claim.attempt, ended };
    Ending::Finish(Box::new(finish))
}

/// A job while it runs.
struct Running<'a> {
    shared: &'a Arc<Shared>,
    claim: &'a Claim,
    stdout: Output,
    stderr: Output,
    warnings: Vec<String>,
    progress: Option<Progress>,
    progress_due: Instant,
}

/// How the job's run came out, before anything is collected.
type Ran = Result<Result<Outcome, Failure>, Ending>;

impl<'a> Running<'a> {
    fn new(shared: &'a Arc<Shared>, claim: &'a Claim, warnings: Vec<String>) -> Self {
        let cap = shared.parts.config.max_log_bytes;
        Running {
            shared,
            claim,
            stdout: Output::new(shared.root.spool(claim, "stdout"), cap),
            stderr: Output::new(shared.root.spool(claim, "stderr"), cap),
            warnings,
            progress: None,
            progress_due: Instant::now(),
        }
    }

    /// Has the runner run the job, starting one where there is none.
    async fn run(
        &mut self,
        slot: &mut Option<Runner>,
        spec: &Jobspec,
        request: &Request,
        fence: &CancellationToken,
    ) -> Ran {
        let mut runner = hand_over(slot.take(), self.claim, request).await?;
        let result = self.follow(&mut runner, spec, fence).await;
        match &result {
            Ok(Ok(_) | Err(Failure::Invalid(_) | Failure::Executor(_) | Failure::Retry(_))) => *slot = Some(runner),
            _ => end(runner).await,
        }
        match result {
            Ok(Err(Failure::Died(why))) => Err(Ending::Crashed(why)),
            Ok(Err(Failure::Retry(why))) => Err(again(self.claim, why)),
            // Ended by the worker, not by itself or by request: it is to be run again.
            Ok(Ok(outcome)) if self.shared.ending.is_cancelled() && was_canceled(&outcome) => {
                Err(Ending::Release { delay: Duration::ZERO, why: "the worker ends".into() })
            }
            other => other,
        }
    }

    /// Listens to the job until it has ended; asks it to stop when its time is over or the worker ends.
    async fn follow(&mut self, runner: &mut Runner, spec: &Jobspec, fence: &CancellationToken) -> Ran {
        let ending = self.shared.ending.clone();
        let far = Duration::from_secs(365 * 24 * 3600);
        let deadline = tokio::time::sleep(spec.timeout.min(far));
        tokio::pin!(deadline);
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                () = fence.cancelled() => return Err(Ending::Fenced),
                () = &mut deadline => {
                    if stopping {
                        return Err(Ending::Crashed("the executor did not end the job when it was asked to".into()));
                    }
                    stopping = true;
                    drop(runner.stop(Stop::Timeout).await);
                    deadline.as_mut().reset(Instant::now() + spec.kill_grace + OVERTIME);
                }
                () = ending.cancelled(), if !stopping => {
                    stopping = true;
                    drop(runner.stop(Stop::Cancel).await);
                    deadline.as_mut().reset(Instant::now() + spec.kill_grace + OVERTIME);
                }
                () = tokio::time::sleep_until(self.progress_due), if self.progress.is_some() => self.note_progress(),
                // Last: a job that writes without a pause must not keep the others from being looked at.
                said = runner.next() => match said {
                    Said::Done(result) => return Ok(result),
                    said => self.hear(said)?,
                },
            }
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), Ending> {
        let claim = self.claim;
        let full = |error: std::io::Error| again(claim, format!("the job's output can't be kept: {error}"));
        match said {
            Said::Stdout(data) => {
                self.tell(Live::Stdout(&data));
                self.stdout.write(&data).map_err(full)
            }
            Said::Stderr(data) => {
                self.tell(Live::Stderr(&data));
                self.stderr.write(&data).map_err(full)
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
            _ => Ok(()),
        }
    }

    fn warn(&mut self, text: String) {
        warn!(job = self.claim.id, "{text}");
        self.tell(Live::Warning(&text));
        self.warnings.push(text);
    }

    fn tell(&self, live: Live<'_>) {
        if let Some(tap) = &self.shared.parts.tap {
            tap(self.claim.id, live);
        }
    }

    /// Writes progress now and then, without waiting for it.
    fn note_progress(&mut self) {
        if self.progress_due > Instant::now() {
            return;
        }
        if let Some(progress) = self.progress.take() {
            self.progress_due = Instant::now() + PROGRESS;
            let (store, claim) = (self.shared.parts.store.clone(), self.claim.clone());
            // The next one tells more than this one, and the end tells all.
            tokio::spawn(async move { drop(store.progress(&claim, &progress).await) });
        }
    }

    /// Uploads what the job left, and makes its end.
    async fn collect(
        mut self,
        spec: &Jobspec,
        result: Result<Outcome, Failure>,
        directory: &Directory,
        fence: &CancellationToken,
    ) -> Ending {
        // Before the end, after which the row takes no more.
        if let Some(progress) = self.progress.take() {
            drop(self.shared.parts.store.progress(self.claim, &progress).await);
        }
        let mut verdict = match &result {
            Ok(outcome) => Verdict::of(outcome, spec.timeout),
            Err(Failure::Invalid(why)) => Verdict::failed(Reason::InvalidJob, why),
            Err(failure) if failure.to_string().contains("unkillable") => {
                Verdict::failed(Reason::Unkillable, failure.to_string())
            }
            Err(failure) => Verdict::failed(Reason::ExecutorError, failure.to_string()),
        };
        let output = self.structured_output(directory);
        let kept = tokio::select! {
            biased;
            () = fence.cancelled() => return Ending::Fenced,
            () = no_more_uploads(self.shared.ending.clone()) => {
                return Ending::Release { delay: Duration::ZERO, why: "the worker ends before all is stored".into() };
            }
            kept = self.upload(directory) => kept,
        };
        let (collected, stdout, stderr) = match kept {
            Ok(kept) => kept,
            Err(Upload::Limit(why, stdout, stderr)) => {
                if verdict.status == Status::Completed {
                    verdict = Verdict::failed(Reason::ArtifactLimit, why);
                } else {
                    self.warn(why);
                }
                (Collected { artifacts: Vec::new(), skipped: Vec::new() }, stdout, stderr)
            }
            Err(Upload::Away(why)) => return again(self.claim, why),
        };
        info!(job = self.claim.id, name = self.claim.name, attempt = self.claim.attempt, status = %verdict.status,
              error = verdict.error.as_deref().unwrap_or_default(), "ended");
        let outcome = result.ok();
        let ended = Ended {
            error: verdict.error,
            exit_code: outcome.as_ref().and_then(|outcome| outcome.exit_code).map(i64::from),
            signal: outcome.as_ref().and_then(|outcome| outcome.signal).map(i64::from),
            stdout,
            stderr,
            output,
            warnings: self.warnings,
            artifacts: collected.artifacts,
            skipped: collected.skipped,
        };
        let finish = Finish { status: verdict.status, reason: verdict.reason, attempt: self.claim.attempt, ended };
        Ending::Finish(Box::new(finish))
    }

    /// The JSON that the job wrote to `JOBMGR_OUTPUT`, if it did.
    fn structured_output(&mut self, directory: &Directory) -> Option<serde_json::Value> {
        let why = match collect::read_small(&directory.output(), MAX_OUTPUT) {
            Ok(None) => return None,
            Ok(Some(text)) => match serde_json::from_slice(&text) {
                Ok(value) => return Some(value),
                Err(error) => format!("it is not JSON: {error}"),
            },
            Err(error) => error.to_string(),
        };
        self.warn(format!("JOBMGR_OUTPUT was left out: {why}"));
        None
    }

    /// Artifacts and large logs to the store; tries again while it is away.
    async fn upload(&mut self, directory: &Directory) -> Result<(Collected, Log, Log), Upload> {
        let until = Instant::now() + UPLOAD_PATIENCE;
        let mut pause = Duration::from_millis(250);
        loop {
            let why = match self.upload_once(directory).await {
                Ok(kept) => return Ok(kept),
                Err(Tried::Limit(why)) => {
                    let logs = self.logs().await.map_err(|error| Upload::Away(error.to_string()))?;
                    return Err(Upload::Limit(why, logs.0, logs.1));
                }
                Err(Tried::Away(why)) => why,
            };
            if Instant::now() > until || self.shared.ending.is_cancelled() {
                return Err(Upload::Away(why));
            }
            warn!(job = self.claim.id, %why, "what the job left can't be stored yet");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    async fn upload_once(&mut self, directory: &Directory) -> Result<(Collected, Log, Log), Tried> {
        let config = &self.shared.parts.config;
        let limits = collect::Limits { max_files: config.max_artifacts, max_bytes: config.max_artifact_bytes };
        let prefix = key_prefix(self.claim, self.claim.attempt);
        let blobs = &self.shared.parts.blobs;
        let collected = collect::collect(blobs, &directory.artifacts(), self.claim.id, &prefix, &limits).await;
        let collected = collected.map_err(|error| match error {
            CollectError::Limit(why) => Tried::Limit(why),
            CollectError::Infra(error) => Tried::Away(error.to_string()),
            CollectError::Workspace(error) => Tried::Away(error.to_string()),
        })?;
        let (stdout, stderr) = self.logs().await.map_err(|error| Tried::Away(error.to_string()))?;
        Ok((collected, stdout, stderr))
    }

    async fn logs(&mut self) -> Result<(Log, Log), BlobError> {
        let prefix = key_prefix(self.claim, self.claim.attempt);
        let blobs = &self.shared.parts.blobs;
        let stdout = self.stdout.keep(blobs, &format!("{prefix}/stdout")).await?;
        let stderr = self.stderr.keep(blobs, &format!("{prefix}/stderr")).await?;
        Ok((stdout, stderr))
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
    let started = Runner::start().await;
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

/// Waits until the worker has been ending for so long that uploads are given up.
async fn no_more_uploads(ending: CancellationToken) {
    ending.cancelled().await;
    tokio::time::sleep(LAST_UPLOADS).await;
}

fn was_canceled(outcome: &Outcome) -> bool {
    outcome.ending == jobmgr_plugin_api::Ending::Killed(jobmgr_plugin_api::KillReason::Cancelled)
}

enum Tried {
    Limit(String),
    Away(String),
}

enum Upload {
    Limit(String, Log, Log),
    Away(String),
}
