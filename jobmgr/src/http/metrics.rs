//! Numbers for monitoring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::HeaderValue;
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, OpenApi};
use tokio::sync::Mutex;

use super::Api;
use super::docs::Tag;
use crate::metrics::{self, Backlog};
use crate::store::{StoreError, Worker};

/// How long what was read of the database counts at least.
const FRESH: Duration = Duration::from_secs(2);
/// How much longer than the reading of it: scraping takes this part of the database's time at most.
const SHARE: u32 = 20;
/// How long the database may take: scrapes are given up after 10 s mostly.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where they are.
pub const PATH: &str = "/metrics";

/// That the database is away, and no more.
pub fn away() -> Response {
    Exposition(metrics::away()).into_response()
}

/// `GET /metrics`
pub struct Metrics {
    api: Arc<Api>,
    /// Of the last reading; one reads at a time, and the others wait for that.
    known: Mutex<Option<Known>>,
}

struct Known {
    /// `None`: the database was away.
    backlog: Option<Backlog>,
    until: Instant,
}

#[OpenApi]
impl Metrics {
    /// Get numbers for monitoring
    ///
    /// For Prometheus and what reads its text format: the queue, how long jobs wait and run, requests, errors. Most of
    /// them count what this process did since its start; those of the queue are the database's, at most a few seconds
    /// old. While the database is away they are missing, and `jobmgr_database_up` is 0.
    #[oai(path = "/metrics", method = "get", operation_id = "getMetrics", tag = "Tag::Server")]
    async fn metrics(&self) -> MetricsAnswer {
        let mut known = self.known.lock().await;
        let fresh = known.take().filter(|known| Instant::now() < known.until);
        let fresh = match fresh {
            Some(fresh) => fresh,
            None => self.read().await,
        };
        let text = metrics::text(fresh.backlog.as_ref());
        *known = Some(fresh);
        MetricsAnswer::Metrics(Exposition(text))
    }
}

impl Metrics {
    /// Of this API.
    pub fn new(api: Arc<Api>) -> Self {
        Self { api, known: Mutex::default() }
    }

    async fn read(&self) -> Known {
        let begun = Instant::now();
        let read = tokio::time::timeout(PATIENCE, self.backlog()).await;
        let backlog = match read {
            Ok(Ok(backlog)) => Some(backlog),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database is away from the metrics");
                None
            }
            Err(_) => None,
        };
        let fresh = FRESH.max(begun.elapsed() * SHARE);
        Known { backlog, until: Instant::now() + fresh }
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let store = &self.api.store;
        let backlog = store.backlog().await?;
        let workers = store.workers().await?;
        let known = self.api.abouts.all().await;
        // A name that no jobspec has may be anything.
        let named = |name: String| if known.contains_key(&name) { name } else { metrics::OTHERS.to_owned() };
        let jobs = backlog.jobs.into_iter().map(|(status, name, count)| (status.as_str(), named(name), count));
        let states = ["active", "draining", "api", "silent"];
        let count = |state: &str| workers.iter().filter(|worker| state_of(worker) == state).count() as u64;
        Ok(Backlog {
            jobs: jobs.collect(),
            oldest_queued_seconds: backlog.oldest_queued_ms.unwrap_or_default() as f64 / 1000.0,
            workers: states.map(|state| (state, count(state))).into(),
        })
    }
}

fn state_of(worker: &Worker) -> &'static str {
    match (worker.alive, worker.presence.slots, worker.presence.state.as_str()) {
        (false, ..) => "silent",
        (true, 0, _) => "api",
        (true, _, "active") => "active",
        (true, ..) => "draining",
    }
}

#[derive(ApiResponse)]
enum MetricsAnswer {
    /// The numbers.
    #[oai(status = 200)]
    Metrics(Exposition),
}

/// Text in the format of Prometheus. The document calls it plain text, as which every client can read it.
struct Exposition(String);

impl Payload for Exposition {
    const CONTENT_TYPE: &'static str = "text/plain";

    fn schema_ref() -> MetaSchemaRef {
        String::schema_ref()
    }

    fn register(registry: &mut Registry) {
        String::register(registry);
    }
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let mut response = Response::from(self.0);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        response
    }
}
