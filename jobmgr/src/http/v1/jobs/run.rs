//! A job by the name of its jobspec: the body is its parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::types::Any;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::super::docs::Tag;
use super::super::super::trace::Trace;
use super::super::super::{Api, Caller};
use super::super::failed::Failed;
use super::super::parameter::Optional;
use super::super::problem::Problem;
use super::super::submission::{check, known, named};
use super::super::values::{Priority, Wait};
use super::request::{IdempotencyKey, JsonBody};
use super::submit::{Created, MAX, OfSubmission, submit};
use crate::domain::parameters::Texts;
use crate::domain::submission::NewJob;

/// `POST /v1/run/{jobspec}`
pub struct Run {
    /// What it answers from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

#[OpenApi]
impl Run {
    /// Run a jobspec
    ///
    /// Submits a job; the body is its parameters, with the types that the jobspec gives them. In the document that a
    /// server serves each of its jobspecs has an operation of its own here, so that a generated client knows them.
    #[oai(path = "/v1/run/:jobspec", method = "post", operation_id = "runJobspec", tag = "Tag::Jobs")]
    #[allow(clippy::too_many_arguments)]
    async fn run(
        &self,
        caller: Caller,
        /// The name of the jobspec.
        jobspec: Path<String>,
        /// Waits until the job has ended, for so long at most (`30s`; 1 m is the most), and then answers.
        wait: Optional<Wait>,
        /// 0 to 100; jobs with lower numbers run first. Left out: the jobspec's, which usually is 50.
        priority: Optional<Priority>,
        /// What the client calls this submission: 1 to 255 ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyKey,
        trace: Trace,
        body: JsonBody<BTreeMap<String, Any<Value>>, MAX>,
    ) -> Result<Created, Failed<OfSubmission>> {
        let mut errors = Vec::new();
        let (wait, priority) = (wait.or_note(&mut errors), priority.or_note(&mut errors));
        let (object, digest) = body.0?;
        let key = idempotency.or_note(&mut errors, digest);
        let about = known(&self.api, &jobspec.0).await?;
        let (values, twice) = object.into_fields();
        errors.extend(twice);
        let checked = check(&self.api, &caller, &about, &values, Texts::Refused, &[]).await?;
        errors.extend(named(checked.wrong, ""));
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let priority = priority.map_or(about.priority, |Priority(priority)| priority);
        let queue_timeout = about.queue_timeout();
        let (parameters, inputs) = (checked.parameters, checked.inputs);
        let job = NewJob {
            name: jobspec.0,
            parameters,
            priority,
            queue_timeout,
            inputs,
            trace_parent: trace.parent(),
            ..NewJob::default()
        };
        Ok(submit(&self.api, &caller, job, key, wait, &self.closing).await?)
    }
}
