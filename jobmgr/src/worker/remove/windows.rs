use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A process that has just been ended may hold its files for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let mut last = remove(dir);
    if last.is_err() {
        clear_read_only(dir);
    }
    for _ in 0..TRIES {
        if last.is_ok() {
            break;
        }
        thread::sleep(PAUSE);
        last = remove(dir);
    }
    last.map_err(|e| io::Error::new(e.kind(), format!("{} stays: {e}", dir.display())))
}

/// Links and junctions are removed, not entered: the standard library sees to it. One in the place of `dir` too.
fn remove(dir: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(dir) {
        Ok(metadata) if metadata.is_symlink() => fs::remove_dir(dir).or_else(|_| fs::remove_file(dir)),
        Ok(metadata) if !metadata.is_dir() => fs::remove_file(dir),
        Ok(_) => fs::remove_dir_all(dir),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What is read-only can't be removed. Failures show when it is tried.
fn clear_read_only(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_symlink() {
        return;
    }
    let mut permissions = metadata.permissions();
    if permissions.readonly() {
        // Of Windows: there this clears an attribute, and gives nobody a right.
        #[allow(clippy::permissions_set_readonly_false)]
        permissions.set_readonly(false);
        let _ = fs::set_permissions(path, permissions);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            clear_read_only(&entry.path());
        }
    }
}
