//! The queue, on every database.

// The proxy runs on Linux.
#[cfg(target_os = "linux")]
mod disturbed;
mod model;
pub mod rules;
mod servers;
mod sqlite;
// The servers run on Linux.
#[cfg(target_os = "linux")]
mod tls;
