//! The problems that an operation may have, in its answers and in the document.

use std::marker::PhantomData;

use poem::IntoResponse;
use poem::http::StatusCode;
use poem::http::header::RETRY_AFTER;
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaHeader, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry};

use super::super::classic::RETRY_AFTER_SECONDS;
use super::problem::{Code, Problem, ProblemJson};

/// Which problems they are.
pub trait Causes: Send + Sync + 'static {
    /// Their codes, by status.
    const CODES: &'static [Code];
}

/// A problem that an operation had.
pub struct Failed<C>(Problem, PhantomData<C>);

impl<C: Causes> From<Problem> for Failed<C> {
    fn from(problem: Problem) -> Self {
        // `asked` tells of the others, for every operation.
        let told = |code| matches!(code, Code::Unauthorized | Code::Forbidden | Code::RateLimited);
        let code = problem.code();
        debug_assert!(told(code) || C::CODES.contains(&code), "{code:?} is not told in the document");
        Self(problem, PhantomData)
    }
}

impl<C: Causes> From<Failed<C>> for poem::Error {
    fn from(failed: Failed<C>) -> Self {
        let status = StatusCode::from_u16(failed.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = failed.0.code();
        let mut response = ProblemJson(failed.0).into_response();
        response.set_status(status);
        if matches!(code, Code::Unavailable | Code::RateLimited) {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        poem::Error::from_response(response)
    }
}

impl<C: Causes> ApiResponse for Failed<C> {
    fn meta() -> MetaResponses {
        let mut responses: Vec<MetaResponse> = Vec::new();
        for code in C::CODES {
            // Two codes of one status have the same text.
            if responses.iter().all(|response| response.status != Some(code.status())) {
                responses.push(response(*code));
            }
        }
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ProblemJson::register(registry);
    }
}

fn response(code: Code) -> MetaResponse {
    let content = vec![ProblemJson::media()];
    let retry = MetaHeader {
        name: "Retry-After".into(),
        description: Some("Seconds to wait.".into()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("integer", "int32"))),
    };
    let headers = if code == Code::Unavailable { vec![retry] } else { Vec::new() };
    MetaResponse { description: code.description(), status: Some(code.status()), status_range: None, content, headers }
}
