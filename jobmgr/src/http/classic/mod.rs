//! The original's endpoints, frozen: a client that was written against it must notice no difference.

/// What the answers have in common: the JSON payload and the error object.
mod answer;
/// A file that a job left: 307 to where its bytes are.
mod download;
/// The fields of a form, wherever a client puts them.
mod form;
/// How a job is doing, and what it made.
mod get;
/// JSON with the bytes that the original's encoder gives.
mod json;
/// The JSON object of a job's values.
mod parameters;
/// A job's output as text.
mod result;
/// A new job.
mod start;

pub use answer::{Compact, ErrorAnswer, ErrorCode, RETRY_AFTER_SECONDS};
pub use download::Download;
pub use get::Get;
pub use start::Start;
