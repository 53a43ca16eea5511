//! Traces: a submission, its job's wait in the queue, and each attempt, as spans of one trace.
//!
//! Built with the feature `otel`, they are sent to `[Telemetry] OTLP` where that is set. Without it nothing is
//! recorded, but a job still learns which trace its submission belongs to.

/// Nothing is recorded.
#[cfg(not(feature = "otel"))]
mod off;
/// Spans are recorded and sent; the only file that names the crates for it.
#[cfg(feature = "otel")]
mod otlp;

#[cfg(not(feature = "otel"))]
pub use off::{Attempt, Sender, Submission, attempt, start, submission};
#[cfg(feature = "otel")]
pub use otlp::{Attempt, Sender, Submission, attempt, start, submission};
