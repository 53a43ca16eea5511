//! What tests start, ask and wait for.

/// A small blocking HTTP client.
pub mod client;
/// What runs on this machine.
#[cfg(target_os = "linux")]
pub mod processes;
/// A real jobmgr process.
pub mod server;
