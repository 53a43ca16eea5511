//! Files of jobs that run elsewhere, under addresses that we signed: for stores that can't sign their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use poem::endpoint::{BoxEndpoint, make};
use poem::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{EndpointExt, Request, Response};

use super::classic::RETRY_AFTER_SECONDS;
use super::{Api, front, query};
use crate::blobs::BlobError;
use crate::domain::job::{JobId, Status};
use crate::domain::keys;
use crate::domain::upload::{PATH, Upload};

/// `PUT /artifacts/upload`. The OpenAPI document leaves it out: nobody can make its addresses but us.
pub fn add_routes(api: &Arc<Api>, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
    let api = api.clone();
    let upload = make(move |request| {
        let api = api.clone();
        async move { answer(&api, request).await }
    });
    table.insert(PATH.to_owned(), HashMap::from([(Method::PUT, upload.boxed())]));
}

async fn answer(api: &Api, request: Request) -> Response {
    let Some(upload) = signed(&request, |value, now| Upload::read(api.store.signing_key(), value, now)) else {
        return unsigned();
    };
    const OVER: &str = "The job has ended, or is run again: nothing is taken for it any more.\n";
    match refusal(api, (upload.job, upload.attempt), OVER).await {
        None => take(api, &upload, request).await,
        Some(refusal) => refusal,
    }
}

/// What an address allows that `read` knows, by the values of its query at this time in Unix seconds.
pub(super) fn signed<T>(
    request: &Request,
    read: impl FnOnce(&dyn Fn(&str) -> Option<String>, u64) -> Option<T>,
) -> Option<T> {
    let encoded = request.uri().query().unwrap_or_default().as_bytes();
    let value = |name: &str| String::from_utf8(query::first(encoded, name)?.into_owned()).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |time| time.as_secs());
    read(&value, now)
}

/// The answer to an address that allows nothing.
pub(super) fn unsigned() -> Response {
    let body = "This address is not signed by this server or has expired; the job's executor is given new ones.\n";
    front::text(StatusCode::FORBIDDEN, body)
}

/// The answer where the attempt is over, `over`, or can't be looked at.
pub(super) async fn refusal(api: &Api, (job, attempt): (JobId, i64), over: &'static str) -> Option<Response> {
    match api.store.status(job).await {
        Ok(Some((Status::Started, now))) if now == attempt => None,
        Ok(_) => Some(front::text(StatusCode::GONE, over)),
        Err(failure) => {
            tracing::error!(job, error = %failure, "can't look whether a job runs");
            Some(later("The database is not available; try again.\n"))
        }
    }
}

async fn take(api: &Api, upload: &Upload, mut request: Request) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > upload.max) {
        return too_large(upload.max);
    }
    let key = keys::of_grant(api.store.installation(), upload.job, upload.attempt, upload.slot);
    let body = Box::pin(request.take_body().into_bytes_stream());
    match api.blobs.put_stream(&key, body, upload.max).await {
        Ok(Some(size)) => front::text(StatusCode::CREATED, format!("{size} bytes\n")),
        Ok(None) => too_large(upload.max),
        Err(BlobError::Source(error)) => {
            front::text(StatusCode::BAD_REQUEST, format!("The body did not arrive in full: {error}\n"))
        }
        Err(failure) => {
            tracing::error!(job = upload.job, slot = upload.slot, error = %failure, "can't take an upload");
            later("The object store does not take it; try again.\n")
        }
    }
}

fn too_large(max: u64) -> Response {
    front::text(StatusCode::PAYLOAD_TOO_LARGE, format!("This address is for at most {max} bytes.\n"))
}

/// An answer that says to try again soon.
pub(super) fn later(body: &'static str) -> Response {
    let mut response = front::text(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    response
}
