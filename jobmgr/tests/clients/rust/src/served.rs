//! With the document of a server with the sample jobspecs.

include!(concat!(env!("OUT_DIR"), "/served.rs"));

/// What any caller does.
#[path = "walk.rs"]
pub mod walk;

/// What the jobspecs' own operations do.
#[path = "typed.rs"]
pub mod typed;
