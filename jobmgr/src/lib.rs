//! jobmgr takes jobs over HTTP, queues them, runs them where the hardware is and keeps what they make.
//!
//! The rooms, from the inside out; each may use those above it:

/// Who may do what: tokens, scopes, limits. No IO, no async.
pub mod auth;
/// Artifacts and large logs; the only room that names object_store.
pub mod blobs;
/// The command line: one file per subcommand.
pub mod cli;
/// `config.toml` and the environment: one struct per section.
pub mod config;
/// Places where tests make a process die.
pub mod crash;
/// What jobmgr is about: jobs, jobspecs, durations. No IO, no async.
pub mod domain;
/// The HTTP API; the only room that names poem.
pub mod http;
/// The folder of jobspecs.
pub mod jobspecs;
/// How long things are kept: old jobs, old artifacts, objects that belong to nothing.
pub mod keep;
/// The machine that this process runs on.
pub mod machine;
/// What is counted and measured; the only room that names prometheus.
pub mod metrics;
/// Messages to those who asked to be told of what becomes of jobs.
pub mod notify;
/// The child process that runs jobs, and the worker's end of the line to it.
pub mod runner;
/// Values that nobody may read: sealed before they are stored.
pub mod secrets;
/// The queue and everything that is remembered; the only room that names sqlx.
pub mod store;
/// Traces of jobs.
pub mod telemetry;
/// Claim, run, collect, finish.
pub mod worker;
/// A job's command on a machine that has no jobmgr but the program.
pub mod wrap;
