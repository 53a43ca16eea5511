//! Why a request was not served: RFC 9457, with a word for programs.

use poem::http::HeaderValue;
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use super::job::StatusWord;
use crate::domain::job::{JobId, Status};
use crate::store::StoreError;

/// A word for programs; it stays the same while texts may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body is no JSON.
    InvalidJson,
    /// The body is no form with parts.
    InvalidMultipart,
    /// There is no token, or none that holds.
    Unauthorized,
    /// The token may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// No jobspec has this name.
    UnknownJob,
    /// The body did not arrive as a whole.
    Incomplete,
    /// It can't be done as things are: the job has ended, or the idempotency key is that of something else.
    Conflict,
    /// The body is larger than it may be.
    TooLarge,
    /// The body has another type than it must have.
    UnsupportedMediaType,
    /// Fields or parameters can't be read; `errors` names each of them.
    InvalidParameters,
    /// The jobspec of this name can't be read; `detail` says why.
    InvalidJobspec,
    /// It was there, and is no longer kept.
    Gone,
    /// Bytes that are not there were asked for.
    RangeNotSatisfiable,
    /// Too many requests, or too many queued jobs; wait.
    RateLimited,
    /// The database or the store failed; try again.
    Unavailable,
}

impl Code {
    /// The status that it comes with.
    pub fn status(self) -> u16 {
        self.answer().0
    }

    /// What the document says of the status.
    pub fn description(self) -> &'static str {
        match self.status() {
            400 => "The body can't be read: `invalid_json` or `invalid_multipart`.",
            401 => "There is no token, or none that holds: `unauthorized`.",
            403 => "The token may not do this: `forbidden`.",
            404 => "There is no such thing: `not_found`, or `unknown_job`: no jobspec has this name.",
            408 => "The body did not arrive as a whole: `incomplete`.",
            409 => "It can't be done as things are: `conflict`.",
            410 => "It was there, and is no longer kept: `gone`.",
            413 => "The body is larger than it may be: `too_large`.",
            415 => "The body has another type than it must have: `unsupported_media_type`.",
            416 => "Bytes that are not there were asked for: `range_not_satisfiable`.",
            422 => {
                "What is asked for can't be: `invalid_parameters`, where `errors` names all that is wrong, or \
                 `invalid_jobspec`: the jobspec can't be read."
            }
            429 => "Too many requests, or too many queued jobs: `rate_limited`. Wait.",
            _ => "The database or the store is not available: `unavailable`. Try again.",
        }
    }

    /// Its status, and that in words.
    fn answer(self) -> (u16, &'static str) {
        match self {
            Code::InvalidJson | Code::InvalidMultipart => (400, "Bad Request"),
            Code::Unauthorized => (401, "Unauthorized"),
            Code::Forbidden => (403, "Forbidden"),
            Code::NotFound | Code::UnknownJob => (404, "Not Found"),
            Code::Incomplete => (408, "Request Timeout"),
            Code::Conflict => (409, "Conflict"),
            Code::Gone => (410, "Gone"),
            Code::RangeNotSatisfiable => (416, "Range Not Satisfiable"),
            Code::TooLarge => (413, "Content Too Large"),
            Code::UnsupportedMediaType => (415, "Unsupported Media Type"),
            Code::InvalidParameters | Code::InvalidJobspec => (422, "Unprocessable Content"),
            Code::RateLimited => (429, "Too Many Requests"),
            Code::Unavailable => (503, "Service Unavailable"),
        }
    }
}

/// Of so many mistakes `detail` tells.
const IN_DETAIL: usize = 20;
/// Of so many `errors` tells.
const IN_ERRORS: usize = 1000;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
pub struct FieldError {
    /// The name of the parameter, or where in the body the field is: `parameters.message`.
    pub field: String,
    /// What would be right.
    pub message: String,
}

/// Why a request was not served.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(example, rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// A sentence for people.
    detail: String,
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    code: Code,
    // Where the job stands, if that is what is in the way; no doc comment, as above.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    job_status: Option<StatusWord>,
    /// All that is wrong with the request.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldError>>,
}

