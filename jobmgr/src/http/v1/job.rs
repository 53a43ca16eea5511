//! A job as `/v1` shows it.

use std::collections::BTreeMap;

use poem_openapi::types::{Any, Example};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use serde_json::Value;

use super::super::output;
use super::timestamp::Timestamp;
use crate::blobs::{BlobError, Blobs};
use crate::domain::job::{Artifact, Ended, Job, JobId, Progress, Skipped, Status};
use crate::domain::jobspec::DEFAULT_EXECUTOR;
use crate::domain::parameters::masked;

/// How much of its output a job is shown with, in bytes.
const RESULT: u64 = 64 << 10;

/// A job.
#[derive(Object, Serialize)]
#[oai(rename = "Job", rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub struct JobInfo {
    /// Its number.
    id: JobId,
    /// The name of its jobspec.
    name: String,
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    status: StatusWord,
    /// Why it is not `completed`: `exit_code`, `signal`, `timeout`, `canceled`, `worker_lost`, `crash_limit`,
    /// `executor_error`, `invalid_job`, `artifact_limit`, `oom_killed`, ...
    #[oai(nullable)]
    reason: Option<String>,
    /// 0 to 100; jobs with lower numbers run first.
    priority: i64,
    /// Its values, as texts; of a file its id, and `***` for what is secret.
    parameters: BTreeMap<String, String>,
    /// What its client sorts it by.
    labels: BTreeMap<String, String>,
    /// How often it was started.
    attempt: i64,
    /// How often it is run again after it failed; null: as its jobspec says.
    #[oai(nullable)]
    max_retries: Option<i64>,
    /// Which executor ran it last: `process`, or one of a library.
    #[oai(nullable)]
    executor: Option<String>,
    /// The id of the worker that has it, or had it last.
    #[oai(nullable)]
    worker: Option<String>,
    /// The ids of the GPUs that its last attempt was given, each to this job alone.
    gpus: Vec<String>,
    // As above.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressInfo>,
    /// The exit code, where there is one.
    #[oai(nullable)]
    exit_code: Option<i64>,
    /// The signal, where one ended it.
    #[oai(nullable)]
    signal: Option<i64>,
    /// One line that says why it is not `completed`.
    #[oai(nullable)]
    error: Option<String>,
    /// When it was submitted.
    created: Timestamp,
    /// Before when it does not start.
    #[oai(nullable)]
    run_after: Option<Timestamp>,
    /// When its last attempt started.
    #[oai(nullable)]
    started: Option<Timestamp>,
    /// When it ended.
    #[oai(nullable)]
    finished: Option<Timestamp>,
    /// How long it waited for its last start, in milliseconds.
    #[oai(nullable)]
    queued_ms: Option<i64>,
    /// How long its last attempt ran, in milliseconds.
    #[oai(nullable)]
    duration_ms: Option<i64>,
    /// The beginning of its standard output, at most 64 KiB; all of it is at `/v1/jobs/{id}/logs`. Not there in lists,
    /// like all that follows but the last three, and null until the job has ended.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// Whether it wrote more.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result_truncated: Option<bool>,
    /// The JSON that it wrote to the file that `JOBMGR_OUTPUT` names.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Any<Value>>,
    /// The files that it left.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<Vec<ArtifactInfo>>,
    /// Files that it left and that were not taken.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped_artifacts: Option<Vec<SkippedInfo>>,
    /// What its owner should know.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// Whose it is.
    #[oai(rename = "userID")]
    #[serde(rename = "userID")]
    user_id: i64,
    /// The job that it repeats.
    #[oai(nullable)]
    retry_of: Option<JobId>,
    /// The `Idempotency-Key` of its submission.
    #[oai(nullable)]
    idempotency_key: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "Status", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum StatusWord {
    /// It waits for a worker.
    Queued,
    /// A worker has it.
    Started,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was ended on request.
    Canceled,
}

impl From<Status> for StatusWord {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => StatusWord::Queued,
            Status::Started => StatusWord::Started,
            Status::Completed => StatusWord::Completed,
            Status::Failed => StatusWord::Failed,
            Status::Canceled => StatusWord::Canceled,
        }
    }
}

/// How far a job says that it is.
#[derive(Object, Serialize)]
#[oai(rename = "Progress")]
struct ProgressInfo {
    /// 0 to 100.
    percent: f64,
    /// What it is doing.
    message: String,
}

/// A file that a job left.
#[derive(Object, Serialize)]
#[oai(rename = "Artifact", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ArtifactInfo {
    /// Its number.
    id: i64,
    /// The job that left it.
    #[oai(rename = "jobID")]
    #[serde(rename = "jobID")]
    job_id: JobId,
    /// Its path below the job's `artifacts` folder, with `/` between the parts.
    name: String,
    /// Its MIME type, by its extension.
    mime: String,
    /// Its size in bytes.
    size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    sha256: String,
    /// When it was stored.
    created: Timestamp,
    /// Where its bytes are, on this server.
    url: String,
}

