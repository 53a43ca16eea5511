//! Everything against the real thing: real stores, real servers, real processes. One module per room.

// Lint of the server; a test that unwraps is a test that fails.
#![allow(clippy::unwrap_used)]

mod blobs;
mod collect;
mod support;
