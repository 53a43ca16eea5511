//! What becomes of jobs, as it happens: as Server-Sent Events and over a WebSocket.

use std::sync::Arc;

use poem::web::websocket::WebSocket;
use poem_openapi::{ApiResponse, OpenApi};
use tokio_util::sync::CancellationToken;

use super::super::Api;
use super::super::caller::Caller;
use super::super::docs::Tag;
use super::super::server::Place;
use super::failed::{Causes, Failed};
use super::parameter::{Header, Optional};
use super::problem::{Code, FieldError, Problem};
use crate::domain::job::Status;

/// What is said of a job, and how it is written.
pub mod message;
/// Where in the events of all jobs a client is.
mod place;
/// That a client may still read.
pub mod right;
/// Answers that go on.
pub mod sse;
/// The events that a client is told.
mod subscriber;
/// The same over a WebSocket.
mod ws;

pub use place::Place as EventPlace;
use right::Right;
use sse::Sse;
use subscriber::{Filter, Subscriber};
use ws::Upgraded;

/// `GET /v1/events` and `GET /v1/events/ws`
pub struct Events {
    /// What they answer from.
    pub api: Arc<Api>,
    /// Cancelled when no more is answered.
    pub closing: CancellationToken,
}

/// What may go wrong.
struct OfEvents;

impl Causes for OfEvents {
    const CODES: &'static [Code] = &[Code::InvalidParameters, Code::Unavailable];
}

#[OpenApi]
impl Events {
    /// Follow all jobs
    ///
    /// What becomes of the jobs that the caller may see, as Server-Sent Events:
    ///
    /// * `status`: a job came to a status; the data has `jobID`, `name`, `userID`, `status`, `attempt`, `reason`, `at`.
    /// * `progress`: a running job says how far it is: `jobID`, `name`, `userID`, `attempt`, `percent`, `message`. Of
    ///   several within a second the last one is told.
    /// * `artifact`: a job that ended left this file; the data is an Artifact. Of a job that left more than
    ///   100 none is told: `GET /v1/jobs/{id}/artifacts` has them.
    /// * `end`: nothing more comes of this job; the data is that of its last `status`.
    /// * `lost`: the client was away for longer than events are kept (`[Retention] Events`); what follows is what there
    ///   still is.
    ///
    /// Events of a job come in their order. Who sends the `id` of the last event as `Last-Event-ID`, as browsers do by
    /// themselves, misses none and gets none twice, from any server of the same database. Without it the stream begins
    /// now.
    #[oai(path = "/v1/events", method = "get", operation_id = "followJobs", tag = "Tag::Events")]
    async fn events(
        &self,
        /// Only jobs of the jobspec with this name.
        name: Optional<String>,
        /// Only jobs that come to this status; of running ones also their progress.
        status: Optional<Status>,
        /// The `id` of the last event that the client has.
        #[oai(name = "Last-Event-ID")]
        last: Header<EventPlace>,
        caller: Caller,
    ) -> Result<Answer, Failed<OfEvents>> {
        let right = Right::of(&self.api.gate, caller.clone());
        let subscriber = self.subscriber(name, status, |errors| last.or_note(errors), caller).await?;
        Ok(Answer::Events(sse::send(subscriber, right)))
    }

    /// Follow all jobs over a WebSocket
    ///
    /// The same events as `/v1/events` gives, each a text message `{"id":"...","event":"status","data":{...}}`; `id` is
    /// missing where there is nothing to go on from. What the client sends is ignored.
    #[oai(path = "/v1/events/ws", method = "get", operation_id = "followJobsBySocket", tag = "Tag::Events")]
    async fn socket(
        &self,
        /// The `id` of the last event that the client has.
        after: Optional<EventPlace>,
        /// Only jobs of the jobspec with this name.
        name: Optional<String>,
        /// Only jobs that come to this status; of running ones also their progress.
        status: Optional<Status>,
        socket: poem::Result<WebSocket>,
        place: Place,
        caller: Caller,
    ) -> Result<Upgraded, Failed<OfEvents>> {
        let (mut errors, mut upgrade) = (Vec::new(), None);
        match socket {
            Ok(socket) => upgrade = Some(socket),
            Err(_) => errors.push(FieldError { field: "Upgrade".into(), message: "call this as a WebSocket".into() }),
        }
        let after = after.or_note(&mut errors);
        let noted = |all: &mut Vec<FieldError>| {
            all.append(&mut errors);
            after
        };
        let right = Right::of(&self.api.gate, caller.clone());
        let subscriber = self.subscriber(name, status, noted, caller).await?;
        match upgrade {
            Some(socket) => Ok(ws::begin(socket, subscriber, right, place)),
            None => Err(Problem::invalid(Vec::new()).into()),
        }
    }
}

impl Events {
    async fn subscriber(
        &self,
        name: Optional<String>,
        status: Optional<Status>,
        after: impl FnOnce(&mut Vec<FieldError>) -> Option<EventPlace>,
        caller: Caller,
    ) -> Result<Subscriber, Problem> {
        let mut errors = Vec::new();
        let after = after(&mut errors);
        let filter = Filter { caller, name: name.or_note(&mut errors), status: status.or_note(&mut errors) };
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let subscriber = Subscriber::new(&self.api.store, filter, after, self.closing.clone()).await;
        subscriber.map_err(|error| Problem::failed(&error))
    }
}

#[derive(ApiResponse)]
enum Answer {
    /// The events, until the client or the server goes away. A comment every 15 s shows that the connection is alive.
    #[oai(status = 200)]
    Events(Sse),
}
