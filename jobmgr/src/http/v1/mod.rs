//! The API beside the original's endpoints: JSON in camelCase, errors as problems (RFC 9457), a file per operation.

/// The files that jobs left.
mod artifacts;
/// What becomes of jobs, as it happens.
mod events;
/// The problems that an operation may have.
mod failed;
/// A job as it is shown.
mod job;
/// Jobs: submitting, looking, ending.
mod jobs;
/// What may be submitted.
mod jobspecs;
/// Bodies that are JSON.
mod json;
/// What is in a path or a query, and what is wrong with it.
mod parameter;
/// Why a request was not served.
mod problem;
/// How much there is to do.
mod stats;
/// What a client submits.
mod submission;
/// Times as text.
mod time;
/// A time as answers have it.
mod timestamp;
/// What may be in a query.
mod values;
/// Who serves this database.
mod workers;
/// All artifacts of a job in one file.
mod zip;

pub use artifacts::Artifacts;
pub use events::Events;
pub use jobs::{Attempts, Batch, Cancel, Collection, JobEvents, Jobs, Logs, Run};
pub use jobspecs::Jobspecs;
pub use stats::Stats;
pub use workers::Workers;
pub use zip::Zip;
