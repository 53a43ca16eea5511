//! The bytes of an artifact, under an address that we signed: for stores that can't sign their own.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use futures_util::TryStreamExt;
use poem::http::header::{self, HeaderName};
use poem::http::{HeaderMap, HeaderValue, StatusCode};
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::{Binary, Payload, PlainText};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, OpenApi};

use super::classic::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};
use super::disposition::disposition;
use super::docs::Tag;
use super::query::{Id, Text};
use super::range::{Wanted, wanted};
use super::{Api, front, signature};
use crate::blobs::BlobError;
use crate::domain::job::Artifact;

/// `GET /artifacts/content`
pub struct Content {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Content {
    /// Fetch an artifact's bytes
    ///
    /// Where `GET /artifacts/download` leads when the files are kept on the server's own disk. The address is signed
    /// and holds for 2 hours; it can't be made by hand. `HEAD`, `Range` and `If-None-Match` work as usual.
    #[oai(path = "/artifacts/content", method = "get", operation_id = "getArtifactContent", tag = "Tag::Artifacts")]
    async fn content(
        &self,
        headers: &HeaderMap,
        /// The artifact.
        id: Id,
        /// Until when the address holds, in Unix seconds.
        expires: Text,
        /// The server's signature of both.
        signature: Text,
    ) -> ContentAnswer {
        let (Ok(id), Some(expires), Some(signature)) = (id.0, expires.0, signature.0) else { return forbidden() };
        if !signature::holds(self.api.store.signing_key(), id, &expires, &signature) {
            return forbidden();
        }
        match self.api.store.artifact(id).await {
            Ok(Some(artifact)) => self.send(&artifact, headers).await,
            Ok(None) => refused(StatusCode::GONE, ErrorCode::ArtifactMissing),
            Err(failure) => {
                tracing::error!(artifact = id, error = %failure, "can't read an artifact's row");
                refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::InternalServerError)
            }
        }
    }
}

impl Content {
    async fn send(&self, artifact: &Artifact, headers: &HeaderMap) -> ContentAnswer {
        let etag = format!("\"{}\"", artifact.sha256);
        let part = match wanted(headers, artifact.size, &etag) {
            Wanted::Unchanged => return ContentAnswer(bare(StatusCode::NOT_MODIFIED, &[(header::ETAG, &etag)])),
            Wanted::Unsatisfiable => return unsatisfiable(artifact.size),
            Wanted::Whole => None,
            Wanted::Part(part) => Some(part),
        };
        let bytes = match self.api.blobs.get(&artifact.key, part.clone()).await {
            Ok(bytes) => bytes,
            Err(failure) => return lost(artifact, &failure),
        };
        let mut response = match part {
            Some(part) => partial(part, artifact.size),
            None => bare(StatusCode::OK, &[(header::CONTENT_LENGTH, &artifact.size.to_string())]),
        };
        describe(response.headers_mut(), artifact, &etag);
        response.set_body(Body::from_bytes_stream(bytes.map_err(io::Error::other)));
        ContentAnswer(response)
    }
}

/// An artifact is a stranger's file: a browser must neither guess its type nor run it as a page of this server.
fn describe(headers: &mut HeaderMap, artifact: &Artifact, etag: &str) {
    let disposition = disposition(&artifact.name, &artifact.mime);
    let values = [
        (header::CONTENT_TYPE, artifact.mime.as_str(), "application/octet-stream"),
        (header::CONTENT_DISPOSITION, &disposition, "attachment"),
        (header::ETAG, etag, "\"\""),
    ];
    for (name, value, otherwise) in values {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static(otherwise));
        headers.insert(name, value);
    }
    let fixed = [
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "private"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn partial(part: Range<u64>, size: u64) -> Response {
    let length = (part.end - part.start).to_string();
    let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
    bare(StatusCode::PARTIAL_CONTENT, &[(header::CONTENT_LENGTH, &length), (header::CONTENT_RANGE, &range)])
}

fn unsatisfiable(size: u64) -> ContentAnswer {
    let range = format!("bytes */{size}");
    ContentAnswer(bare(StatusCode::RANGE_NOT_SATISFIABLE, &[(header::CONTENT_RANGE, &range)]))
}

fn bare(status: StatusCode, headers: &[(HeaderName, &str)]) -> Response {
    let builder = Response::builder().status(status);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(name, *value)).finish()
}

fn forbidden() -> ContentAnswer {
    let body = "This address is not signed by this server or has expired; /artifacts/download gives a new one.\n";
    ContentAnswer(front::text(StatusCode::FORBIDDEN, body))
}

fn lost(artifact: &Artifact, failure: &BlobError) -> ContentAnswer {
    tracing::error!(artifact = artifact.id, error = %failure, "can't read an artifact");
    match failure {
        BlobError::Missing(_) => refused(StatusCode::GONE, ErrorCode::ArtifactMissing),
        _ => refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::InternalServerError),
    }
}

fn refused(status: StatusCode, code: ErrorCode) -> ContentAnswer {
    let mut response = Compact(ErrorAnswer::new(code)).into_response();
    response.set_status(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    ContentAnswer(response)
}

/// Bytes, or why not. (poem-openapi's derive knows no answer whose type is the file's.)
struct ContentAnswer(Response);

impl IntoResponse for ContentAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for ContentAnswer {
    fn meta() -> MetaResponses {
        let text = described::<PlainText<String>>;
        let error = described::<Compact<ErrorAnswer>>;
        MetaResponses {
            responses: vec![
                MetaResponse { headers: file_headers(), ..described::<Binary<Body>>(200, "The file.") },
                MetaResponse {
                    headers: file_headers(),
                    ..described::<Binary<Body>>(206, "The part of it that `Range` asked for.")
                },
                MetaResponse { content: vec![], ..text(304, "The caller has it already.") },
                text(403, "The address is not signed by this server, or has expired."),
                error(410, "The file is no longer kept."),
                MetaResponse { content: vec![], ..text(416, "The file has no such bytes.") },
                error(503, "The database or the store is not available; try again after `Retry-After` seconds."),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        <Compact<ErrorAnswer> as Payload>::register(registry);
    }
}

fn described<P: Payload>(status: u16, description: &'static str) -> MetaResponse {
    let content = vec![MetaMediaType { content_type: P::CONTENT_TYPE, schema: P::schema_ref() }];
    MetaResponse { description, status: Some(status), status_range: None, content, headers: vec![] }
}

fn file_headers() -> Vec<MetaHeader> {
    let header = |name: &str, description: &str| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    };
    vec![
        header("ETag", "The SHA-256 of the file."),
        header("Content-Disposition", "Its name; `attachment` for all but harmless types."),
    ]
}
