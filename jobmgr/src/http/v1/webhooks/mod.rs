//! Webhooks: who is told of what becomes of jobs.

/// All webhooks, and a new one.
mod collection;
/// What was told, and telling it again.
mod deliveries;
/// What they look like.
mod info;
/// One of them.
mod one;
/// What clients say of them.
mod read;

pub use collection::Webhooks;
pub use deliveries::Deliveries;
pub use one::Webhook;
pub use read::{Own, OwnDraft};
