//! The API beside the original's endpoints: JSON in camelCase, errors as problems (RFC 9457), a file per operation.

/// What became of each run of a job.
mod attempts;
/// The end of a job, on request.
mod cancel;
/// What a job wrote.
mod logs;
/// What is in a path or a query, and what is wrong with it.
mod parameter;
/// Why a request was not served.
mod problem;
/// Times as text.
mod time;
/// Who serves this database.
mod workers;

pub use attempts::Attempts;
pub use cancel::Cancel;
pub use logs::Logs;
pub use workers::Workers;
