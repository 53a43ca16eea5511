//! Everything against the real thing: real stores, real servers, real processes. One module per room.

// A lint for the server; a test that unwraps is a test that fails.
#![allow(clippy::unwrap_used)]

mod blobs;
mod cli;
mod collect;
mod http;
mod papers;
mod store;
mod support;

// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod lifecycle;
// Processes of a POSIX shell.
#[cfg(target_os = "linux")]
mod zoo;
// Links, FIFOs and POSIX shells.
#[cfg(target_os = "linux")]
mod output;
