//! What jobmgr is about, without IO: nothing here reads a file, a clock or a socket.

/// How a download is named: the `Content-Disposition`.
pub mod disposition;
/// Go duration strings (`1m30s`).
pub mod duration;
/// What is to be known of an executor.
pub mod executor;
/// Addresses for the input files of jobs that run elsewhere.
pub mod fetch;
/// Output of which the middle is left out.
pub mod gap;
/// GPUs.
pub mod gpu;
/// Files that clients upload for jobs.
pub mod input;
/// Jobs, their states and how they end.
pub mod job;
/// Jobspecs: what a TOML file says about how a job runs.
pub mod jobspec;
/// Where the objects of a job are in the store.
pub mod keys;
/// Labels: what workers are and have, and what jobs require.
pub mod labels;
/// Parameter values, and the environment that they become.
pub mod parameters;
/// TOML text to a typed value, with the place and the remedy of every mistake.
pub mod settings;
/// Jobs to be queued.
pub mod submission;
/// Times as text: RFC 3339, UTC, milliseconds.
pub mod time;
/// Which trace something belongs to.
pub mod trace;
/// Addresses at which a job's files are taken from elsewhere.
pub mod upload;
/// Whom to tell of what becomes of jobs, and what was told.
pub mod webhook;
