//! The API beside the original's endpoints: JSON in camelCase, errors as problems (RFC 9457), a file per operation.

/// The files that jobs left.
mod artifacts;
/// What becomes of jobs, as it happens.
mod events;
/// What can run jobs.
mod executors;
/// The problems that an operation may have.
mod failed;
/// Files that are uploaded before the jobs that use them.
mod inputs;
/// Files on their way into the store.
mod intake;
/// A job as it is shown.
mod job;
/// Jobs: submitting, looking, ending.
mod jobs;
/// What may be submitted.
mod jobspecs;
/// Bodies that are JSON.
mod json;
/// Who asks.
mod me;
/// Bodies that are forms with files.
mod multipart;
/// What is in a path or a query, and what is wrong with it.
mod parameter;
/// Why a request was not served.
mod problem;
/// How much there is to do.
mod stats;
/// What a client submits.
mod submission;
/// A time as answers have it.
mod timestamp;
/// Who may call.
mod tokens;
/// What may be in a query.
mod values;
/// Who is told of what becomes of jobs.
mod webhooks;
/// Who serves this database.
mod workers;
/// All artifacts of a job in one file.
mod zip;

use crate::domain::time;

pub use artifacts::Artifacts;
pub use events::Events;
pub use executors::Executors;
pub use inputs::Inputs;
pub use jobs::{Attempts, Batch, Cancel, Collection, JobEvents, Jobs, Logs, Run, Upload};
pub use jobspecs::Jobspecs;
pub use me::Me;
pub use problem::{Code, Problem, ProblemJson};
pub use stats::Stats;
pub use tokens::Tokens;
pub use webhooks::{Deliveries, Webhook, Webhooks};
pub use workers::Workers;
pub use zip::Zip;
