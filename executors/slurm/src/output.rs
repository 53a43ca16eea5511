use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use jobmgr_plugin_api::{Error, Result};

/// How much output is read at once.
const PIECE: usize = 64 << 10;

/// Passes on what a file has after `from`, as far as it goes now.
pub fn pass_on(path: &Path, from: u64, to: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
    let length = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => return Err(Error::failed(format!("{} is no file any more", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if length <= from {
        return Ok(());
    }
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    // A job that writes without a pause must not keep its other stream from being read.
    let (mut left, mut piece) = (length - from, vec![0; PIECE]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let count = file.read(&mut piece[..most])?;
        if count == 0 {
            break;
        }
        to(&piece[..count])?;
        left -= count as u64;
    }
    Ok(())
}
