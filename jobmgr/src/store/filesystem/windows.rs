//! By the form of the path: `\\server\share`. Rights are those of the folder.

use std::io;
use std::path::{Component, Path, Prefix};

pub(super) fn network_kind(folder: &Path) -> Option<&'static str> {
    let full = std::path::absolute(folder).ok()?;
    match full.components().next() {
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)) => {
            Some("a share")
        }
        _ => None,
    }
}

/// Leaves the file to SQLite: rights come from the folder.
pub(super) fn make_private(_file: &Path) -> io::Result<()> {
    Ok(())
}