/// A file that was not taken.
#[derive(Object, Serialize)]
#[oai(rename = "SkippedArtifact")]
struct SkippedInfo {
    /// Its path below the job's `artifacts` folder.
    name: String,
    /// Why: `symlink`, `fifo`, `socket`, `device`, `hard link`, ...
    reason: String,
}

impl JobInfo {
    /// A job with what it left, as far as it is here.
    ///
    /// # Errors
    /// When its output is in the store and the store can't be read.
    pub async fn whole(mut job: Job, blobs: &Blobs) -> Result<Self, BlobError> {
        let ended = job.ended.take();
        let mut info = Self::listed(job);
        let Some(Ended { error, exit_code, signal, stdout, output, warnings, artifacts, skipped, .. }) = ended else {
            return Ok(info);
        };
        let (result, cut) = output::beginning(stdout, RESULT, blobs).await?;
        info.result = Some(result);
        info.result_truncated = Some(cut);
        info.output = output.map(Any);
        info.artifacts = Some(artifacts.into_iter().map(ArtifactInfo::from).collect());
        info.skipped_artifacts = Some(skipped.into_iter().map(SkippedInfo::from).collect());
        info.warnings = Some(warnings);
        (info.error, info.exit_code, info.signal) = (error, exit_code, signal);
        Ok(info)
    }

    /// A job as lists have it.
    pub fn listed(job: Job) -> Self {
        let waited_from = job.created_ms.max(job.run_after_ms);
        let running = job.started_ms.filter(|_| job.attempt > 0);
        let ended = job.ended.unwrap_or_default();
        let executor = job.executor.as_ref().and_then(|about| about.get("name")?.as_str()).unwrap_or(DEFAULT_EXECUTOR);
        Self {
            id: job.id,
            name: job.name,
            status: job.status.into(),
            reason: job.reason.map(|reason| reason.as_str().into()),
            priority: job.priority,
            parameters: masked(job.parameters),
            labels: job.labels,
            attempt: job.attempt,
            max_retries: job.max_retries,
            executor: (job.attempt > 0).then(|| executor.to_owned()),
            worker: job.worker,
            gpus: job.gpus,
            progress: job.progress.map(ProgressInfo::from),
            exit_code: ended.exit_code,
            signal: ended.signal,
            error: ended.error,
            created: Timestamp::of(job.created_ms),
            run_after: (job.run_after_ms > 0).then(|| Timestamp::of(job.run_after_ms)),
            started: running.map(Timestamp::of),
            finished: job.finished_ms.map(Timestamp::of),
            queued_ms: running.map(|started| (started - waited_from).max(0)),
            duration_ms: running.zip(job.finished_ms).map(|(started, finished)| (finished - started).max(0)),
            result: None,
            result_truncated: None,
            output: None,
            artifacts: None,
            skipped_artifacts: None,
            warnings: None,
            user_id: job.user_id,
            retry_of: job.retry_of,
            idempotency_key: job.key,
        }
    }
}

impl From<Progress> for ProgressInfo {
    fn from(progress: Progress) -> Self {
        Self { percent: progress.percent, message: progress.message }
    }
}

impl From<Artifact> for ArtifactInfo {
    fn from(artifact: Artifact) -> Self {
        Self {
            id: artifact.id,
            job_id: artifact.job_id,
            name: artifact.name,
            mime: artifact.mime,
            size: artifact.size,
            sha256: artifact.sha256,
            created: Timestamp::of(artifact.created_ms),
            url: format!("/v1/artifacts/{}/content", artifact.id),
        }
    }
}

impl From<Skipped> for SkippedInfo {
    fn from(skipped: Skipped) -> Self {
        Self { name: skipped.name, reason: skipped.reason }
    }
}

impl Example for JobInfo {
    fn example() -> Self {
        let words = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Self {
            id: 17,
            name: "image-generator".into(),
            status: StatusWord::Completed,
            reason: None,
            priority: 50,
            parameters: words(&[("message", "hello")]),
            labels: words(&[("team", "art")]),
            attempt: 1,
            max_retries: None,
            executor: Some(DEFAULT_EXECUTOR.into()),
            worker: Some("gpu-1-0b6f2c".into()),
            gpus: vec!["GPU-8a1f0c52-7f0e-4c1b-9d3a-5b6e7f809a1b".into()],
            progress: Some(ProgressInfo { percent: 100.0, message: "drawn".into() }),
            exit_code: Some(0),
            signal: None,
            error: None,
            created: Timestamp::of(1_767_323_045_678),
            run_after: None,
            started: Some(Timestamp::of(1_767_323_045_682)),
            finished: Some(Timestamp::of(1_767_323_046_494)),
            queued_ms: Some(4),
            duration_ms: Some(812),
            result: Some("drawn\n".into()),
            result_truncated: Some(false),
            output: None,
            artifacts: Some(Vec::new()),
            skipped_artifacts: Some(Vec::new()),
            warnings: Some(Vec::new()),
            user_id: 1,
            retry_of: None,
            idempotency_key: None,
        }
    }
}
