//! Everything against the real thing: real stores, real servers, real processes. One module per room.

mod blobs;
mod support;
