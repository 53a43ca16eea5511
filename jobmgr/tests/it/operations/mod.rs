//! What those who run a server look at: numbers, the log, what can run jobs, and how it does under too many clients.

/// The log of requests.
mod access;
/// Too many and too slow connections.
mod connections;
/// `/v1/executors`.
mod executors;
/// `gpus` of workers.
mod gpus;
/// `/metrics`.
mod metrics;
/// Spans, where they are recorded.
#[cfg(feature = "otel")]
mod spans;
/// The trace of a submission, to its job.
mod traces;
