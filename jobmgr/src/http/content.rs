//! The bytes of an artifact; also under an address that we signed, for stores that can't sign their own.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use futures_util::TryStreamExt;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::header::{self, HeaderName};
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::{Body, EndpointExt, IntoResponse, Request, Response};

use super::classic::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};
use super::range::{Wanted, wanted};
use super::{Api, front, query, signature};
use crate::blobs::BlobError;
use crate::domain::disposition::disposition;
use crate::domain::job::Artifact;

/// `/artifacts/content`. The OpenAPI document leaves it out: nobody can make its addresses but us.
pub fn add_routes(api: &Arc<Api>, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
    let api = api.clone();
    let content = make(move |request| {
        let api = api.clone();
        async move { answer(&api, &request).await }
    });
    table.insert(signature::PATH.to_owned(), HashMap::from([(Method::GET, content.boxed())]));
}

async fn answer(api: &Api, request: &Request) -> Response {
    let Some(id) = signed_id(api, request.uri().query().unwrap_or_default()) else { return forbidden() };
    match api.store.artifact(id).await {
        Ok(Some(artifact)) => match send(api, &artifact, request.headers()).await {
            Ok(response) => response,
            Err(failure) => lost(&failure),
        },
        Ok(None) => refused(StatusCode::GONE, ErrorCode::ArtifactMissing),
        Err(failure) => {
            tracing::error!(artifact = id, error = %failure, "can't read an artifact's row");
            refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::InternalServerError)
        }
    }
}

fn signed_id(api: &Api, encoded: &str) -> Option<i64> {
    let value = |name| String::from_utf8(query::first(encoded.as_bytes(), name)?.into_owned()).ok();
    let id = value("id")?.parse().ok()?;
    signature::holds(api.store.signing_key(), id, &value("expires")?, &value("signature")?).then_some(id)
}

/// Answers with the bytes that `headers` ask for: 200, 206, 304 or 416.
///
/// # Errors
/// When they can't be read; the log says so.
pub async fn send(api: &Api, artifact: &Artifact, headers: &HeaderMap) -> Result<Response, BlobError> {
    // Of an adopted one only its random name is known.
    let tag = if artifact.sha256.is_empty() { &artifact.uuid } else { &artifact.sha256 };
    let etag = format!("\"{tag}\"");
    let part = match wanted(headers, artifact.size, &etag) {
        Wanted::Unchanged => return Ok(bare(StatusCode::NOT_MODIFIED, &[(header::ETAG, &etag)])),
        Wanted::Unsatisfiable => return Ok(unsatisfiable(artifact.size)),
        Wanted::Whole => None,
        Wanted::Part(part) => Some(part),
    };
    let bytes = api.blobs.get(&artifact.key, part.clone()).await;
    let bytes = bytes.inspect_err(|failure| {
        tracing::error!(artifact = artifact.id, error = %failure, "can't read an artifact");
    })?;
    let mut response = match part {
        Some(part) => partial(part, artifact.size),
        None => bare(StatusCode::OK, &[(header::CONTENT_LENGTH, &artifact.size.to_string())]),
    };
    describe(response.headers_mut(), artifact, &etag);
    response.set_body(Body::from_bytes_stream(bytes.map_err(io::Error::other)));
    Ok(response)
}

/// An address at which an artifact can be had for a while without further rights: the object store's own, where that can
/// sign, else one of ours.
///
/// # Errors
/// When the store can't be asked.
pub async fn address(api: &Api, artifact: &Artifact) -> Result<String, BlobError> {
    let disposition = disposition(&artifact.name, &artifact.mime);
    let signed = api.blobs.signed_url(&artifact.key, signature::VALID, &artifact.mime, &disposition).await?;
    Ok(signed.unwrap_or_else(|| signature::address(api.store.signing_key(), artifact.id)))
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

fn unsatisfiable(size: u64) -> Response {
    let range = format!("bytes */{size}");
    bare(StatusCode::RANGE_NOT_SATISFIABLE, &[(header::CONTENT_RANGE, &range)])
}

fn bare(status: StatusCode, headers: &[(HeaderName, &str)]) -> Response {
    let builder = Response::builder().status(status);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(name, *value)).finish()
}

fn forbidden() -> Response {
    let body = "This address is not signed by this server or has expired; /artifacts/download gives a new one.\n";
    front::text(StatusCode::FORBIDDEN, body)
}

fn lost(failure: &BlobError) -> Response {
    match failure {
        BlobError::Missing(_) => refused(StatusCode::GONE, ErrorCode::ArtifactMissing),
        _ => refused(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::InternalServerError),
    }
}

fn refused(status: StatusCode, code: ErrorCode) -> Response {
    let mut response = Compact(ErrorAnswer::new(code)).into_response();
    response.set_status(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    response
}
