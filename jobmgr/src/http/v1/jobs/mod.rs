//! Jobs: submitting, looking, ending.

/// What became of each run of a job.
mod attempts;
/// Many submissions at once.
mod batch;
/// The end of a job, on request.
mod cancel;
/// All jobs: a new one, and pages of them.
mod collection;
/// What becomes of a job, as it happens.
mod events;
/// What a job wrote.
mod logs;
/// Looking at jobs, running one again, removing one.
mod look;
/// What submissions come in.
mod request;
/// A job by the name of its jobspec.
mod run;
/// A new job.
mod submit;
/// A new job with its files, in one request.
mod upload;
/// Until a job has ended.
mod wait;

pub use attempts::Attempts;
pub use batch::Batch;
pub use cancel::Cancel;
pub use collection::Collection;
pub use events::JobEvents;
pub use logs::Logs;
pub use look::{Jobs, must_see};
pub use request::{JsonBody, digest_of};
pub use run::Run;
pub use upload::Upload;
