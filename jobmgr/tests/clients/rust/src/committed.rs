//! With the document of the program.

include!(concat!(env!("OUT_DIR"), "/committed.rs"));

/// What any caller does.
#[path = "walk.rs"]
pub mod walk;
