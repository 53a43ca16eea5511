//! Messages to those who asked to be told of what becomes of jobs.

/// When a message is sent again.
mod backoff;
/// What a message says.
mod message;
/// What messages are signed with.
mod secret;
/// One attempt to deliver a message.
mod send;
/// Where messages may go.
mod targets;

pub use secret::Secret;
pub use targets::Targets;
