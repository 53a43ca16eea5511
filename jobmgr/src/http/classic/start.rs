//! A new job.

use std::sync::Arc;

use poem::{Request, RequestBody};
use poem_openapi::payload::{Form, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Example;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, Object, OpenApi};
use serde::Serialize;

use super::super::body::Unreadable;
use super::super::docs::Tag;
use super::super::trace::Trace;
use super::super::v1::Code;
use super::super::{Api, Caller, queues};
use super::answer::{Answer, Compact, ErrorAnswer, ErrorCode, OkStatus, RETRY_AFTER_SECONDS};
use super::form::Fields;
use super::parameters;
use crate::domain::job::JobId;
use crate::domain::submission::NewJob;

/// The longest name in characters: as long as a database keys it.
const MAX_NAME: usize = 255;

/// `POST /jobs/start`
pub struct Start {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Start {
    /// Start a job
    ///
    /// Queues a job and answers with its id, for `GET /jobs/get`. When the answer is there, the job is safely stored.
    /// A name that no jobspec has is accepted too: that job fails when its turn comes. `multipart/form-data` and
    /// values in the query string work as well; the body wins.
    #[oai(path = "/jobs/start", method = "post", operation_id = "startJob", tag = "Tag::Jobs")]
    async fn start(&self, caller: Caller, trace: Trace, form: StartForm) -> StartAnswer {
        let job = match form.0 {
            Ok(fields) => self.job(fields).await,
            Err(Unreadable::TooLarge) => return StartAnswer::TooLarge(error(ErrorCode::TooLarge)),
            Err(Unreadable::Incomplete) => return StartAnswer::Incomplete(error(ErrorCode::IncompleteForm)),
        };
        let job = match job {
            Ok(job) => NewJob { trace_parent: trace.parent(), ..job },
            Err(ErrorCode::InternalServerError) => {
                return StartAnswer::Unavailable(error(ErrorCode::InternalServerError), RETRY_AFTER_SECONDS);
            }
            Err(code) => return StartAnswer::Answer(code.into()),
        };
        if let Err(problem) = queues::check(&self.api, &caller, 1).await {
            return no_room(problem.code());
        }
        match self.api.store.submit(NewJob { user_id: caller.user_id, ..job }).await {
            Ok(created) => {
                self.api.audit.submitted(&caller, &[created]);
                StartAnswer::Answer(Answer::Ok(Started { status: OkStatus::Ok, created }))
            }
            Err(failure) => {
                tracing::error!(error = %failure, "can't queue a job");
                StartAnswer::Unavailable(error(ErrorCode::InternalServerError), RETRY_AFTER_SECONDS)
            }
        }
    }
}

impl Start {
    async fn job(&self, fields: Fields) -> Result<NewJob, ErrorCode> {
        let given = |field: Option<Vec<u8>>| field.filter(|value| !value.is_empty()).ok_or(ErrorCode::MissingParams);
        let (name, values) = (given(fields.name)?, given(fields.parameters)?);
        let name = String::from_utf8(name).map_err(|_| ErrorCode::InvalidParams)?;
        let mut parameters = parameters::parse(&values).ok_or(ErrorCode::InvalidParams)?;
        if name.contains('\0') || name.chars().count() > MAX_NAME {
            return Err(ErrorCode::InvalidParams);
        }
        let about = self.api.abouts.of(&name).await;
        self.api.secrets.seal_parameters(&about, &mut parameters).map_err(|failure| {
            tracing::error!(error = %failure, "a secret parameter can't be encrypted");
            ErrorCode::InternalServerError
        })?;
        let priority = fields.priority.as_deref().and_then(priority).unwrap_or(about.priority);
        Ok(NewJob { name, parameters, priority, queue_timeout: about.queue_timeout(), ..NewJob::default() })
    }
}

fn no_room(code: Code) -> StartAnswer {
    match code {
        Code::RateLimited => StartAnswer::NoRoom(error(ErrorCode::RateLimited), RETRY_AFTER_SECONDS),
        _ => StartAnswer::Unavailable(error(ErrorCode::InternalServerError), RETRY_AFTER_SECONDS),
    }
}

fn error(code: ErrorCode) -> Compact<ErrorAnswer> {
    Compact(ErrorAnswer::new(code))
}

/// An integer from 0 to 100; what is none counts as not given.
fn priority(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?;
    text.parse().ok().filter(|priority| (0..=100).contains(priority))
}

// What the OpenAPI document shows; `Fields` reads it.
/// What to run, and with which values.
#[derive(Object)]
#[oai(rename = "StartJob", example)]
struct StartFields {
    /// The name of the jobspec to run.
    name: String,
    /// A JSON object with the job's values, as text: `{"message":"hello"}`. All values are strings, also numbers.
    parameters: String,
    /// 0 to 100; jobs with lower numbers run first. Left out: the jobspec's, which usually is 50.
    #[oai(validator(minimum(value = "0"), maximum(value = "100")))]
    priority: Option<i64>,
}

impl Example for StartFields {
    fn example() -> Self {
        let parameters = "{\"message\":\"good morning\",\"style\":\"loud\"}".into();
        Self { name: "hello".into(), parameters, priority: Some(50) }
    }
}

/// What a client sent, or why it can't be read.
struct StartForm(Result<Fields, Unreadable>);

impl<'a> ApiExtractor<'a> for StartForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Form<StartFields> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema = <Form<StartFields> as Payload>::schema_ref();
        let content = vec![MetaMediaType { content_type: Form::<StartFields>::CONTENT_TYPE, schema }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(Fields::read(request, body).await))
    }
}

/// The job is queued.
#[derive(Object, Serialize)]
#[oai(example)]
struct Started {
    // No doc comment; see ErrorAnswer.
    status: OkStatus,
    /// The job's id.
    created: JobId,
}

impl Example for Started {
    fn example() -> Self {
        Self { status: OkStatus::Ok, created: 17 }
    }
}

#[derive(ApiResponse)]
enum StartAnswer {
    /// The job is queued, or the error object says why not: `missing_params` or `invalid_params`.
    #[oai(status = 200)]
    Answer(Answer<Started>),
    /// The form did not arrive as a whole.
    #[oai(status = 408)]
    Incomplete(Compact<ErrorAnswer>),
    /// The form is larger than 4 MiB.
    #[oai(status = 413)]
    TooLarge(Compact<ErrorAnswer>),
    /// Too many requests, wrong tokens or queued jobs: `rate_limited`. Wait.
    #[oai(status = 429)]
    NoRoom(
        Compact<ErrorAnswer>,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
    /// The database is not available: the job is not queued. Try again.
    #[oai(status = 503)]
    Unavailable(
        Compact<ErrorAnswer>,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_job_of_the_sample() {
        let sample = crate::domain::jobspec::Jobspec::parse(include_str!("../../../../jobspecs/hello.toml")).unwrap();
        let values = parameters::parse(StartFields::example().parameters.as_bytes()).unwrap();
        let declared = |name: &String| sample.parameters.iter().any(|parameter| parameter.name == *name);
        assert!(!values.is_empty() && values.keys().all(declared), "{values:?}");
        assert!(crate::domain::parameters::environment(&sample, &values).is_ok());
    }

    #[test]
    fn priorities() {
        assert_eq!(priority(b"0"), Some(0));
        assert_eq!(priority(b"100"), Some(100));
        for none in ["", "101", "-1", "x", "+5", " 5", "5.0", "99999999999999999999"] {
            assert_eq!(priority(none.as_bytes()), None, "{none}");
        }
    }
}
