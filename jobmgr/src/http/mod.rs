//! The HTTP API; the only room that names poem.
//!
//! A request's way: `server` accepts and reads it, `front` checks who asks and under which name, `routes` finds
//! its resource, and the resource's file answers from the store and the blobs. Nothing here knows the worker: they
//! meet in the store.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::config;
use crate::domain::executor::Executors;
use crate::notify::Targets;
use crate::secrets::Secrets;
use crate::store::Store;

/// What is to be known of jobs before they are run.
mod abouts;
/// Each request in the log and in the numbers.
mod access;
/// What the OpenAPI document says about who may.
mod asked;
/// Who did what.
mod audit;
/// Bodies of requests, read up to a limit.
mod body;
/// Who asks, and what they may.
mod caller;
/// The original's endpoints, frozen: one file per request.
mod classic;
/// What the document says of fields that nobody knows.
mod closed;
/// The bytes of an artifact, under an address that we signed.
mod content;
/// The OpenAPI document and the page that shows it.
mod docs;
/// Input files for jobs that run elsewhere, under addresses that we signed.
mod fetch;
/// What every request passes: request id, `Host`, routing, text for what has no route.
mod front;
/// Who calls, by the token of a request.
mod gate;
/// How little a browser may do with an answer.
mod guard;
/// The greeting and the health check.
mod home;
/// Under which names this server may be called, and from which pages.
mod hosts;
/// Numbers for monitoring.
mod metrics;
/// A job's output as text.
mod output;
/// How slow a client may be.
mod pace;
/// Query strings and urlencoded forms, byte for byte.
mod query;
/// How many jobs of a user may wait.
mod queues;
/// `Range`, `If-Range` and `If-None-Match`.
mod range;
/// The answers to those who may not.
mod refusal;
/// From a path and a method to what answers.
mod routes;
/// Which scope each route needs.
mod scopes;
/// The accept loop, and a connection from its start to its end.
mod server;
/// Addresses that nobody but us can make, and that expire.
mod signature;
/// Encrypted connections.
mod tls;
/// The trace that a submission belongs to.
mod trace;
/// The OpenAPI document with an operation for each jobspec.
mod typed;
/// Files of jobs that run elsewhere, under addresses that we signed.
mod upload;
/// The API beside the original's.
mod v1;

pub use abouts::Abouts;
pub use audit::Audit;
pub use caller::Caller;
pub use docs::{openapi, openapi_with};
pub use gate::Gate;
pub use queues::Queues;
pub use scopes::{Need, ROUTES};

/// What the API answers from; cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The queue.
    pub store: Store,
    /// Artifacts and large logs.
    pub blobs: Blobs,
    /// What is to be known of jobs before they are run.
    pub abouts: Abouts,
    /// What can run jobs here.
    pub executors: Executors,
    /// Seals what nobody may read.
    pub secrets: Secrets,
    /// Where webhooks may lead.
    pub targets: Arc<Targets>,
    /// `[Server]`
    pub config: Arc<config::Server>,
    /// Who calls.
    pub gate: Arc<Gate>,
    /// Who did what.
    pub audit: Audit,
    /// How many jobs of each user wait.
    pub queues: Arc<Queues>,
}

/// Serves the API on `listener` until `shutdown`; then accepts nothing more, finishes the requests in flight (for at
/// most 10 s) and returns when every connection is closed.
///
/// # Errors
/// When the listener's own address or the files of `[Server] TLS` can't be read. What goes wrong with one connection ends only that one.
pub async fn serve(listener: TcpListener, api: Api, shutdown: CancellationToken) -> io::Result<()> {
    let limit = api.config.max_connections;
    let audit = api.audit.clone();
    let tls = api.config.tls.as_ref().map(tls::Tls::open).transpose().map_err(io::Error::other)?.map(Arc::new);
    let front = front::Front::new(Arc::new(api), shutdown.clone());
    if let Some(tls) = tls.clone() {
        let shutdown = shutdown.clone();
        tokio::spawn(async move { shutdown.run_until_cancelled(tls.watch()).await });
    }
    let served = server::run(listener, server::Ways { front: Arc::new(front), tls }, limit, shutdown).await;
    audit.flush().await;
    served
}

/// Whether connections can be encrypted with these files.
///
/// # Errors
/// Which file can't serve, and why.
pub fn check_tls(files: &config::TlsFiles) -> Result<(), String> {
    tls::Tls::open(files).map(drop)
}
