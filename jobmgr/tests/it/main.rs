//! The whole of jobmgr against the real thing; mirrors `src`.

mod blobs;
mod http;
mod papers;
mod store;
mod support;
