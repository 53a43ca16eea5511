//! How a job is doing, and what it made.

use std::sync::Arc;

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Serialize;

use super::super::docs::Tag;
use super::super::query::Id;
use super::super::{Api, Caller};
use super::answer::{Answer, Compact, ErrorAnswer, ErrorCode, OkStatus, RETRY_AFTER_SECONDS};
use super::result::result;
use crate::domain::job::{self, Artifact, Job, JobId, Parameters, Status};
use crate::domain::parameters::masked;

/// `GET /jobs/get`
pub struct Get {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Get {
    /// Get a job
    ///
    /// Says how a job is doing and, once it has ended, what it printed and which files it left. Ask again until its
    /// `status` is `completed` or `failed`.
    #[oai(path = "/jobs/get", method = "get", operation_id = "pollJob", tag = "Tag::Jobs")]
    async fn get(
        &self,
        caller: Caller,
        /// The job's id, as `POST /jobs/start` gave it.
        id: Id,
    ) -> GetAnswer {
        let id = match id.0 {
            Ok(id) if id > 0 => id,
            Ok(_) => return GetAnswer::Answer(ErrorCode::NotFound.into()),
            Err(code) => return GetAnswer::Answer(code.into()),
        };
        match self.api.store.job(id).await.map(|job| caller.seen(job)) {
            Ok(Some(job)) => self.show(job).await,
            Ok(None) => GetAnswer::Answer(ErrorCode::NotFound.into()),
            Err(failure) => {
                tracing::error!(job = id, error = %failure, "can't read a job");
                unavailable()
            }
        }
    }
}

impl Get {
    async fn show(&self, mut job: Job) -> GetAnswer {
        let (mut text, mut artifacts) = (None, None);
        if job.status.is_terminal() {
            let mut ended = job.ended.take().unwrap_or_else(nothing_left);
            let limit = self.api.config.max_result_bytes;
            text = match result(job.status, &mut ended, limit, &self.api.blobs).await {
                Ok(text) => Some(text),
                Err(failure) => {
                    tracing::error!(job = job.id, error = %failure, "can't read a job's output");
                    return unavailable();
                }
            };
            artifacts = Some(ended.artifacts.into_iter().map(ArtifactInfo::from).collect());
        }
        GetAnswer::Answer(Answer::Ok(JobAnswer { status: OkStatus::Ok, job: job.into(), result: text, artifacts }))
    }
}

/// A job that was canceled before it ran.
fn nothing_left() -> job::Ended {
    job::Ended {
        error: None,
        exit_code: None,
        signal: None,
        stdout: job::Log::default(),
        stderr: job::Log::default(),
        output: None,
        warnings: Vec::new(),
        artifacts: Vec::new(),
        skipped: Vec::new(),
        executor_log: job::Log::default(),
    }
}

fn unavailable() -> GetAnswer {
    GetAnswer::Unavailable(Compact(ErrorAnswer::new(ErrorCode::InternalServerError)), RETRY_AFTER_SECONDS)
}

/// Where a job stands: `queued`, then `started`, then `completed` or `failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum JobStatus {
    Queued,
    Started,
    Completed,
    Failed,
}

impl From<Status> for JobStatus {
    /// The original knows no cancellation: its clients would wait for ever.
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => JobStatus::Queued,
            Status::Started => JobStatus::Started,
            Status::Completed => JobStatus::Completed,
            Status::Failed | Status::Canceled => JobStatus::Failed,
        }
    }
}

/// A job and what it made. Of a job that has not ended, `result` and `artifacts` are null.
#[derive(Object, Serialize)]
#[oai(example)]
struct JobAnswer {
    // No doc comments here; see ErrorAnswer.
    status: OkStatus,
    job: JobInfo,
    /// What it printed to standard output and, if it failed, why, in the last line.
    #[oai(nullable)]
    result: Option<String>,
    /// The files that it left, in the order of their names.
    #[oai(nullable)]
    artifacts: Option<Vec<ArtifactInfo>>,
}

/// A job. Times are Unix seconds.
#[derive(Object, Serialize)]
#[oai(rename = "ClassicJob")]
struct JobInfo {
    /// Its number.
    id: JobId,
    // No doc comment; see ErrorAnswer.
    status: JobStatus,
    /// 0 to 100; jobs with lower numbers run first.
    priority: i64,
    /// The name of its jobspec.
    name: String,
    /// Its values, by name.
    parameters: Parameters,
    /// When it was submitted.
    created: i64,
    /// When it was started; null until then.
    #[oai(nullable)]
    started: Option<i64>,
    /// When it ended; null until then.
    #[oai(nullable)]
    completed: Option<i64>,
    /// Whose it is.
    #[serde(rename = "userID")]
    #[oai(rename = "userID")]
    user_id: i64,
}

