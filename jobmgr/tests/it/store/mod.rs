//! The queue's rules, as plain functions that every database has to pass.

mod rules;
mod sqlite;
