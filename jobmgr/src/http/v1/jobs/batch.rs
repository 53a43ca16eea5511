//! Many submissions at once.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::trace::Trace;
use super::super::super::{Api, Caller, queues};
use super::super::failed::Failed;
use super::super::json::Object as Fields;
use super::super::problem::{FieldError, Problem};
use super::super::submission::Draft;
use super::request::JsonBody;
use super::submit::{OfSubmission, SubmitJob, no_inputs};
use crate::domain::job::JobId;
use crate::domain::submission::NewJob;
use crate::store::Submitted;

/// The largest body in bytes.
const MAX: u64 = 16 << 20;
/// How many jobs a batch may have.
const MOST: usize = 1000;

/// `POST /v1/jobs/batch`
pub struct Batch {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Batch {
    /// Submit many jobs
    ///
    /// Queues up to 1,000 jobs at once: all of them, or none.
    #[oai(path = "/v1/jobs/batch", method = "post", operation_id = "submitBatch", tag = "Tag::Jobs")]
    async fn submit(
        &self,
        caller: Caller,
        trace: Trace,
        body: JsonBody<SubmitBatch, MAX>,
    ) -> Result<BatchAnswer, Failed<OfSubmission>> {
        let (mut object, _) = body.0?;
        let list = match object.take("jobs") {
            Some(Value::Array(list)) if (1..=MOST).contains(&list.len()) => list,
            _ => {
                object.wrong::<()>("jobs", format!("must be a list of 1 to {MOST} jobs"));
                Vec::new()
            }
        };
        let mut errors = object.errors();
        let mut jobs = Vec::with_capacity(list.len());
        for (index, item) in list.into_iter().enumerate() {
            let place = format!("jobs[{index}]");
            let Value::Object(fields) = item else {
                errors.push(FieldError { field: place, message: "must be an object".into() });
                continue;
            };
            let draft = Draft::read(Fields::within(fields, place.clone()), &format!("{place}."));
            match draft.job(&self.api, &caller).await {
                Ok(job) => jobs.push(NewJob { trace_parent: trace.parent(), user_id: caller.user_id, ..job }),
                Err(problem) => errors.extend(problem.into_errors(&format!("{place}.name"))),
            }
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        queues::check(&self.api, &caller, jobs.len()).await?;
        match self.api.store.submit_together(jobs, None).await.map_err(|error| Problem::failed(&error))? {
            Submitted::New(ids) => {
                self.api.audit.submitted(&caller, &ids);
                Ok(BatchAnswer::Queued(Compact(Queued { ids })))
            }
            Submitted::NoInput(ids) => Err(no_inputs(&ids).into()),
            Submitted::Before(id) | Submitted::Otherwise(id) => Err(Problem::other_submission(id).into()),
        }
    }
}

// What the OpenAPI document shows; `Draft` reads it.
/// Submissions.
#[derive(Object)]
#[oai(rename = "SubmitBatch")]
struct SubmitBatch {
    /// The jobs.
    #[oai(validator(min_items = "1", max_items = "1000"))]
    jobs: Vec<SubmitJob>,
}

/// The jobs are queued.
#[derive(Object, Serialize)]
#[oai(rename = "BatchAccepted")]
struct Queued {
    /// Their ids, in the order of the submissions.
    ids: Vec<JobId>,
}

#[derive(ApiResponse)]
enum BatchAnswer {
    /// All of them are queued.
    #[oai(status = 201)]
    Queued(Compact<Queued>),
}
