//! What became of each run of a job.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::{Deserialize, Serialize};

use super::super::super::classic::{Compact, RETRY_AFTER_SECONDS};
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::parameter::Path;
use super::super::problem::{Problem, ProblemJson};
use super::super::timestamp::Timestamp;
use crate::domain::job::{Attempt, Job, JobId, Reason, Status};
use crate::store::StoreError;

/// `GET /v1/jobs/{id}/attempts`
pub struct Attempts {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Attempts {
    /// List a job's attempts
    ///
    /// Each run of the job, the newest first: who ran it, when, and how it ended. The output of each is at
    /// `/v1/jobs/{id}/logs?attempt=`.
    #[oai(path = "/v1/jobs/:id/attempts", method = "get", operation_id = "listAttempts", tag = "Tag::Jobs")]
    async fn attempts(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> AttemptsAnswer {
        let Some(id) = id.0 else { return AttemptsAnswer::NotFound(ProblemJson(Problem::no_job(None))) };
        match self.read(&caller, id).await {
            Ok(Some(items)) => AttemptsAnswer::Attempts(Compact(AttemptList { items, next: None })),
            Ok(None) => AttemptsAnswer::NotFound(ProblemJson(Problem::no_job(Some(id)))),
            Err(failure) => {
                tracing::error!(job = id, error = %failure, "can't read a job's attempts");
                AttemptsAnswer::Unavailable(ProblemJson(Problem::unavailable()), RETRY_AFTER_SECONDS)
            }
        }
    }
}

impl Attempts {
    async fn read(&self, caller: &Caller, id: JobId) -> Result<Option<Vec<AttemptInfo>>, StoreError> {
        let Some(job) = caller.seen(self.api.store.job(id).await?) else { return Ok(None) };
        let past = self.api.store.attempts(id).await?;
        let is_past = past.iter().any(|attempt| attempt.attempt == job.attempt);
        let last = (job.attempt > 0 && !is_past && job.status != Status::Queued).then(|| AttemptInfo::last(&job));
        Ok(Some(last.into_iter().chain(past.into_iter().rev().map(AttemptInfo::from)).collect()))
    }
}

/// A run of a job.
#[derive(Object, Serialize)]
#[oai(rename = "Attempt", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct AttemptInfo {
    /// Which run this is, from 1.
    attempt: i64,
    /// How it ended: `completed`, `failed`, `canceled`; `released`: given back, not counted; `crashed`: its runner
    /// died; `lost`: its worker went away. Null while it runs.
    #[oai(nullable)]
    ending: Option<String>,
    /// Why it did not end well: `exit_code`, `signal`, `timeout`, ...
    #[oai(nullable)]
    reason: Option<String>,
    /// One line about its end.
    #[oai(nullable)]
    error: Option<String>,
    /// The exit code, where there is one.
    #[oai(nullable)]
    exit_code: Option<i64>,
    /// The signal, where one ended it.
    #[oai(nullable)]
    signal: Option<i64>,
    /// The id of the worker that ran it.
    #[oai(nullable)]
    worker: Option<String>,
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    executor: Option<ExecutorInfo>,
    /// When it was started.
    #[oai(nullable)]
    started: Option<Timestamp>,
    /// When it ended, or was given up; null while it runs.
    #[oai(nullable)]
    finished: Option<Timestamp>,
    /// How long it ran.
    #[oai(nullable)]
    duration_ms: Option<i64>,
}

/// The library's executor that ran an attempt, as it was then; not there: one of jobmgr's own.
#[derive(Object, Serialize, Deserialize)]
#[oai(rename = "AttemptExecutor")]
struct ExecutorInfo {
    /// The name by which jobspecs select it.
    name: String,
    /// Its own version.
    version: String,
    /// SHA-256 of the library's file, in lower-case hexadecimal.
    sha256: String,
}

impl ExecutorInfo {
    fn of(about: Option<&serde_json::Value>) -> Option<Self> {
        Self::deserialize(about?).ok()
    }
}

fn duration(started: Option<i64>, finished: Option<i64>) -> Option<i64> {
    Some((finished? - started?).max(0))
}

fn word(reason: Option<Reason>) -> Option<String> {
    reason.map(|reason| reason.as_str().to_owned())
}

impl AttemptInfo {
    /// The one of which the job's own row tells.
    fn last(job: &Job) -> Self {
        let finished = job.finished_ms.filter(|_| job.status.is_terminal());
        let ended = job.ended.as_ref();
        Self {
            attempt: job.attempt,
            ending: job.status.is_terminal().then(|| job.status.as_str().to_owned()),
            reason: word(job.reason),
            error: ended.and_then(|ended| ended.error.clone()),
            exit_code: ended.and_then(|ended| ended.exit_code),
            signal: ended.and_then(|ended| ended.signal),
            worker: job.worker.clone(),
            executor: ExecutorInfo::of(job.executor.as_ref()),
            started: job.started_ms.map(Timestamp::of),
            finished: finished.map(Timestamp::of),
            duration_ms: duration(job.started_ms, finished),
        }
    }
}

impl From<Attempt> for AttemptInfo {
    fn from(past: Attempt) -> Self {
        Self {
            attempt: past.attempt,
            ending: Some(past.ending.as_str().into()),
            reason: word(past.reason),
            error: past.error,
            exit_code: past.exit_code,
            signal: past.signal,
            worker: Some(past.worker).filter(|worker| !worker.is_empty()),
            executor: ExecutorInfo::of(past.executor.as_ref()),
            started: past.started_ms.map(Timestamp::of),
            finished: Some(Timestamp::of(past.ended_ms)),
            duration_ms: duration(past.started_ms, Some(past.ended_ms)),
        }
    }
}

/// A job's attempts.
#[derive(Object, Serialize)]
struct AttemptList {
    /// The newest first.
    items: Vec<AttemptInfo>,
    /// Where the next page begins; null after the last one.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum AttemptsAnswer {
    /// The attempts; none of a job that has not started.
    #[oai(status = 200)]
    Attempts(Compact<AttemptList>),
    /// There is no such job: `not_found`.
    #[oai(status = 404)]
    NotFound(ProblemJson),
    /// The database is not available: `unavailable`. Try again.
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}
