//! The queue, on every database.

mod rules;
mod servers;
mod sqlite;
