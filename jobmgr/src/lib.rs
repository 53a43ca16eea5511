//! jobmgr takes jobs over HTTP, queues them, runs them where the hardware is and keeps what they make.
//!
//! The rooms, from the inside out; each may use those above it:

/// What jobmgr is about: jobs, jobspecs, durations. No IO, no async.
pub mod domain;
/// `config.toml` and the environment: one struct per section.
pub mod config;
/// The folder of jobspecs.
pub mod jobspecs;
/// The queue and everything that is remembered; the only room that names sqlx.
pub mod store;
/// Artifacts and large logs; the only room that names object_store.
pub mod blobs;
/// The child process that runs jobs, and the worker's end of the line to it.
pub mod runner;
/// Claim, run, collect, finish.
pub mod worker;
/// The HTTP API; the only room that names poem.
pub mod http;
/// The command line: one file per subcommand.
pub mod cli;