impl Problem {
    /// A problem of this kind, in words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = code.answer();
        Self {
            kind: "about:blank".into(),
            title: title.into(),
            status,
            detail: detail.into(),
            code,
            job_status: None,
            errors: None,
        }
    }

    /// Nobody has this number.
    pub fn no_job(id: Option<JobId>) -> Self {
        let detail = id.map_or("a job's id is a number from 1".into(), |id| format!("there is no job {id}"));
        Self::new(Code::NotFound, detail)
    }

    /// Nobody has this number.
    pub fn no_artifact(id: Option<i64>) -> Self {
        let detail = id.map_or("an artifact's id is a number from 1".into(), |id| format!("there is no artifact {id}"));
        Self::new(Code::NotFound, detail)
    }

    /// The caller sees it, and may not change it.
    pub fn not_yours(what: impl std::fmt::Display) -> Self {
        Self::new(
            Code::Forbidden,
            format!("{what} is another user's; to change it needs a token with the scope `admin`"),
        )
    }

    /// Nobody has this number.
    pub fn no_input(id: Option<i64>) -> Self {
        let detail = id.map_or("an input's id is a number from 1".into(), |id| format!("there is no input {id}"));
        Self::new(Code::NotFound, detail)
    }

    /// Nobody has this number.
    pub fn no_webhook(id: Option<i64>) -> Self {
        let detail = id.map_or("a webhook's id is a number from 1".into(), |id| format!("there is no webhook {id}"));
        Self::new(Code::NotFound, detail)
    }

    /// Nobody has this number.
    pub fn no_delivery(id: Option<i64>) -> Self {
        let detail = id.map_or("a delivery's id is a number from 1".into(), |id| format!("there is no delivery {id}"));
        Self::new(Code::NotFound, detail)
    }

    /// No jobspec has this name.
    pub fn no_jobspec(name: &str) -> Self {
        let shown: String = name.chars().take(80).collect();
        let detail = format!("no jobspec has the name {shown:?}; GET /v1/jobspecs lists those that there are");
        Self::new(Code::UnknownJob, detail)
    }

    /// The job has ended before.
    pub fn ended(id: JobId, status: Status) -> Self {
        let problem = Self::new(Code::Conflict, format!("job {id} has ended before: it is {status}"));
        Self { job_status: Some(status.into()), ..problem }
    }

    /// The job has not ended yet.
    pub fn not_ended(id: JobId, status: Status) -> Self {
        let detail = format!("job {id} has not ended: it is {status}; cancel it first");
        Self { job_status: Some(status.into()), ..Self::new(Code::Conflict, detail) }
    }

    /// What can't be read of a request.
    pub fn invalid(mut errors: Vec<FieldError>) -> Self {
        let line = |error: &FieldError| format!("{}: {}", error.field, error.message);
        let mut detail = errors.iter().take(IN_DETAIL).map(line).collect::<Vec<_>>().join("; ");
        if let Some(more) = errors.len().checked_sub(IN_DETAIL).filter(|more| *more > 0) {
            detail.push_str(&format!("; and {more} more"));
        }
        errors.truncate(IN_ERRORS);
        Self { errors: Some(errors), ..Self::new(Code::InvalidParameters, detail) }
    }

    /// What was submitted before under the same key is something else.
    pub fn other_submission(id: JobId) -> Self {
        let detail = "this Idempotency-Key came before with something else, of which that job came";
        Self::new(Code::Conflict, format!("{detail}: {id}"))
    }

    /// What is wrong; what is no field's mistake is that of `field`.
    pub fn into_errors(self, field: &str) -> Vec<FieldError> {
        self.errors.unwrap_or_else(|| vec![FieldError { field: field.to_owned(), message: self.detail }])
    }

    /// The same with more that is wrong with the request.
    pub fn with(self, mut errors: Vec<FieldError>) -> Self {
        match self.errors {
            Some(own) => {
                errors.extend(own);
                Self::invalid(errors)
            }
            None => self,
        }
    }

    /// The database failed in a way that the log tells.
    pub fn failed(error: &StoreError) -> Self {
        tracing::error!(%error, "a request could not be served");
        Self::unavailable()
    }

    /// The database or the store failed; the log says how.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "the database or the store is not available; try again")
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What it is.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl Example for Problem {
    fn example() -> Self {
        Self::ended(17, Status::Completed)
    }
}

/// A problem as `application/problem+json`.
pub struct ProblemJson(pub Problem);

impl ProblemJson {
    /// What the document says of the body.
    pub fn media() -> MetaMediaType {
        MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() }
    }
}

impl Payload for ProblemJson {
    const CONTENT_TYPE: &'static str = "application/problem+json";

    fn schema_ref() -> MetaSchemaRef {
        Problem::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Problem::register(registry);
    }
}

impl IntoResponse for ProblemJson {
    fn into_response(self) -> Response {
        // Strings and numbers can always be written.
        let mut response = Response::from(serde_json::to_vec(&self.0).unwrap_or_default());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        response
    }
}
