//! The greeting, and whether the server is alive and ready.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::payload::PlainText;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::docs::Tag;
use crate::store;

/// How long database and store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `GET /`, `GET /healthz` and `GET /readyz`.
pub struct Home {
    /// Of what it tells whether it is ready.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Home {
    /// Greet
    ///
    /// Says what answers here and where its documentation is.
    #[oai(path = "/", method = "get", operation_id = "greet", tag = "Tag::Server")]
    async fn greet(&self) -> Greeting {
        Greeting::Text(PlainText(concat!(
            "This is jobmgr ",
            env!("CARGO_PKG_VERSION"),
            ": it takes jobs, queues them and runs them.\nTry the API at /docs; its description is /openapi.json.\n",
        )))
    }

    /// Check that the server is alive
    ///
    /// Answers as soon as the process serves; it does not ask the database or the store.
    #[oai(path = "/healthz", method = "get", operation_id = "getHealth", tag = "Tag::Server")]
    async fn health(&self) -> Health {
        Health::Ok(PlainText("ok\n"))
    }

    /// Check that jobs can be run
    ///
    /// Asks the database and the store, and whether a worker is alive that takes jobs.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness", tag = "Tag::Server")]
    async fn readiness(&self) -> Readiness {
        let (database, store) = tokio::join!(self.workers(), self.store());
        let wrong: Vec<String> = [database, store].into_iter().filter_map(Result::err).collect();
        match wrong.is_empty() {
            true => Readiness::Ready(PlainText("ok\n".into())),
            false => Readiness::NotReady(PlainText(wrong.join("\n") + "\n")),
        }
    }
}

impl Home {
    async fn workers(&self) -> Result<(), String> {
        let workers = tokio::time::timeout(PATIENCE, self.api.store.workers()).await;
        let workers = workers.map_err(|_| "the database does not answer".to_owned())?;
        let workers = workers.map_err(|error| format!("the database is not available: {error}"))?;
        let takes_jobs =
            |worker: &store::Worker| worker.alive && worker.presence.slots > 0 && worker.presence.state == "active";
        let any = workers.iter().any(takes_jobs);
        any.then_some(()).ok_or_else(|| "no worker is alive that takes jobs".to_owned())
    }

    async fn store(&self) -> Result<(), String> {
        // The smallest thing there is to read.
        let read = tokio::time::timeout(PATIENCE, self.api.blobs.identity()).await;
        read.map_err(|_| "the store does not answer".to_owned())?.map(drop).map_err(|error| error.to_string())
    }
}

#[derive(ApiResponse)]
enum Greeting {
    /// A few words for people.
    #[oai(status = 200)]
    Text(PlainText<&'static str>),
}

#[derive(ApiResponse)]
enum Health {
    /// The word `ok`.
    #[oai(status = 200)]
    Ok(PlainText<&'static str>),
}

#[derive(ApiResponse)]
enum Readiness {
    /// The word `ok`.
    #[oai(status = 200)]
    Ready(PlainText<String>),
    /// What is missing, a line each.
    #[oai(status = 503)]
    NotReady(PlainText<String>),
}
