//! What a job left: to the store, and into its end.

use std::time::Duration;

use jobmgr_plugin_api::Outcome;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::attempt::{Ending, again, key_prefix};
use super::collect::{self, CollectError, Collected};
use super::leases::Hold;
use super::running::Running;
use super::verdict::Verdict;
use super::workspace::Directory;
use crate::blobs::BlobError;
use crate::crash;
use crate::domain::job::{Ended, Failure, Finish, Log, Reason, Status};
use crate::domain::jobspec::{Jobspec, Retry};
use crate::runner;

/// How long uploads are tried again while the store is away.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How long uploads may go on when the worker ends its jobs, and those that are on their way when a lease is lost.
const LAST_UPLOADS: Duration = Duration::from_secs(5);
/// How large a structured output may be.
const MAX_OUTPUT: u64 = 1 << 20;

impl Running<'_> {
    /// Uploads what the job left, and makes its end.
    pub(super) async fn collect(
        &mut self,
        spec: &Jobspec,
        result: Result<Outcome, runner::Failure>,
        directory: &Directory,
        hold: &Hold,
    ) -> Ending {
        let fence = &hold.fence;
        // Before the end, after which the row takes no more.
        fence.run_until_cancelled(self.last_progress()).await;
        let mut verdict = match &result {
            Ok(outcome) => Verdict::of(outcome, spec.timeout),
            Err(runner::Failure::Invalid(why)) => Verdict::failed(Reason::InvalidJob, why),
            Err(runner::Failure::Lost(why)) => Verdict::failed(Reason::ExecutorError, format!("lost: {why}")),
            Err(runner::Failure::Unkillable(why)) => {
                self.shared.retire(self.claim, why);
                Verdict::failed(Reason::Unkillable, why)
            }
            Err(failure) => Verdict::failed(Reason::ExecutorError, failure.to_string()),
        };
        self.last_chunks().await;
        if let Some(ending) = self.try_again(spec, &verdict, result.as_ref().ok(), &hold.cancel) {
            return ending;
        }
        let output = self.structured_output(directory);
        crash::at(crash::Point::BeforeUpload);
        let kept = match self.upload_in_time(directory, fence).await {
            Ok(kept) => kept,
            Err(ending) => return ending,
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
        crash::at(crash::Point::AfterUpload);
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
            warnings: std::mem::take(&mut self.warnings),
            artifacts: collected.artifacts,
            skipped: collected.skipped,
            executor_log: std::mem::take(&mut self.executor),
        };
        let finish = Finish {
            status: verdict.status,
            reason: verdict.reason,
            attempt: self.claim.attempt,
            chunks: self.live.any(),
            ended,
        };
        Ending::Finish(Box::new(finish))
    }

    /// How it is tried again; who submitted the job may say how often where the jobspec says nothing.
    fn retry_of(&self, spec: &Jobspec) -> Option<Retry> {
        spec.retry.clone().or_else(|| self.claim.max_retries.map(|_| Retry::default()))
    }

    /// The end of an attempt that the jobspec or its submission forgives; what it left in `artifacts/` goes with its directory.
    fn try_again(
        &self,
        spec: &Jobspec,
        verdict: &Verdict,
        outcome: Option<&Outcome>,
        cancel: &CancellationToken,
    ) -> Option<Ending> {
        let (retry, reason) = (self.retry_of(spec)?, verdict.reason?);
        let tries = u32::try_from(self.claim.tries).unwrap_or(u32::MAX);
        let most = self.claim.max_retries.map_or(retry.max, |most| u32::try_from(most).unwrap_or_default());
        let again = verdict.status == Status::Failed && retry.on.contains(&reason) && tries < most;
        if !again || cancel.is_cancelled() {
            return None;
        }
        let failure = Failure {
            reason,
            error: verdict.error.clone(),
            exit_code: outcome.and_then(|outcome| outcome.exit_code).map(i64::from),
            signal: outcome.and_then(|outcome| outcome.signal).map(i64::from),
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
        };
        Some(Ending::Retry { delay: retry.pause(tries, fastrand::f64()), failure: Box::new(failure) })
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

    /// Uploads, unless the lease is lost or the worker's time is over.
    async fn upload_in_time(
        &mut self,
        directory: &Directory,
        fence: &CancellationToken,
    ) -> Result<Result<Kept, Upload>, Ending> {
        let ending = self.shared.ending.clone();
        let uploading = self.upload(directory, fence);
        tokio::pin!(uploading);
        tokio::select! {
            biased;
            () = fence.cancelled() => {
                // What is on its way arrives all the same, and is to be removed with the rest.
                drop(tokio::time::timeout(LAST_UPLOADS, uploading).await);
                Err(Ending::Fenced)
            }
            () = no_more_uploads(ending) => {
                Err(Ending::Release { delay: Duration::ZERO, why: "the worker ends before all is stored".into() })
            }
            kept = &mut uploading => Ok(kept),
        }
    }

    /// Artifacts and large logs to the store; tries again while it is away.
    async fn upload(&mut self, directory: &Directory, fence: &CancellationToken) -> Result<Kept, Upload> {
        let until = Instant::now() + UPLOAD_PATIENCE;
        let mut pause = Duration::from_millis(250);
        loop {
            let why = match self.upload_once(directory, fence).await {
                Ok(kept) => return Ok(kept),
                Err(Tried::Limit(why)) => {
                    // Some may be there already; none of them is listed.
                    let prefix = self.prefix();
                    if let Err(error) = self.shared.parts.blobs.delete_prefix(&prefix).await {
                        warn!(job = self.claim.id, %error, "objects of refused artifacts stay");
                    }
                    let logs = self.logs().await.map_err(|error| Upload::Away(error.to_string()))?;
                    return Err(Upload::Limit(why, logs.0, logs.1));
                }
                Err(Tried::Away(why)) => why,
            };
            if Instant::now() > until || self.shared.ending.is_cancelled() || fence.is_cancelled() {
                return Err(Upload::Away(why));
            }
            warn!(job = self.claim.id, %why, "what the job left can't be stored yet");
            fence.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    async fn upload_once(&mut self, directory: &Directory, stop: &CancellationToken) -> Result<Kept, Tried> {
        let config = &self.shared.parts.config;
        let limits = collect::Limits { max_files: config.max_artifacts, max_bytes: config.max_artifact_bytes };
        let prefix = self.prefix();
        let blobs = &self.shared.parts.blobs;
        let collected = collect::collect(blobs, &directory.artifacts(), self.claim.id, &prefix, &limits, stop).await;
        let installation = self.shared.parts.store.installation();
        let collected = collected.and_then(|mut collected| {
            self.uploads.join(&mut collected, self.claim, installation, &limits).map(|()| collected)
        });
        let collected = collected.map_err(|error| match error {
            CollectError::Limit(why) => Tried::Limit(why),
            CollectError::Infra(error) => Tried::Away(error.to_string()),
            error @ (CollectError::Workspace(_) | CollectError::Stopped) => Tried::Away(error.to_string()),
        })?;
        let (stdout, stderr) = self.logs().await.map_err(|error| Tried::Away(error.to_string()))?;
        Ok((collected, stdout, stderr))
    }

    /// Two holders of one attempt write to places of their own.
    fn prefix(&self) -> String {
        let prefix = key_prefix(self.shared, self.claim, self.claim.attempt);
        if self.taken { format!("{prefix}/e{}", self.claim.epoch) } else { prefix }
    }

    async fn logs(&mut self) -> Result<(Log, Log), BlobError> {
        let prefix = self.prefix();
        let blobs = &self.shared.parts.blobs;
        let stdout = self.stdout.keep(blobs, &format!("{prefix}/stdout")).await?;
        let stderr = self.stderr.keep(blobs, &format!("{prefix}/stderr")).await?;
        Ok((stdout, stderr))
    }
}

/// Waits until the worker has been ending for so long that uploads are given up.
async fn no_more_uploads(ending: CancellationToken) {
    ending.cancelled().await;
    tokio::time::sleep(LAST_UPLOADS).await;
}

/// What is in the store: artifacts, standard output, standard error.
type Kept = (Collected, Log, Log);

enum Tried {
    Limit(String),
    Away(String),
}

enum Upload {
    Limit(String, Log, Log),
    Away(String),
}
