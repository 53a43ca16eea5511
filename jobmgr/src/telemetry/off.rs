//! Nothing is recorded: what a submission says of its trace is handed on as it is.

use std::time::Duration;

use crate::config::Telemetry;
use crate::domain::job::Claim;
use crate::domain::trace::TraceParent;

/// Sends what is recorded, until it is ended.
pub struct Sender(());

impl Sender {
    /// Sends the rest.
    pub fn end(self) {}
}

/// Begins to record.
///
/// # Errors
/// When spans can't be sent; `Telemetry` was checked before.
pub fn start(_config: &Telemetry) -> Result<Sender, String> {
    Ok(Sender(()))
}

/// A submission, until it is dropped.
pub struct Submission(Option<TraceParent>);

/// A submission began that belongs to this trace, or to one of its own.
pub fn submission(parent: Option<TraceParent>) -> Submission {
    Submission(parent)
}

impl Submission {
    /// What the job belongs to.
    pub fn parent(&self) -> Option<TraceParent> {
        self.0
    }
}

/// An attempt, until it is ended.
pub struct Attempt(Option<TraceParent>);

/// An attempt begins, of a job that waited for so long; `None`: it was taken over, and began elsewhere.
pub fn attempt(claim: &Claim, _waited: Option<Duration>) -> Attempt {
    Attempt(claim.trace_parent.as_deref().and_then(TraceParent::parse))
}

impl Attempt {
    /// What the job's own spans belong to.
    pub fn parent(&self) -> Option<TraceParent> {
        self.0
    }

    /// The attempt ended: how, in a word.
    pub fn end(self, _ending: &'static str) {}
}
