//! A new job.

use std::collections::BTreeMap;

use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Object};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::super::Api;
use super::super::super::classic::Compact;
use super::super::failed::Causes;
use super::super::job::JobInfo;
use super::super::problem::{Code, Problem};
use super::super::timestamp::Timestamp;
use super::super::values::Wait;
use super::wait;
use crate::domain::job::{Job, JobId};
use crate::domain::submission::{Key, NewJob};
use crate::store::Submitted;

/// The largest body in bytes.
pub const MAX: u64 = 1 << 20;

/// What may go wrong with a submission.
pub struct OfSubmission;

impl Causes for OfSubmission {
    const CODES: &'static [Code] = &[
        Code::InvalidJson,
        Code::UnknownJob,
        Code::Incomplete,
        Code::Conflict,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidParameters,
        Code::InvalidJobspec,
        Code::Unavailable,
    ];
}

/// Queues a job and answers.
pub async fn submit(
    api: &Api,
    job: NewJob,
    key: Option<Key>,
    wait: Option<Wait>,
    closing: &CancellationToken,
) -> Result<Created, Problem> {
    let failed = |error| Problem::failed(&error);
    let (id, new) = match key {
        None => (api.store.submit(job).await.map_err(failed)?, true),
        Some(key) => match api.store.submit_once(job, key).await.map_err(failed)? {
            Submitted::New(ids) => (ids.first().copied().unwrap_or_default(), true),
            Submitted::Before(id) => (id, false),
            Submitted::Otherwise(id) => return Err(Problem::other_submission(id)),
        },
    };
    if let Some(Wait(patience)) = wait {
        wait::for_end(&api.store, id, patience, closing).await.map_err(failed)?;
    }
    let job = shown(api, id).await?;
    Ok(if new { Created::New(Compact(job), format!("/v1/jobs/{id}")) } else { Created::Before(Compact(job)) })
}

/// A job with what it left.
pub async fn shown(api: &Api, id: JobId) -> Result<JobInfo, Problem> {
    let job: Option<Job> = api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
    let job = job.ok_or_else(|| Problem::no_job(Some(id)))?;
    JobInfo::whole(job, &api.blobs).await.map_err(|error| {
        tracing::error!(job = id, %error, "can't read a job's output");
        Problem::unavailable()
    })
}

/// The job of a submission.
#[derive(ApiResponse)]
pub enum Created {
    /// The same was submitted before with this `Idempotency-Key`, and this is its job.
    #[oai(status = 200)]
    Before(Compact<JobInfo>),
    /// The job is queued.
    #[oai(status = 201)]
    New(
        Compact<JobInfo>,
        /// Where the job is.
        #[oai(header = "Location")]
        String,
    ),
}

// What the OpenAPI document shows; `Draft` reads it.
/// A submission.
#[derive(Object)]
#[oai(rename = "SubmitJob", rename_all = "camelCase", example)]
pub struct SubmitJob {
    /// The name of the jobspec to run.
    name: String,
    /// The job's values: texts, numbers, true or false, or texts that stand for those.
    parameters: Option<BTreeMap<String, Any<Value>>>,
    /// 0 to 100; jobs with lower numbers run first. Left out: the jobspec's, which usually is 50.
    #[oai(validator(minimum(value = "0"), maximum(value = "100")))]
    priority: Option<i64>,
    /// What jobs are to be found by: up to 32 names with a text each.
    labels: Option<BTreeMap<String, String>>,
    /// It does not start before this time, such as `2026-01-02T03:04:05Z`.
    run_after: Option<Timestamp>,
    /// How often it is run again after it failed; left out: as its jobspec says.
    #[oai(validator(minimum(value = "0"), maximum(value = "100")))]
    max_retries: Option<i64>,
}

impl Example for SubmitJob {
    fn example() -> Self {
        let parameters = [("message", "good morning"), ("style", "loud")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), Any(value.into())));
        Self {
            name: "hello".into(),
            parameters: Some(parameters.into()),
            priority: None,
            labels: None,
            run_after: None,
            max_retries: None,
        }
    }
}
