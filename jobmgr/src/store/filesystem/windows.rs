//! By the form of the path: `\\server\share`. Rights are those of the folder.

use std::fs::File;
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

pub(super) fn create_private(file: &Path) -> io::Result<()> {
    File::options().write(true).create_new(true).open(file).map(drop)
}

/// A folder can't be synced here; the file system keeps names in order.
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
