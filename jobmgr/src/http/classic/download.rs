//! A file that a job left: 307 to where its bytes are.

use std::sync::Arc;

use poem_openapi::{ApiResponse, OpenApi};

use super::super::docs::Tag;
use super::super::query::Id;
use super::super::{Api, Caller, content};
use super::answer::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};
use crate::domain::job::Artifact;
use crate::store::StoreError;

/// `GET /artifacts/download`
pub struct Download {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Download {
    /// Download an artifact
    ///
    /// Leads to the file with a redirect: to the object store where that can sign addresses, else to this server. The
    /// address needs no further rights and holds for 2 hours; each request makes a new one.
    #[oai(path = "/artifacts/download", method = "get", operation_id = "downloadArtifact", tag = "Tag::Artifacts")]
    async fn download(
        &self,
        caller: Caller,
        /// The artifact's id, as `GET /jobs/get` lists it.
        id: Id,
    ) -> DownloadAnswer {
        let id = match id.0 {
            Ok(id) if id > 0 => id,
            Ok(_) => return refused(ErrorCode::NotFound),
            Err(code) => return refused(code),
        };
        let artifact = match self.seen(&caller, id).await {
            Ok(Some(artifact)) => artifact,
            Ok(None) => return refused(ErrorCode::NotFound),
            Err(failure) => {
                tracing::error!(artifact = id, error = %failure, "can't read an artifact's row");
                return unavailable();
            }
        };
        match content::address(&self.api, &artifact).await {
            Ok(address) => DownloadAnswer::Elsewhere(address, "no-store".to_owned()),
            Err(failure) => {
                tracing::error!(artifact = id, error = %failure, "can't sign an artifact's address");
                unavailable()
            }
        }
    }
}

impl Download {
    /// The artifact, if the caller may see its job.
    async fn seen(&self, caller: &Caller, id: i64) -> Result<Option<Artifact>, StoreError> {
        let store = &self.api.store;
        let Some(artifact) = store.artifact(id).await? else { return Ok(None) };
        if caller.sees_all {
            return Ok(Some(artifact));
        }
        let owner = store.owner(artifact.job_id).await?;
        Ok(owner.filter(|owner| caller.sees(*owner)).map(|_| artifact))
    }
}

fn refused(code: ErrorCode) -> DownloadAnswer {
    DownloadAnswer::Refused(Compact(ErrorAnswer::new(code)))
}

fn unavailable() -> DownloadAnswer {
    DownloadAnswer::Unavailable(Compact(ErrorAnswer::new(ErrorCode::InternalServerError)), RETRY_AFTER_SECONDS)
}

#[derive(ApiResponse)]
enum DownloadAnswer {
    /// The file is at `Location`.
    #[oai(status = 307)]
    Elsewhere(
        /// Where the file is, for 2 hours.
        #[oai(header = "Location")]
        String,
        /// Always `no-store`: the address expires.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// There is no such file; the error object says why: `missing_params`, `invalid_params` or `not_found`.
    #[oai(status = 200)]
    Refused(Compact<ErrorAnswer>),
    /// The database or the object store is not available. Try again.
    #[oai(status = 503)]
    Unavailable(
        Compact<ErrorAnswer>,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}
