//! A file that a job left: 307 to where its bytes are.

use std::sync::Arc;

use poem_openapi::{ApiResponse, OpenApi};

use super::super::docs::Tag;
use super::super::query::Id;
use super::super::{Api, content};
use super::answer::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};

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
        /// The artifact's id, as `GET /jobs/get` lists it.
        id: Id,
    ) -> DownloadAnswer {
        let id = match id.0 {
            Ok(id) if id > 0 => id,
            Ok(_) => return refused(ErrorCode::NotFound),
            Err(code) => return refused(code),
        };
        let artifact = match self.api.store.artifact(id).await {
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
