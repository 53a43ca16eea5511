//! Who may do what: tokens, scopes, limits. No IO, no async.
//!
//! The store keeps tokens, `http` asks for them and decides; what is decided by is here.

/// How often something may be done.
mod bucket;
/// What goes into the audit log.
mod entry;
/// What a token may do.
mod scopes;
/// The text that a client shows.
mod secret;
/// What is known of a token.
mod token;

pub use bucket::{Bucket, Rate};
pub use entry::{By, Entry};
pub use scopes::{Scope, Scopes};
pub use secret::{Digest, PREFIX, Secret};
pub use token::{LONGEST_NAME, NewToken, Token, check_name};
