//! Windows: job objects end what a worker or runner leaves, so there is nothing to look for.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Makes a directory; its rights are those of the folder for temporary files, which is the user's own.
pub(super) fn private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)
}

/// Makes a directory; its rights are those of the folder that it is in.
pub(super) fn readable_dir(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)
}

/// Nothing to do: a file has the rights of its folder.
pub(super) fn readable_file(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Nothing to do: a file has the rights of its folder.
pub(super) fn private_file(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    options
}

/// Whether a directory is still as [`private_dir`] made it: to know of access lists and further streams costs more
/// than a new one.
pub(super) fn is_private(_path: &Path, _found: &std::fs::Metadata) -> bool {
    false
}

/// Time since this process started; Windows counts time asleep in it.
pub(super) fn since_boot() -> Duration {
    START.elapsed()
}

/// Nothing to do: a runner's job object ends all that it started.
pub fn adopt_orphans() {}

/// Nothing to do.
pub(super) fn end_orphans() -> usize {
    0
}

/// Nothing to do.
pub(super) fn kill_strays_of(_root: &Path) {}
