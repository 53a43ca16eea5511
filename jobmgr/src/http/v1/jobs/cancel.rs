//! The end of a job, on request.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::parameter::Path;
use super::super::problem::{Code, Problem};
use crate::auth::Scope;
use crate::domain::job::{JobId, Status};
use crate::store;

/// `POST /v1/jobs/{id}/cancel`
pub struct Cancel {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong.
struct OfCancel;

impl Causes for OfCancel {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Conflict, Code::Unavailable];
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
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> Result<CancelAnswer, Failed<OfCancel>> {
        let failed = |error| Problem::failed(&error);
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let nobody = || Problem::no_job(Some(id));
        let store = &self.api.store;
        if !caller.scopes.allow(Scope::Admin) {
            let owner =
                store.owner(id).await.map_err(failed)?.filter(|owner| caller.sees(*owner)).ok_or_else(nobody)?;
            if !caller.changes(owner) {
                return Err(Problem::not_yours(format_args!("job {id}")).into());
            }
        }
        match store.cancel(id).await.map_err(failed)? {
            store::Cancel::Asked => {}
            store::Cancel::TooLate(status) => return Err(Problem::ended(id, status).into()),
            store::Cancel::Unknown => return Err(nobody().into()),
        }
        self.api.audit.note(&caller, "job.cancel", format_args!("job {id}"));
        let status = store.status(id).await.map_err(failed)?.map_or(Status::Canceled, |(status, _)| status);
        Ok(CancelAnswer::Asked(Compact(Asked { id, status: status.as_str().into() })))
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
}
