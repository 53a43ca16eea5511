//! Jobs on Linux: one thread, one `poll`, and a process tree that is empty when the job has ended.

/// Jobs with a user, limits or a sandbox.
mod confine;
/// Everything that the job started, wherever it went.
mod descendants;
/// The job's own process: start, signals, reaping.
mod leader;
/// What the job writes.
mod pipes;
/// Programs: what is one, and why one did not start.
mod program;
/// From the start to the end of one job.
mod watch;

pub use confine::{abilities, check_options, launch};
pub use descendants::end_descendants;
pub use leader::{clear, close};
pub use program::{PATH, check_directory, explain, is_bare, is_program, is_shortage, spellings};
pub use watch::run;
