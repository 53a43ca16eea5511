//! The HTTP API over real sockets, a real database and a real folder of objects.

mod artifacts;
mod client;
mod events;
mod jobs;
mod limits;
mod server;
mod submissions;
mod v1;
