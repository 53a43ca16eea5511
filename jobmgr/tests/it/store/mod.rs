//! The queue, on every database.

mod model;
mod rules;
mod servers;
mod sqlite;
mod tls;
