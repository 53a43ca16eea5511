//! Who asks, and what they may.

use poem::{FromRequest, Request, RequestBody, Result};

use crate::domain::job::Job;

/// Whom a request comes from; `front` finds it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose jobs the caller submits.
    pub user_id: i64,
    /// Whether the jobs of others are shown too.
    pub sees_all: bool,
}

impl Caller {
    /// Whoever calls from this machine while there are no tokens.
    pub fn local() -> Self {
        Self { user_id: 1, sees_all: true }
    }

    /// Whether what belongs to this user is shown to the caller. What is not must look as if it were not there.
    pub fn sees(&self, user_id: i64) -> bool {
        self.sees_all || self.user_id == user_id
    }

    /// The job, unless it is hidden from the caller.
    pub fn seen(&self, job: Option<Job>) -> Option<Job> {
        job.filter(|job| self.sees(job.user_id))
    }
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(request.extensions().get().cloned().unwrap_or_else(Caller::local))
    }
}
