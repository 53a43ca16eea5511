//! What every request passes, whatever it asks for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::body::Body;
use poem::error::NotFoundError;
use poem::http::header::CONTENT_TYPE;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response, Route};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::hosts::{Hosts, Refusal};
use super::{Api, guard, routes};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's `X-Request-Id`, for those who answer it.
#[derive(Clone)]
pub struct RequestId(pub String);

/// The way in.
pub struct Front {
    hosts: Hosts,
    routes: Route,
    access: Access,
    ids: RequestIds,
}

impl Front {
    /// The way to `api`, which ends when it is `closing`.
    pub fn new(api: Arc<Api>, closing: CancellationToken) -> Self {
        let (hosts, access) = (Hosts::new(&api.config.hosts), Access { shown: api.config.access_log });
        Self { hosts, access, routes: routes::routes(api, closing), ids: RequestIds::new() }
    }

    /// Answers a request; there is always an answer.
    pub async fn answer(
        &self,
        mut request: Request,
    ) -> hyper::Response<impl Body<Data = Bytes, Error = io::Error> + use<>> {
        let id = self.ids.of(request.headers());
        request.set_data(RequestId(id.to_str().unwrap_or_default().to_owned()));
        let seen = self.access.seen(&request, &id);
        let mut response = match self.hosts.check(&request) {
            Ok(()) => self.route(request).await,
            Err(refusal) => refused(&refusal),
        };
        guard::protect(&mut response);
        response.headers_mut().insert(REQUEST_ID, id);
        seen.answered(response)
    }

    async fn route(&self, request: Request) -> Response {
        match self.routes.call(request).await {
            Ok(response) => response,
            Err(failure) if failure.is::<NotFoundError>() => {
                text(StatusCode::NOT_FOUND, "There is nothing at this address; /docs shows what there is.\n")
            }
            Err(failure) => failure.into_response(),
        }
    }
}

/// A short answer for people.
pub fn text(status: StatusCode, body: impl Into<poem::Body>) -> Response {
    Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(body.into())
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::NoHost => StatusCode::BAD_REQUEST,
        Refusal::Host(_) => StatusCode::MISDIRECTED_REQUEST,
        Refusal::Origin(_) => StatusCode::FORBIDDEN,
    };
    text(status, format!("{refusal}\n"))
}

/// Gives each request a name that can be found in the log.
struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        Self { start: uuid::Uuid::new_v4().as_u64_pair().0, next: AtomicU64::new(0) }
    }

    /// The caller's own, if it is sane, or a new one.
    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(own) = headers.get(REQUEST_ID).filter(|value| is_sane(value.as_bytes())) {
            return own.clone();
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:012x}-{next:x}", self.start >> 16);
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=64).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(own: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(own).unwrap());
        RequestIds::new().of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn sane_request_ids_are_kept() {
        assert_eq!(id_for("a.B_9-"), "a.B_9-");
        assert_eq!(id_for(&"x".repeat(64)), "x".repeat(64));
    }

    #[test]
    fn others_are_replaced() {
        for own in ["", "a b", "a\"b", "<script>", &"x".repeat(65)] {
            assert_ne!(id_for(own), own);
        }
    }

    #[test]
    fn new_ids_differ_and_are_sane() {
        let ids = RequestIds::new();
        let (one, two) = (ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(one, two);
        assert!(is_sane(one.as_bytes()), "{one:?}");
    }
}
