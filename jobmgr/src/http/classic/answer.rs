//! What the answers have in common: the JSON payload and the error object.

use poem::http::HeaderValue;
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaDiscriminatorObject, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use super::json;

/// When to try again after the database or the store failed.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Says that the request was served.
#[derive(Debug, Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum OkStatus {
    /// It was.
    Ok,
}

/// Says that the request was not served.
#[derive(Debug, Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum ErrorStatus {
    /// It was not.
    Error,
}

/// Why a request was not served: `missing_params` (a parameter is absent or empty), `invalid_params` (one can't be
/// read), `not_found` (there is no such job or artifact), `unauthorized` (there is no token that holds), `forbidden` (the
/// token may not do this), `rate_limited` (too many requests or queued jobs), `too_large` (the form is over 4 MiB), `incomplete_form` (it did not arrive as a whole), `artifact_missing` (the
/// file is no longer kept), `internal_server_error` (the database or the store failed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A parameter is absent or empty.
    MissingParams,
    /// A parameter can't be read.
    InvalidParams,
    /// There is no such job or artifact.
    NotFound,
    /// There is no token, or none that holds.
    Unauthorized,
    /// The token may not do this.
    Forbidden,
    /// Too many requests, or too many queued jobs.
    RateLimited,
    /// The form is larger than 4 MiB.
    TooLarge,
    /// The form did not arrive as a whole.
    IncompleteForm,
    /// The file is no longer kept.
    ArtifactMissing,
    /// The database or the store failed.
    InternalServerError,
}

/// The request was not served.
#[derive(Debug, Clone, Copy, Object, Serialize)]
#[oai(rename = "ClassicError", example)]
pub struct ErrorAnswer {
    // No doc comments on fields whose types are described: the reference would become an `allOf` of the reference and
    // the comment, and generators leave such fields out.
    status: ErrorStatus,
    error: ErrorCode,
}

impl ErrorAnswer {
    /// The error object of a code.
    pub fn new(error: ErrorCode) -> Self {
        Self { status: ErrorStatus::Error, error }
    }
}

impl Example for ErrorAnswer {
    fn example() -> Self {
        Self::new(ErrorCode::MissingParams)
    }
}

/// JSON as the original writes it: compact, a newline at the end, and no charset in its type.
pub struct Compact<T>(pub T);

impl<T: Type> Payload for Compact<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + Serialize> IntoResponse for Compact<T> {
    fn into_response(self) -> Response {
        json(&self.0)
    }
}

/// An answer with status 200: what was asked for, or the error object.
pub enum Answer<T> {
    /// What was asked for; its `status` is `ok`.
    Ok(T),
    /// Why not; its `status` is `error`.
    Error(ErrorAnswer),
}

impl<T> From<ErrorCode> for Answer<T> {
    fn from(code: ErrorCode) -> Self {
        Self::Error(ErrorAnswer::new(code))
    }
}

impl<T: Type> Payload for Answer<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        let pointer = |name: &str| format!("#/components/schemas/{name}");
        let mapping = vec![("ok".to_owned(), pointer(&T::name())), ("error".to_owned(), pointer(&ErrorAnswer::name()))];
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            one_of: vec![T::schema_ref(), ErrorAnswer::schema_ref()],
            discriminator: Some(MetaDiscriminatorObject { property_name: "status", mapping }),
            ..MetaSchema::ANY
        }))
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        ErrorAnswer::register(registry);
    }
}

impl<T: Type + Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self {
            Answer::Ok(answer) => json(&answer),
            Answer::Error(error) => json(&error),
        }
    }
}

fn json(answer: &impl Serialize) -> Response {
    let mut response = Response::from(json::to_vec(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_have_the_originals_bytes() {
        let mut response = Answer::<ErrorAnswer>::from(ErrorCode::MissingParams).into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = response.take_body().into_string().await.unwrap();
        assert_eq!(body, "{\"status\":\"error\",\"error\":\"missing_params\"}\n");
    }
}
