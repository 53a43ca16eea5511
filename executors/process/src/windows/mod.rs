//! Jobs on Windows: a Job Object each, which nothing that the job starts can leave.

/// The kernel's job: what belongs to it, and its end.
mod job_object;
/// Programs: what is one, and why one did not start.
mod program;
/// The running job: start, question, end.
mod running;
/// From the start to the end of one job.
mod watch;

pub use program::{PATH, check_directory, explain, is_bare, is_program, is_shortage, spellings};
pub use running::{abilities, check_options, clear, close, end_descendants, launch};
pub use watch::run;
