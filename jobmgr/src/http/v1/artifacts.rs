//! The files that jobs left.

use std::sync::Arc;

use poem::http::{HeaderMap, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::classic::Compact;
use super::super::docs::Tag;
use super::super::{Api, Caller, content};
use super::failed::{Causes, Failed};
use super::job::ArtifactInfo;
use super::jobs::must_see;
use super::parameter::{Optional, Path};
use super::problem::{Code, Problem, ProblemJson};
use crate::blobs::BlobError;

/// `GET /v1/jobs/{id}/artifacts` and `GET /v1/artifacts/{id}/content`
pub struct Artifacts {
    /// What they answer from.
    pub api: Arc<Api>,
}

/// What may go wrong with a list.
struct OfList;

impl Causes for OfList {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Unavailable];
}

/// What may go wrong with a file.
struct OfContent;

impl Causes for OfContent {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Gone, Code::InvalidParameters, Code::Unavailable];
}

#[OpenApi]
impl Artifacts {
    /// List a job's artifacts
    ///
    /// The files that the job left, by name; none as long as it has not ended.
    #[oai(path = "/v1/jobs/:id/artifacts", method = "get", operation_id = "listArtifacts", tag = "Tag::Artifacts")]
    async fn list(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> Result<ListAnswer, Failed<OfList>> {
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let job = self.api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
        let job = caller.seen(job).ok_or_else(|| Problem::no_job(Some(id)))?;
        let artifacts = job.ended.map(|ended| ended.artifacts).unwrap_or_default();
        let items = artifacts.into_iter().map(ArtifactInfo::from).collect();
        Ok(ListAnswer::Artifacts(Compact(ArtifactList { items, next: None })))
    }

    /// Read an artifact
    ///
    /// The bytes of a file that a job left. `Range`, `If-Range` and `If-None-Match` are obeyed; the `ETag` is the file's
    /// SHA-256. Only images, sound, videos and plain text may be shown by a browser; everything else is downloaded, and
    /// nothing of it runs as a page of this server.
    #[oai(path = "/v1/artifacts/:id/content", method = "get", operation_id = "getArtifact", tag = "Tag::Artifacts")]
    async fn content(
        &self,
        caller: Caller,
        /// The artifact's id.
        id: Path,
        /// Answers with a redirect to an address that holds for 2 hours and needs no further rights: the object store's
        /// own, where that can sign, else this server's.
        redirect: Optional<bool>,
        headers: &HeaderMap,
    ) -> Result<Content, Failed<OfContent>> {
        let mut errors = Vec::new();
        let redirect = redirect.or_note(&mut errors).unwrap_or_default();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let id = id.0.ok_or_else(|| Problem::no_artifact(None))?;
        let artifact = self.api.store.artifact(id).await.map_err(|error| Problem::failed(&error))?;
        let nobody = || Problem::no_artifact(Some(id));
        let artifact = artifact.ok_or_else(nobody)?;
        let hidden = must_see(&self.api, &caller, artifact.job_id).await;
        hidden.map_err(|problem| if problem.code() == Code::NotFound { nobody() } else { problem })?;
        if redirect {
            let address = content::address(&self.api, &artifact).await.map_err(|error| lost(id, &error))?;
            return Ok(Content(elsewhere(&address)));
        }
        let response = content::send(&self.api, &artifact, headers).await.map_err(|error| lost(id, &error))?;
        Ok(Content(if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            not_there(&response, artifact.size)
        } else {
            response
        }))
    }
}

fn lost(id: i64, failure: &BlobError) -> Problem {
    match failure {
        BlobError::Missing(_) => {
            Problem::new(Code::Gone, format!("the file of artifact {id} is no longer in the store"))
        }
        _ => Problem::unavailable(),
    }
}

/// The same answer with a body, as every problem has one.
fn not_there(bare: &Response, size: u64) -> Response {
    let problem = Problem::new(Code::RangeNotSatisfiable, format!("the file has {size} bytes"));
    let mut response = ProblemJson(problem).into_response();
    response.set_status(bare.status());
    let range = bare.headers().get(header::CONTENT_RANGE).cloned();
    response.headers_mut().extend(range.map(|range| (header::CONTENT_RANGE, range)));
    response
}

fn elsewhere(address: &str) -> Response {
    Response::builder()
        .status(StatusCode::TEMPORARY_REDIRECT)
        .header(header::LOCATION, address)
        .header(header::CACHE_CONTROL, "no-store")
        .finish()
}

/// A page of artifacts.
#[derive(Object, Serialize)]
struct ArtifactList {
    /// By name.
    items: Vec<ArtifactInfo>,
    /// Where the next page begins: there is none.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The artifacts.
    #[oai(status = 200)]
    Artifacts(Compact<ArtifactList>),
}

/// A file, or a part of it.
struct Content(Response);

impl IntoResponse for Content {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Content {
    fn meta() -> MetaResponses {
        let answer = |status, description, content, headers| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers,
        };
        let location = vec![header("Location", "Where the file is, for 2 hours.")];
        let range = || vec![header("Content-Range", "Which bytes there are.")];
        let responses = vec![
            answer(200, "The file.", bytes(), vec![header("ETag", "Its SHA-256.")]),
            answer(206, "The bytes that `Range` asks for.", bytes(), range()),
            answer(304, "The caller has it: `If-None-Match` names its `ETag`.", Vec::new(), Vec::new()),
            answer(307, "The file is at `Location`.", Vec::new(), location),
            answer(416, Code::RangeNotSatisfiable.description(), vec![ProblemJson::media()], range()),
        ];
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        <Binary<Vec<u8>> as Payload>::register(registry);
    }
}

fn bytes() -> Vec<MetaMediaType> {
    // The file's own type is in the answer. Generators that know the first one take it for bytes.
    let kinds = ["application/octet-stream", "*/*"];
    kinds.map(|content_type| MetaMediaType { content_type, schema: <Binary<Vec<u8>> as Payload>::schema_ref() }).into()
}

fn header(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.into(),
        description: Some(description.into()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    }
}
