use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Moves files and folders. Links and whatever else is no file stays: it could lead anywhere.
pub fn bring(from: &Path, to: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(from) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            bring(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() && fs::rename(from, to).is_err() {
        // Another disk. What is half copied is copied again.
        fs::copy(from, to)?;
        fs::remove_file(from)?;
    }
    Ok(())
}
