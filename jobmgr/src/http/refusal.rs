//! The answers to those who may not.

use poem::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use poem::http::{HeaderValue, StatusCode};
use poem::{IntoResponse, Response};

use super::classic::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};
use super::v1::{Code, Problem, ProblemJson};

/// Why a caller is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token, or none that holds. One text for all of that: nobody learns what was wrong.
    Unauthorized,
    /// The token has not the scope; or there is no line for the route.
    Forbidden(&'static str),
    /// Too much was asked for; in so many seconds there may be more.
    TooMuch(&'static str, u64),
    /// The database does not say who may.
    Unavailable,
}

/// Whether the original has this path, whose errors are its own; elsewhere they are problems.
pub fn is_classic(path: &str) -> bool {
    path.starts_with("/jobs/") || path.starts_with("/artifacts/")
}

const NO_TOKEN: &str = "this needs a token that holds, in a header: Authorization: Bearer jm_...; jobmgr token create \
                        makes one";

impl Refusal {
    /// As a problem, for `/v1`.
    pub fn problem(self) -> Problem {
        match self {
            Refusal::Unauthorized => Problem::new(Code::Unauthorized, NO_TOKEN),
            Refusal::Forbidden(what) => Problem::new(Code::Forbidden, format!("this needs {what}")),
            Refusal::TooMuch(what, _) => Problem::new(Code::RateLimited, what),
            Refusal::Unavailable => Problem::unavailable(),
        }
    }

    fn classic(self) -> ErrorCode {
        match self {
            Refusal::Unauthorized => ErrorCode::Unauthorized,
            Refusal::Forbidden(_) => ErrorCode::Forbidden,
            Refusal::TooMuch(..) => ErrorCode::RateLimited,
            Refusal::Unavailable => ErrorCode::InternalServerError,
        }
    }

    /// The word for the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Unauthorized => "unauthorized",
            Refusal::Forbidden(_) => "forbidden",
            Refusal::TooMuch(..) => "rate_limited",
            Refusal::Unavailable => "unavailable",
        }
    }

    /// The answer below this path.
    pub fn answer(self, path: &str) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::FORBIDDEN);
        let mut response = match is_classic(path) {
            true => Compact(ErrorAnswer::new(self.classic())).into_response(),
            false => ProblemJson(problem).into_response(),
        };
        response.set_status(status);
        let headers = response.headers_mut();
        match self {
            Refusal::Unauthorized => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Refusal::TooMuch(_, seconds) => drop(headers.insert(RETRY_AFTER, seconds.into())),
            Refusal::Unavailable => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into())),
            Refusal::Forbidden(_) => {}
        }
        response
    }
}
