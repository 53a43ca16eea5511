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
use crate::secrets::Secrets;
use crate::store::Store;

/// What is to be known of jobs before they are run.
mod abouts;
/// Bodies of requests, read up to a limit.
mod body;
/// Who asks, and what they may.
mod caller;
/// The original's endpoints, frozen: one file per request.
mod classic;
/// The bytes of an artifact, under an address that we signed.
mod content;
/// The OpenAPI document and the page that shows it.
mod docs;
/// What every request passes: request id, `Host`, routing, text for what has no route.
mod front;
/// The greeting and the health check.
mod home;
/// Under which names this server may be called, and from which pages.
mod hosts;
/// A job's output as text.
mod output;
/// How slow a client may be.
mod pace;
/// Query strings and urlencoded forms, byte for byte.
mod query;
/// `Range`, `If-Range` and `If-None-Match`.
mod range;
/// From a path and a method to what answers.
mod routes;
/// The accept loop, and a connection from its start to its end.
mod server;
/// Addresses that nobody but us can make, and that expire.
mod signature;
/// The OpenAPI document with an operation for each jobspec.
mod typed;
/// Files of jobs that run elsewhere, under addresses that we signed.
mod upload;
/// The API beside the original's.
mod v1;

pub use abouts::Abouts;
pub use docs::{openapi, openapi_with};

/// What the API answers from; cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The queue.
    pub store: Store,
    /// Artifacts and large logs.
    pub blobs: Blobs,
    /// What is to be known of jobs before they are run.
    pub abouts: Abouts,
    /// Seals what nobody may read.
    pub secrets: Secrets,
    /// `[Server]`
    pub config: Arc<config::Server>,
}

/// Serves the API on `listener` until `shutdown`; then accepts nothing more, finishes the requests in flight (for at
/// most 10 s) and returns when every connection is closed.
///
/// # Errors
/// When the listener's own address can't be read. What goes wrong with one connection ends only that one.
pub async fn serve(listener: TcpListener, api: Api, shutdown: CancellationToken) -> io::Result<()> {
    let limit = api.config.max_connections;
    let front = front::Front::new(Arc::new(api), shutdown.clone());
    server::run(listener, Arc::new(front), limit, shutdown).await
}
