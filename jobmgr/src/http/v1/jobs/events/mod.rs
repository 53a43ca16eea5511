//! What becomes of one job, as it happens.

use std::sync::Arc;

use poem_openapi::{ApiResponse, OpenApi};
use tokio_util::sync::CancellationToken;

use super::super::super::Api;
use super::super::super::caller::Caller;
use super::super::super::docs::Tag;
use super::super::events::right::Right;
use super::super::events::sse::{self, Sse};
use super::super::failed::{Causes, Failed};
use super::super::parameter::{Header, Path};
use super::super::problem::{Code, Problem};

/// What a job writes, as text in pieces.
mod output;
/// Where in what there is to say of a job a client is.
mod place;
/// What there is to say of a job, in its order.
mod watcher;

use place::Place;
use watcher::Watcher;

/// `GET /v1/jobs/{id}/events`
pub struct JobEvents {
    /// What it answers from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

/// What may go wrong.
struct OfJobEvents;

impl Causes for OfJobEvents {
    const CODES: &'static [Code] = &[Code::NotFound, Code::InvalidParameters, Code::Unavailable];
}

#[OpenApi]
impl JobEvents {
    /// Follow a job
    ///
    /// What becomes of a job from its submission to its end, as Server-Sent Events:
    ///
    /// * `status`: it came to a status; the data has `jobID`, `name`, `userID`, `status`, `attempt`, `reason`, `at`.
    /// * `log`: it wrote something: `stream` (`stdout` or `stderr`), `offset` (the number of the first byte in that
    ///   stream of the attempt), `text`. Bytes that are no UTF-8 are shown as U+FFFD. An offset that is higher than what
    ///   came before stands for bytes that are not kept.
    /// * `progress`: how far it is: `jobID`, `name`, `userID`, `attempt`, `percent`, `message`; of several within a
    ///   moment the last one.
    /// * `artifact`: it has ended and left this file; the data is an Artifact.
    /// * `end`: nothing more comes; the data is that of the last `status`. The stream ends here.
    ///
    /// Who sends the `id` of the last event as `Last-Event-ID`, as browsers do by themselves, goes on from there without
    /// a gap and without a repeat, from any server of the same database.
    #[oai(path = "/v1/jobs/:id/events", method = "get", operation_id = "followJob", tag = "Tag::Events")]
    async fn events(
        &self,
        /// The job's id.
        id: Path,
        /// The `id` of the last event that the client has.
        #[oai(name = "Last-Event-ID")]
        last: Header<Place>,
        caller: Caller,
    ) -> Result<Answer, Failed<OfJobEvents>> {
        let mut errors = Vec::new();
        let place = last.or_note(&mut errors).unwrap_or_default();
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let job = self.api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
        caller.seen(job).ok_or_else(|| Problem::no_job(Some(id)))?;
        if place.is_end() {
            return Ok(Answer::Over(sse::none()));
        }
        let right = Right::of(&self.api.gate, caller);
        Ok(Answer::Events(sse::send(Watcher::new(&self.api, id, place, self.closing.clone()), right)))
    }
}

#[derive(ApiResponse)]
enum Answer {
    /// The events. A comment every 15 s shows that the connection is alive.
    #[oai(status = 200)]
    Events(Sse),
    /// The client has had the `end` of the job, so nothing comes; a browser does not ask again.
    #[oai(status = 204)]
    Over(Sse),
}
