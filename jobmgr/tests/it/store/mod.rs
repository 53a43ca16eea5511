//! The queue, on every database.

pub mod rules;
mod servers;
mod sqlite;