impl From<Job> for JobInfo {
    fn from(job: Job) -> Self {
        let started = job.started_ms.filter(|_| job.status != Status::Queued);
        let completed = job.finished_ms.filter(|_| job.status.is_terminal());
        Self {
            id: job.id,
            status: job.status.into(),
            priority: job.priority,
            name: job.name,
            parameters: masked(job.parameters),
            created: seconds(job.created_ms),
            started: started.map(seconds),
            completed: completed.map(seconds),
            user_id: job.user_id,
        }
    }
}

/// A file that a job left.
#[derive(Object, Serialize)]
#[oai(rename = "ClassicArtifact")]
struct ArtifactInfo {
    /// Its number, for `GET /artifacts/download`.
    id: i64,
    /// Its path below the job's `artifacts` folder, with `/` between the parts.
    name: String,
    /// Its MIME type, by its extension.
    mime: String,
    /// Its size in bytes.
    size: u64,
    /// A random name; it means nothing to clients.
    uuid: String,
    /// When it was stored, in Unix seconds.
    created: i64,
    /// The job that left it.
    #[serde(rename = "jobID")]
    #[oai(rename = "jobID")]
    job_id: JobId,
}

impl From<Artifact> for ArtifactInfo {
    fn from(artifact: Artifact) -> Self {
        Self {
            id: artifact.id,
            name: artifact.name,
            mime: artifact.mime,
            size: artifact.size,
            uuid: artifact.uuid,
            created: seconds(artifact.created_ms),
            job_id: artifact.job_id,
        }
    }
}

fn seconds(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(1000)
}

impl Example for JobAnswer {
    fn example() -> Self {
        let job = JobInfo {
            id: 17,
            status: JobStatus::Completed,
            priority: 50,
            name: "image-generator".into(),
            parameters: Parameters::from([("message".into(), "hello".into())]),
            created: 1_662_745_267,
            started: Some(1_662_745_267),
            completed: Some(1_662_745_268),
            user_id: 1,
        };
        let artifact = ArtifactInfo {
            id: 12,
            name: "result.png".into(),
            mime: "image/png".into(),
            size: 3874,
            uuid: "1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8".into(),
            created: 1_662_745_268,
            job_id: 17,
        };
        Self { status: OkStatus::Ok, job, result: Some("drawn\n".into()), artifacts: Some(vec![artifact]) }
    }
}

#[derive(ApiResponse)]
enum GetAnswer {
    /// The job, or the error object says why not: `missing_params`, `invalid_params` or `not_found`.
    #[oai(status = 200)]
    Answer(Answer<JobAnswer>),
    /// The database, or the store that holds the job's output, is not available. Try again.
    #[oai(status = 503)]
    Unavailable(
        Compact<ErrorAnswer>,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_originals_bytes() {
        let expected = concat!(
            r#"{"status":"ok","job":{"id":17,"status":"completed","priority":50,"name":"image-generator","#,
            r#""parameters":{"message":"hello"},"created":1662745267,"started":1662745267,"completed":1662745268,"#,
            r#""userID":1},"result":"drawn\n","artifacts":[{"id":12,"name":"result.png","mime":"image/png","#,
            r#""size":3874,"uuid":"1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8","created":1662745268,"jobID":17}]}"#,
        );
        assert_eq!(serde_json::to_string(&JobAnswer::example()).unwrap(), expected);
    }

    #[test]
    fn a_job_that_waits_again_has_not_started() {
        let mut job = Job {
            id: 1,
            status: Status::Queued,
            reason: None,
            priority: 50,
            name: "a".into(),
            parameters: Parameters::new(),
            user_id: 1,
            labels: Default::default(),
            max_retries: None,
            retry_of: None,
            key: None,
            run_after_ms: 0,
            attempt: 1,
            created_ms: 1999,
            started_ms: Some(2999),
            finished_ms: None,
            cancel_asked_ms: None,
            worker: None,
            executor: None,
            gpus: Vec::new(),
            progress: None,
            ended: None,
        };
        let shown = JobInfo::from(job.clone());
        assert_eq!((shown.created, shown.started, shown.completed), (1, None, None));
        job.status = Status::Canceled;
        job.finished_ms = Some(3001);
        let shown = JobInfo::from(job);
        assert_eq!((shown.status, shown.started, shown.completed), (JobStatus::Failed, Some(2), Some(3)));
    }
}
