//! A new job.

use std::collections::BTreeMap;

use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Object};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::super::classic::Compact;
use super::super::super::{Api, Caller, queues};
use super::super::failed::Causes;
use super::super::job::JobInfo;
use super::super::problem::{Code, FieldError, Problem};
use super::super::timestamp::Timestamp;
use super::super::values::Wait;
use super::super::webhooks::Own;
use super::wait;
use crate::domain::input::InputId;
use crate::domain::job::{Job, JobId};
use crate::domain::parameters::any_sealed;
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
    caller: &Caller,
    job: NewJob,
    key: Option<Key>,
    wait: Option<Wait>,
    closing: &CancellationToken,
) -> Result<Created, Problem> {
    let failed = |error| Problem::failed(&error);
    let job = NewJob { user_id: caller.user_id, ..job };
    queues::check(api, caller, 1).await?;
    let (id, new) = match (key, job.inputs.is_empty()) {
        (None, true) => {
            let given = api.store.submit_alone(job.clone()).await.map_err(failed)?;
            api.audit.submitted(caller, &[given.id]);
            if let Some(created_ms) = given.created_ms.filter(|_| wait.is_none()) {
                let job = JobInfo::listed(job.queued(given.id, created_ms));
                return Ok(Created::New(Compact(job), location(given.id)));
            }
            (given.id, true)
        }
        (key, _) => match queued(api, job, key).await? {
            Submitted::New(ids) => {
                api.audit.submitted(caller, &ids);
                (ids.first().copied().unwrap_or_default(), true)
            }
            Submitted::Before(id) => (id, false),
            Submitted::Otherwise(id) => return Err(Problem::other_submission(id)),
            Submitted::NoInput(ids) => return Err(no_inputs(&ids)),
        },
    };
    if let Some(Wait(patience)) = wait {
        wait::for_end(&api.store, id, patience, closing).await.map_err(failed)?;
    }
    let job = shown(api, caller, id).await?;
    Ok(if new { Created::New(Compact(job), location(id)) } else { Created::Before(Compact(job)) })
}

fn location(id: JobId) -> String {
    format!("/v1/jobs/{id}")
}

/// Queues it; a key tells nothing of secret values, whichever of our keys it was made with.
async fn queued(api: &Api, job: NewJob, key: Option<Key>) -> Result<Submitted, Problem> {
    let failed = |error| Problem::failed(&error);
    let keys = match key {
        Some(key) if any_sealed(&job.parameters) => {
            let digests = api.secrets.digests("submission", key.digest.as_bytes()).map_err(|error| {
                tracing::error!(%error, "a submission with secrets can't be remembered");
                Problem::unavailable()
            })?;
            digests.into_iter().map(|digest| Some(Key { digest, ..key.clone() })).collect()
        }
        key => vec![key],
    };
    let mut submitted = Submitted::default();
    for key in keys {
        submitted = api.store.submit_together(vec![job.clone()], key).await.map_err(failed)?;
        if !matches!(submitted, Submitted::Otherwise(_)) {
            break;
        }
    }
    Ok(submitted)
}

/// They were there a moment ago.
pub fn no_inputs(ids: &[InputId]) -> Problem {
    let gone =
        |id: &InputId| FieldError { field: "parameters".into(), message: format!("there is no input {id} any more") };
    Problem::invalid(ids.iter().map(gone).collect())
}

/// A job with what it left, if the caller may see it.
pub async fn shown(api: &Api, caller: &Caller, id: JobId) -> Result<JobInfo, Problem> {
    let job: Option<Job> = api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
    let job = caller.seen(job).ok_or_else(|| Problem::no_job(Some(id)))?;
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
    #[oai(skip_serializing_if_is_none)]
    parameters: Option<BTreeMap<String, Any<Value>>>,
    /// 0 to 100; jobs with lower numbers run first. Left out: the jobspec's, which usually is 50.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "0"), maximum(value = "100")))]
    priority: Option<i64>,
    /// What jobs are to be found by: up to 32 names with a text each.
    #[oai(skip_serializing_if_is_none)]
    labels: Option<BTreeMap<String, String>>,
    /// It does not start before this time, such as `2026-01-02T03:04:05Z`.
    #[oai(skip_serializing_if_is_none)]
    run_after: Option<Timestamp>,
    /// How often it is run again after it failed; left out: as its jobspec says.
    #[oai(skip_serializing_if_is_none, validator(minimum(value = "0"), maximum(value = "100")))]
    max_retries: Option<i64>,
    // Who is told of its end; no doc comment: the reference would become an `allOf` of the reference and the comment.
    webhook: Option<Own>,
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
            webhook: None,
        }
    }
}
