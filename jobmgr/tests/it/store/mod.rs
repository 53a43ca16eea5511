//! The queue, on every database.

mod model;
pub mod rules;
mod servers;
mod sqlite;
mod tls;
