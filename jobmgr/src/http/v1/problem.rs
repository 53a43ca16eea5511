//! Why a request was not served: RFC 9457, with a word for programs.

use poem::http::HeaderValue;
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{Enum, Object};
use serde::Serialize;

use crate::domain::job::{JobId, Status};

/// A word for programs; it stays the same while texts may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// There is no such thing.
    NotFound,
    /// Parameters can't be read; `errors` names each of them.
    InvalidParameters,
    /// The state of the job does not allow it.
    Conflict,
    /// It was there, and is no longer kept.
    Gone,
    /// Bytes that are not there were asked for.
    RangeNotSatisfiable,
    /// The database or the store failed; try again.
    Unavailable,
}

impl Code {
    /// The status that it comes with, and that in words.
    fn status(self) -> (u16, &'static str) {
        match self {
            Code::NotFound => (404, "Not Found"),
            Code::Conflict => (409, "Conflict"),
            Code::Gone => (410, "Gone"),
            Code::RangeNotSatisfiable => (416, "Range Not Satisfiable"),
            Code::InvalidParameters => (422, "Unprocessable Content"),
            Code::Unavailable => (503, "Service Unavailable"),
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
pub struct FieldError {
    /// The name of the parameter.
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
    /// Where the job stands, if that is what is in the way.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    job_status: Option<String>,
    /// All that is wrong with the request.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FieldError>>,
}

impl Problem {
    /// A problem of this kind, in words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = code.status();
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

    /// The job has ended before.
    pub fn ended(id: JobId, status: Status) -> Self {
        let problem = Self::new(Code::Conflict, format!("job {id} has ended before: it is {status}"));
        Self { job_status: Some(status.as_str().into()), ..problem }
    }

    /// What can't be read of a request.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let lines: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Self { errors: Some(errors), ..Self::new(Code::InvalidParameters, lines.join("; ")) }
    }

    /// The database or the store failed; the log says how.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "the database or the store is not available; try again")
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
