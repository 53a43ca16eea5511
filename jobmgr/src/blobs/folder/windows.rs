//! Rights as the folder above has them.

use std::io;
use std::path::Path;

/// Makes the folder, where it is not there yet.
pub(in crate::blobs) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}
