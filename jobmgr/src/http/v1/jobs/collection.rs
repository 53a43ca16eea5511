//! All jobs: a new one, and pages of them.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::trace::Trace;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::job::JobInfo;
use super::super::parameter::Optional;
use super::super::problem::{Code, Problem};
use super::super::submission::Draft;
use super::super::values::{Cursor, Label, Limit, Time, Wait};
use super::request::{IdempotencyKey, JsonBody};
use super::submit::{Created, MAX, OfSubmission, SubmitJob, submit};
use crate::domain::job::Status;
use crate::domain::submission::NewJob;
use crate::store::Asked;

/// `GET` and `POST /v1/jobs`
pub struct Collection {
    /// What it answers from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

/// What may go wrong with a list.
struct OfList;

impl Causes for OfList {
    const CODES: &'static [Code] = &[Code::InvalidParameters, Code::Unavailable];
}

#[OpenApi]
impl Collection {
    /// Submit a job
    ///
    /// Queues a job. When the answer is there, the job is safely stored. Every mistake in a submission is told at once.
    /// With an `Idempotency-Key` it can be sent again without fear: as long as the job is kept, one job comes of all
    /// submissions with that key, and whoever sends one again gets that job with status 200.
    #[oai(path = "/v1/jobs", method = "post", operation_id = "submitJob", tag = "Tag::Jobs")]
    async fn submit(
        &self,
        caller: Caller,
        /// Waits until the job has ended, for so long at most (`30s`; 1 m is the most), and then answers.
        wait: Optional<Wait>,
        /// What the client calls this submission: 1 to 255 ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyKey,
        trace: Trace,
        body: JsonBody<SubmitJob, MAX>,
    ) -> Result<Created, Failed<OfSubmission>> {
        let mut errors = Vec::new();
        let wait = wait.or_note(&mut errors);
        let (object, digest) = body.0?;
        let key = idempotency.or_note(&mut errors, digest);
        let job = match Draft::read(object, "").job(&self.api, &caller).await {
            Ok(job) if errors.is_empty() => NewJob { trace_parent: trace.parent(), ..job },
            Ok(_) => return Err(Problem::invalid(errors).into()),
            Err(problem) => return Err(problem.with(errors).into()),
        };
        Ok(submit(&self.api, &caller, job, key, wait, &self.closing).await?)
    }

    /// List jobs
    ///
    /// The newest first, without what they left; those that the caller may see. Of several filters all hold.
    #[oai(path = "/v1/jobs", method = "get", operation_id = "listJobs", tag = "Tag::Jobs")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        caller: Caller,
        /// Where they stand.
        status: Optional<Status>,
        /// The name of their jobspec.
        name: Optional<String>,
        /// A label that they have.
        label: Optional<Label>,
        /// Whose they are.
        user: Optional<i64>,
        /// They were submitted after this time.
        #[oai(name = "createdAfter")]
        created_after: Optional<Time>,
        /// They were submitted before this time.
        #[oai(name = "createdBefore")]
        created_before: Optional<Time>,
        /// How many a page has.
        limit: Optional<Limit>,
        /// Where the page begins: what `next` of the page before says.
        cursor: Optional<Cursor>,
    ) -> Result<ListAnswer, Failed<OfList>> {
        let mut errors = Vec::new();
        let Limit(limit) = limit.or_note(&mut errors).unwrap_or(Limit(50));
        let mut asked = Asked {
            status: status.or_note(&mut errors),
            name: name.or_note(&mut errors),
            user_id: user.or_note(&mut errors),
            labels: label.or_note(&mut errors).into_iter().map(|Label(name, value)| (name, value)).collect(),
            created_after_ms: created_after.or_note(&mut errors).map(|Time(time)| time),
            created_before_ms: created_before.or_note(&mut errors).map(|Time(time)| time),
            before: cursor.or_note(&mut errors).map(|Cursor(id)| id),
            // One more than is shown tells whether there is another page.
            limit: limit + 1,
        };
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        if !caller.sees_all && *asked.user_id.get_or_insert(caller.user_id) != caller.user_id {
            // What is hidden looks as if it were not there.
            return Ok(ListAnswer::Jobs(Compact(JobList { items: Vec::new(), next: None })));
        }
        let mut jobs = self.api.store.list(asked).await.map_err(|error| Problem::failed(&error))?;
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        let next = jobs.last().filter(|_| more).map(|job| Cursor::after(job.id));
        let items = jobs.into_iter().map(JobInfo::listed).collect();
        Ok(ListAnswer::Jobs(Compact(JobList { items, next })))
    }
}

/// A page of jobs.
#[derive(Object, Serialize)]
struct JobList {
    /// The newest first.
    items: Vec<JobInfo>,
    /// Where the next page begins, for `cursor`; null after the last one.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The jobs.
    #[oai(status = 200)]
    Jobs(Compact<JobList>),
}
