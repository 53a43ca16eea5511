//! Where and with which rights a database file lies. SQLite's locks don't hold on a network's file system.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod platform;

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::StoreError;

/// Makes the file before SQLite does: it holds the key that signs addresses, so others must not read it.
pub(super) fn make_private(file: &Path) -> Result<(), StoreError> {
    let wrong = |error| StoreError::Unusable(format!("[Database] URL: {} can't be made: {error}", file.display()));
    platform::make_private(file).map_err(wrong)
}

/// Whether a file that is not there can be made; makes another one beside it, and removes that.
pub(super) fn can_make(file: &Path) -> Result<(), StoreError> {
    let mut probe = file.as_os_str().to_owned();
    probe.push(format!("-probe-{}", std::process::id()));
    let made = std::fs::File::options().write(true).create_new(true).open(&probe);
    let removed = made.and_then(|_| std::fs::remove_file(&probe));
    removed.map_err(|error| StoreError::Unusable(format!("[Database] URL: {} can't be made: {error}", file.display())))
}

/// Makes an empty file for its owner alone, which must not be there yet.
pub(super) fn create_private(file: &Path) -> io::Result<()> {
    platform::create_private(file)
}

/// Gives a finished file its name, in place of another file; on disk when this returns. Gives its size in bytes.
pub(super) fn rename_durably(from: &Path, to: &Path) -> io::Result<u64> {
    let file = File::options().read(true).write(true).open(from)?;
    file.sync_all()?;
    let size = file.metadata()?.len();
    drop(file);
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), platform::sync_folder)?;
    Ok(size)
}

/// Refuses a file on a network file system, and a folder that is not there.
pub(super) fn check(file: &Path) -> Result<(), StoreError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(StoreError::Unusable(format!(
            "[Database] URL: the folder {} of the SQLite file does not exist; make it, or name another",
            folder.display()
        )));
    }
    match platform::network_kind(folder) {
        None => Ok(()),
        Some(kind) => Err(StoreError::Unusable(format!(
            "[Database] URL: {} is on a network file system ({kind}), where SQLite's locks do not hold; name a file on a \
             local disk",
            file.display()
        ))),
    }
}
