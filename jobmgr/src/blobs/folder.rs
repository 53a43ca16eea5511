use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::BlobError;

#[cfg_attr(unix, path = "folder/unix.rs")]
#[cfg_attr(windows, path = "folder/windows.rs")]
mod platform;

pub(super) use platform::make_private;

/// How much is read at once: large enough that the hand-over to a thread costs nothing beside it.
const CHUNK: usize = 256 << 10;

/// The file of a key.
pub(super) fn file(root: &Path, key: &str) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(key.split('/'));
    path
}

/// A part of an open file.
pub(super) fn stream(mut file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes, BlobError>> {
    let reader = async move {
        file.seek(SeekFrom::Start(range.start))?;
        let file = tokio::fs::File::from_std(file).take(range.end - range.start);
        Ok::<_, io::Error>(ReaderStream::with_capacity(file, CHUNK))
    };
    stream::once(reader).try_flatten().map_err(|e| BlobError::Unavailable(e.to_string())).boxed()
}

/// Removes the folder of `prefix` with everything in it, the `#n` files of broken uploads too, and the folders above
/// it that are empty then. Counts the objects.
pub(super) async fn delete_prefix(root: PathBuf, prefix: String) -> Result<u64, BlobError> {
    let delete = move || {
        let folder = file(&root, &prefix);
        let count = remove(&folder)?;
        for above in folder.ancestors().skip(1).take_while(|above| **above != root) {
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(count)
    };
    let done = tokio::task::spawn_blocking(delete).await.map_err(|e| BlobError::Unavailable(e.to_string()))?;
    done.map_err(|e: io::Error| BlobError::Unavailable(e.to_string()))
}

fn remove(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(0),
        other => other?,
    };
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += remove(&entry.path())?;
            continue;
        }
        fs::remove_file(entry.path())?;
        count += u64::from(!entry.file_name().to_string_lossy().contains('#'));
    }
    fs::remove_dir(folder)?;
    Ok(count)
}
