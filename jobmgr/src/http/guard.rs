//! Headers that say how little a browser may do with an answer.

use poem::Response;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use poem::http::{HeaderValue, StatusCode};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// For what is no page: it loads nothing, and nobody shows it in a frame.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Adds what the answer does not say itself. Pages and artifacts have a policy of their own, and keep it: a picture
/// that a job drew may be shown by the pages of others, an answer about a job may not.
pub fn protect(response: &mut Response) {
    let unchanged = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    let own_policy = headers.contains_key(CONTENT_SECURITY_POLICY);
    let mut add = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    add(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    add(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if unchanged {
        // What is in a cache keeps the headers that it came with.
        return;
    }
    if !own_policy {
        add(CONTENT_SECURITY_POLICY, NOTHING);
        add(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
    // Jobs change, and what they hold is nobody else's business.
    add(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
