use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{BlobError, Object};

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
        remove_empty_above(&folder, &root);
        Ok(count)
    };
    blocking(delete).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, BlobError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| BlobError::Unavailable(e.to_string()))?;
    done.map_err(|e| BlobError::Unavailable(e.to_string()))
}

/// So many folders of a key are those of an installation (`jobs/INSTALLATION`). Others are being made in them all the time,
/// which fails where one is removed in mid making: they stay, though they are empty.
const SHARED: usize = 2;

/// Removes the folders above these objects that are empty now.
pub(super) async fn tidy(root: PathBuf, keys: Vec<String>) -> Result<(), BlobError> {
    blocking(move || {
        keys.iter().for_each(|key| remove_empty_above(&file(&root, key), &root));
        Ok(())
    })
    .await
}

fn remove_empty_above(path: &Path, root: &Path) {
    let is_own = |above: &Path| above.strip_prefix(root).is_ok_and(|below| below.components().count() > SHARED);
    for above in path.ancestors().skip(1).take_while(|above| is_own(above)) {
        if fs::remove_dir(above).is_err() {
            break;
        }
    }
}

/// Whether a file is an upload that was never finished: object_store writes to `NAME#NUMBER`, and keys have no `#`.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The `#n` files below `prefix`, with their paths below `root` as keys.
pub(super) async fn unfinished(root: PathBuf, prefix: String) -> Result<Vec<Object>, BlobError> {
    blocking(move || {
        let mut found = Vec::new();
        let mut folders = vec![prefix];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(file(&root, &folder)) {
                // Another process removes what is empty.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = format!("{folder}/{name}");
                if entry.file_type()?.is_dir() {
                    folders.push(key);
                } else if is_unfinished(&name) {
                    found.extend(looks(key, &entry));
                }
            }
        }
        Ok(found)
    })
    .await
}

/// `None` where it has been finished meanwhile.
fn looks(key: String, entry: &fs::DirEntry) -> Option<Object> {
    let metadata = entry.metadata().ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Object { key, size: metadata.len(), modified_ms: i64::try_from(modified.as_millis()).ok()? })
}

/// Removes one of them.
pub(super) async fn delete_unfinished(root: PathBuf, key: String) -> Result<(), BlobError> {
    blocking(move || {
        let path = file(&root, &key);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        remove_empty_above(&path, &root);
        Ok(())
    })
    .await
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
