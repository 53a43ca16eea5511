//! The HTTP API over real sockets, a real database and a real folder of objects.

mod artifacts;
mod auth;
mod client;
mod headers;
mod inputs;
mod events;
mod jobs;
mod limits;
mod server;
mod submissions;
mod tls;
mod v1;
