//! The trace that a submission belongs to.

use poem::{FromRequest, Request, RequestBody, Result};

use crate::domain::trace::TraceParent;
use crate::telemetry::{self, Submission};

const TRACE_PARENT: &str = "traceparent";

/// A submission's place in a trace; what its `traceparent` says where that is well-formed and there once.
pub struct Trace(Submission);

impl Trace {
    /// What the job belongs to.
    pub fn parent(&self) -> Option<TraceParent> {
        self.0.parent()
    }
}

impl<'a> FromRequest<'a> for Trace {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let mut given = request.headers().get_all(TRACE_PARENT).iter();
        let parent = match (given.next(), given.next()) {
            (Some(one), None) => one.to_str().ok().and_then(TraceParent::parse),
            _ => None,
        };
        Ok(Self(telemetry::submission(parent)))
    }
}
