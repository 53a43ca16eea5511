//! The end of a job, on request.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::super::Api;
use super::super::super::classic::{Compact, RETRY_AFTER_SECONDS};
use super::super::super::docs::Tag;
use super::super::parameter::Path;
use super::super::problem::{Problem, ProblemJson};
use crate::domain::job::{JobId, Status};
use crate::store::{self, StoreError};

/// `POST /v1/jobs/{id}/cancel`
pub struct Cancel {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Cancel {
    /// Cancel a job
    ///
    /// A job that waits never starts. One that runs is ended by its worker, wherever that is, with everything that it
    /// has started; its output and its files are kept. Asking again does no harm.
    #[oai(path = "/v1/jobs/:id/cancel", method = "post", operation_id = "cancelJob", tag = "Tag::Jobs")]
    async fn cancel(
        &self,
        /// The job's id.
        id: Path,
    ) -> CancelAnswer {
        let Some(id) = id.0 else { return CancelAnswer::NotFound(ProblemJson(Problem::no_job(None))) };
        self.ask(id).await.unwrap_or_else(|failure| {
            tracing::error!(job = id, error = %failure, "can't cancel a job");
            CancelAnswer::Unavailable(ProblemJson(Problem::unavailable()), RETRY_AFTER_SECONDS)
        })
    }
}

impl Cancel {
    async fn ask(&self, id: JobId) -> Result<CancelAnswer, StoreError> {
        let store = &self.api.store;
        Ok(match store.cancel(id).await? {
            store::Cancel::Asked => {
                let status = store.status(id).await?.map_or(Status::Canceled, |(status, _)| status);
                CancelAnswer::Asked(Compact(Asked { id, status: status.as_str().into() }))
            }
            store::Cancel::TooLate(status) => CancelAnswer::Conflict(ProblemJson(Problem::ended(id, status))),
            store::Cancel::Unknown => CancelAnswer::NotFound(ProblemJson(Problem::no_job(Some(id)))),
        })
    }
}

/// The job ends.
#[derive(Object, Serialize)]
#[oai(rename = "CancelAccepted")]
struct Asked {
    /// The job's id.
    id: JobId,
    /// `canceled`, or `started` as long as its worker has not ended it yet.
    status: String,
}

#[derive(ApiResponse)]
enum CancelAnswer {
    /// The job ends.
    #[oai(status = 202)]
    Asked(Compact<Asked>),
    /// There is no such job: `not_found`.
    #[oai(status = 404)]
    NotFound(ProblemJson),
    /// The job has ended before: `conflict`; `jobStatus` says how.
    #[oai(status = 409)]
    Conflict(ProblemJson),
    /// The database is not available: `unavailable`. Try again.
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}
