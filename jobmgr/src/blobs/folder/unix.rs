//! Rights by mode bits.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the folder, where it is not there yet, for its owner alone: who may see a job's files is the server's matter.
pub(in crate::blobs) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
