//! Looking at jobs, running one again, removing one.

use std::sync::Arc;

use poem_openapi::{ApiResponse, OpenApi};
use tokio_util::sync::CancellationToken;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::job::JobInfo;
use super::super::parameter::{Optional, Path};
use super::super::problem::{Code, Problem};
use super::super::submission::known;
use super::super::values::Wait;
use super::submit::{Created, shown, submit};
use super::wait;
use crate::domain::job::JobId;
use crate::domain::keys;
use crate::domain::submission::NewJob;

/// `GET` and `DELETE /v1/jobs/{id}`, `POST /v1/jobs/{id}/retry`
pub struct Jobs {
    /// What they answer from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

/// What may go wrong with one job.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::NotFound, Code::InvalidParameters, Code::Unavailable];
}

/// What may go wrong with a change of one job.
struct OfChange;

impl Causes for OfChange {
    const CODES: &'static [Code] = &[
        Code::NotFound,
        Code::UnknownJob,
        Code::Conflict,
        Code::InvalidParameters,
        Code::InvalidJobspec,
        Code::Unavailable,
    ];
}

#[OpenApi]
impl Jobs {
    /// Get a job
    ///
    /// How a job is doing and, once it has ended, what it left.
    #[oai(path = "/v1/jobs/:id", method = "get", operation_id = "getJob", tag = "Tag::Jobs")]
    async fn get(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
        /// Waits until the job has ended, for so long at most (`30s`; 1 m is the most), and then answers.
        wait: Optional<Wait>,
    ) -> Result<JobAnswer, Failed<OfOne>> {
        let mut errors = Vec::new();
        let wait = wait.or_note(&mut errors);
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        if let Some(Wait(patience)) = wait {
            must_see(&self.api, &caller, id).await?;
            let waited = wait::for_end(&self.api.store, id, patience, &self.closing).await;
            waited.map_err(|error| Problem::failed(&error))?;
        }
        Ok(JobAnswer::Job(Compact(shown(&self.api, &caller, id).await?)))
    }

    /// Run a job again
    ///
    /// Submits a new job with the same name, parameters, input files, priority and labels, whatever became of the first;
    /// its `retryOf` names that.
    #[oai(path = "/v1/jobs/:id/retry", method = "post", operation_id = "retryJob", tag = "Tag::Jobs")]
    async fn retry(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> Result<Created, Failed<OfChange>> {
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let job = self.api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
        let job = caller.seen(job).ok_or_else(|| Problem::no_job(Some(id)))?;
        if !caller.changes(job.user_id) {
            return Err(Problem::not_yours(format_args!("job {id}")).into());
        }
        let about = known(&self.api, &job.name).await?;
        let inputs = self.api.store.inputs_of(id).await.map_err(|error| Problem::failed(&error))?;
        let new = NewJob {
            inputs: inputs.into_iter().map(|input| input.id).collect(),
            name: job.name,
            parameters: job.parameters,
            priority: job.priority,
            labels: job.labels,
            max_retries: job.max_retries,
            retry_of: Some(id),
            queue_timeout: about.queue_timeout(),
            ..NewJob::default()
        };
        let created = submit(&self.api, &caller, new, None, None, &self.closing).await?;
        self.api.audit.note(&caller, "job.retry", format_args!("job {id}"));
        Ok(created)
    }

    /// Delete a job
    ///
    /// Removes a job that has ended, with its logs, its artifacts, the input files that no other job has, and all that is
    /// known of it.
    #[oai(path = "/v1/jobs/:id", method = "delete", operation_id = "deleteJob", tag = "Tag::Jobs")]
    async fn delete(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> Result<DeleteAnswer, Failed<OfChange>> {
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let standing = self.api.store.status(id).await.map_err(|error| Problem::failed(&error))?;
        let (status, _) = standing.ok_or_else(|| Problem::no_job(Some(id)))?;
        if !status.is_terminal() {
            return Err(Problem::not_ended(id, status).into());
        }
        self.remove(id).await?;
        self.api.audit.note(&caller, "job.delete", format_args!("job {id}"));
        Ok(DeleteAnswer::Gone)
    }
}

impl Jobs {
    /// Rows go before their objects, so that nobody is shown what is not there; a sweep finds what is left between.
    async fn remove(&self, id: JobId) -> Result<(), Problem> {
        let Api { store, blobs, .. } = &*self.api;
        let named = store.named_keys(vec![id], true).await.map_err(|error| Problem::failed(&error))?;
        let dropped = store.drop_jobs(vec![id]).await.map_err(|error| Problem::failed(&error))?;
        let mut keys: Vec<String> = named.into_values().flatten().flatten().collect();
        keys.extend(dropped.inputs);
        let gone = blobs.delete_all(&keys).await;
        let prefix = keys::of_job(store.installation(), id);
        if let Err(error) = gone.and(blobs.delete_prefix(&prefix).await) {
            tracing::warn!(job = id, %error, "objects of a deleted job stay until they are swept");
        }
        Ok(())
    }
}

/// The job is there, and the caller may see it.
pub async fn must_see(api: &Api, caller: &Caller, id: JobId) -> Result<(), Problem> {
    if caller.sees_all {
        return Ok(());
    }
    let owner = api.store.owner(id).await.map_err(|error| Problem::failed(&error))?;
    owner.filter(|owner| caller.sees(*owner)).map(drop).ok_or_else(|| Problem::no_job(Some(id)))
}

#[derive(ApiResponse)]
enum JobAnswer {
    /// The job.
    #[oai(status = 200)]
    Job(Compact<JobInfo>),
}

#[derive(ApiResponse)]
enum DeleteAnswer {
    /// It is gone.
    #[oai(status = 204)]
    Gone,
}
