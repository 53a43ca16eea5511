//! Who asks, and what they may.

use std::net::IpAddr;
use std::sync::Arc;

use poem::http::StatusCode;
use poem::{FromRequest, Request, RequestBody, Result};

use crate::auth::{By, Scope, Scopes, Token};
use crate::domain::job::Job;
use crate::domain::submission::LOCAL_USER;

/// Whom a request comes from; `gate` finds it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// Whose jobs the caller submits.
    pub user_id: i64,
    /// Whether the jobs of others are shown too.
    pub sees_all: bool,
    /// What the caller may do.
    pub scopes: Scopes,
    /// The token that was shown; `None`: none was needed.
    pub token: Option<Arc<Token>>,
    /// From where the request came.
    pub address: Option<IpAddr>,
    /// The request's `X-Request-Id`.
    pub request_id: String,
}

impl Caller {
    /// Whoever calls where no token is needed: user 1, who may do everything.
    pub fn local() -> Self {
        Self {
            user_id: LOCAL_USER,
            sees_all: true,
            scopes: Scopes::ADMIN,
            token: None,
            address: None,
            request_id: String::new(),
        }
    }

    /// Who has this token.
    pub fn with(token: Arc<Token>) -> Self {
        let (user_id, scopes) = (token.user_id, token.scopes);
        Self { user_id, sees_all: scopes.allow(Scope::Read), scopes, token: Some(token), ..Self::local() }
    }

    /// Whether what belongs to this user is shown to the caller. What is not must look as if it were not there.
    pub fn sees(&self, user_id: i64) -> bool {
        self.sees_all || self.user_id == user_id
    }

    /// Whether the caller may change what belongs to this user.
    pub fn changes(&self, user_id: i64) -> bool {
        self.scopes.allow(Scope::Admin) || self.user_id == user_id
    }

    /// The job, unless it is hidden from the caller.
    pub fn seen(&self, job: Option<Job>) -> Option<Job> {
        job.filter(|job| self.sees(job.user_id))
    }

    /// For the audit log.
    pub fn by(&self) -> By {
        let token = self.token.as_ref();
        By {
            user_id: Some(self.user_id),
            token_id: token.map(|token| token.id),
            token: token.map_or_else(|| "local".to_owned(), |token| token.name.clone()),
            address: self.address.map(|address| address.to_string()).unwrap_or_default(),
        }
    }
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        // Only what `scopes` opens to everybody comes here without one, and that asks for none.
        let caller = request.extensions().get().cloned();
        caller.ok_or_else(|| poem::Error::from_status(StatusCode::UNAUTHORIZED))
    }
}
