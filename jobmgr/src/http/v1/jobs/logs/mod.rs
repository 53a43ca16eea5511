//! What a job wrote, while it runs and afterwards.

use std::sync::Arc;

use poem::http::HeaderMap;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use tokio_util::sync::CancellationToken;

use super::super::super::classic::RETRY_AFTER_SECONDS;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::parameter::{Optional, Path};
use super::super::problem::{Code, Problem, ProblemJson};
use super::look::must_see;
use crate::store::Stream;

/// Bytes as they come, until the job ends.
mod follow;
/// The output of attempts that are over.
pub(super) mod kept;
/// The output of an attempt that runs.
mod live;
/// Which output is asked for, and where it is.
pub(super) mod source;

use source::{Asked, Source};

/// `GET /v1/jobs/{id}/logs`
pub struct Logs {
    /// What it answers from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

#[OpenApi]
impl Logs {
    /// Read a job's output
    ///
    /// The bytes that a job wrote, from any server, while it runs and afterwards. Of a running job the last MiB is
    /// there; of one that ended all of it, or what `[Worker] MaxLogBytes` keeps of its beginning and its end; of an
    /// earlier attempt the end. A line `[jobmgr: N bytes left out here]` stands for what is left out. `Range` is
    /// obeyed, but with `follow`.
    #[oai(path = "/v1/jobs/:id/logs", method = "get", operation_id = "getLogs", tag = "Tag::Jobs")]
    async fn logs(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
        /// Which of its streams: `stdout`, `stderr`, or `executor`: what a library's executor said or printed itself;
        /// of each attempt the last 64 KiB.
        stream: Optional<Stream>,
        /// Which of its attempts; left out, the last one.
        attempt: Optional<i64>,
        /// Keeps the answer open and sends what the job writes until it ends; without `attempt`, also what later
        /// attempts write.
        follow: Optional<bool>,
        headers: &HeaderMap,
    ) -> LogsAnswer {
        let mut errors = Vec::new();
        let stream = stream.or_note(&mut errors).unwrap_or(Stream::Stdout);
        let attempt = attempt.or_note(&mut errors);
        let follow = follow.or_note(&mut errors).unwrap_or_default();
        if !errors.is_empty() {
            return Problem::invalid(errors).into();
        }
        let Some(id) = id.0 else { return Problem::no_job(None).into() };
        if let Err(hidden) = must_see(&self.api, &caller, id).await {
            return hidden.into();
        }
        let asked = Asked { id, attempt, stream };
        self.answer(asked, follow, headers).await.unwrap_or_else(LogsAnswer::from)
    }
}

impl Logs {
    async fn answer(&self, asked: Asked, follow: bool, headers: &HeaderMap) -> Result<LogsAnswer, Problem> {
        let source = source::find(&self.api.store, &asked).await?;
        match source {
            Source::Kept { attempt, log } if !follow || asked.attempt.is_some() => {
                kept::send(&self.api.blobs, &asked, attempt, log, headers).await
            }
            _ if follow => Ok(follow::send(&self.api, &self.closing, &asked, source)),
            Source::Kept { attempt, log } | Source::Last { attempt, log } => {
                kept::send(&self.api.blobs, &asked, attempt, log, headers).await
            }
            Source::Running { attempt } => live::send(&self.api.store, &asked, attempt, headers).await,
            Source::Nothing => Ok(LogsAnswer::Whole(Raw::of(Vec::new(), "no-store"))),
        }
    }
}

/// Bytes, with the headers that a part of them needs.
struct Raw(Response);

impl Raw {
    /// A stranger's bytes: a browser must neither guess their type nor run them as a page of this server.
    fn of(body: impl Into<poem::Body>, cache: &'static str) -> Self {
        let response = Response::builder()
            .header("content-type", Self::CONTENT_TYPE)
            .header("x-content-type-options", "nosniff")
            .header("content-security-policy", "default-src 'none'; sandbox")
            .header("cache-control", cache);
        Self(response.body(body))
    }

    fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        if let Ok(value) = value.to_string().try_into() {
            self.0.headers_mut().insert(name, value);
        }
        self
    }
}

impl Payload for Raw {
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn schema_ref() -> MetaSchemaRef {
        <Binary<Vec<u8>> as Payload>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        <Binary<Vec<u8>> as Payload>::register(registry);
    }
}

impl IntoResponse for Raw {
    fn into_response(self) -> Response {
        self.0
    }
}

/// A problem that comes with the size of what is there.
struct NotThere(Problem, u64);

impl Payload for NotThere {
    const CONTENT_TYPE: &'static str = ProblemJson::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        ProblemJson::schema_ref()
    }

    fn register(registry: &mut Registry) {
        ProblemJson::register(registry);
    }
}

impl IntoResponse for NotThere {
    fn into_response(self) -> Response {
        Raw(ProblemJson(self.0).into_response()).with("content-range", format_args!("bytes */{}", self.1)).0
    }
}

#[derive(ApiResponse)]
enum LogsAnswer {
    /// The output, or nothing where the job has not written anything.
    #[oai(status = 200)]
    Whole(Raw),
    /// The part that `Range` asked for; of a running job, what is there of it. `Content-Range` says which it is.
    #[oai(status = 206)]
    Part(Raw),
    /// The caller has it: `If-None-Match`.
    #[oai(status = 304)]
    Unchanged,
    /// There is no such job or attempt: `not_found`.
    #[oai(status = 404)]
    NotFound(ProblemJson),
    /// The output is no longer in the store: `gone`.
    #[oai(status = 410)]
    Gone(ProblemJson),
    /// The part is not there: `range_not_satisfiable`.
    #[oai(status = 416)]
    NotThere(NotThere),
    /// `invalid_parameters`: `errors` names what can't be read.
    #[oai(status = 422)]
    Invalid(ProblemJson),
    /// The database, or the store that holds the output, is not available: `unavailable`. Try again.
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}

impl From<Problem> for LogsAnswer {
    fn from(problem: Problem) -> Self {
        match problem.code() {
            Code::InvalidParameters => LogsAnswer::Invalid(ProblemJson(problem)),
            Code::Gone => LogsAnswer::Gone(ProblemJson(problem)),
            Code::Unavailable => LogsAnswer::Unavailable(ProblemJson(problem), RETRY_AFTER_SECONDS),
            _ => LogsAnswer::NotFound(ProblemJson(problem)),
        }
    }
}

/// The part of the output that was asked for is not there; so much is.
fn not_there(size: u64) -> LogsAnswer {
    let detail = format!("the output has {size} bytes");
    LogsAnswer::NotThere(NotThere(Problem::new(Code::RangeNotSatisfiable, detail), size))
}

/// What the database said, for the log.
fn unavailable(id: i64, error: impl std::fmt::Display) -> Problem {
    tracing::error!(job = id, %error, "can't read a job's output");
    Problem::unavailable()
}
