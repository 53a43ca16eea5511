//! Input files for jobs that run elsewhere, under addresses that we signed: for stores that can't sign their own.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures_util::TryStreamExt;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use poem::http::{Method, StatusCode};
use poem::{Body, EndpointExt, Request, Response};

use super::upload::{later, refusal, signed, unsigned};
use super::{Api, front};
use crate::blobs::BlobError;
use crate::domain::fetch::{Fetch, PATH};

/// `GET /inputs/content`. The OpenAPI document leaves it out: nobody can make its addresses but us.
pub fn add_routes(api: &Arc<Api>, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
    let api = api.clone();
    let content = make(move |request| {
        let api = api.clone();
        async move { answer(&api, &request).await }
    });
    table.insert(PATH.to_owned(), HashMap::from([(Method::GET, content.boxed())]));
}

async fn answer(api: &Api, request: &Request) -> Response {
    let Some(fetch) = signed(request, |value, now| Fetch::read(api.store.signing_key(), value, now)) else {
        return unsigned();
    };
    const OVER: &str = "The job has ended, or is run again: it is given no files any more.\n";
    match refusal(api, (fetch.job, fetch.attempt), OVER).await {
        None => give(api, &fetch).await,
        Some(refusal) => refusal,
    }
}

async fn give(api: &Api, fetch: &Fetch) -> Response {
    let gone = || front::text(StatusCode::GONE, "The file is no longer there.\n");
    let inputs = match api.store.inputs_of(fetch.job).await {
        Ok(inputs) => inputs,
        Err(failure) => {
            tracing::error!(job = fetch.job, error = %failure, "can't look for a job's files");
            return later("The database is not available; try again.\n");
        }
    };
    let Some(input) = inputs.into_iter().find(|input| input.id == fetch.input) else { return gone() };
    match api.blobs.get(&input.key, None).await {
        Ok(bytes) => Response::builder()
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, input.size)
            .header(CACHE_CONTROL, "no-store")
            .body(Body::from_bytes_stream(bytes.map_err(io::Error::other))),
        Err(BlobError::Missing(_)) => gone(),
        Err(failure) => {
            tracing::error!(job = fetch.job, input = input.id, error = %failure, "can't read an input file");
            later("The object store does not give it; try again.\n")
        }
    }
}
