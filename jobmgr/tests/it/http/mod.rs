//! The HTTP API over real sockets, a real database and a real folder of objects.

mod artifacts;
mod auth;
mod client;
mod events;
mod headers;
mod inputs;
mod jobs;
mod limits;
mod server;
mod submissions;
mod tls;
mod v1;
