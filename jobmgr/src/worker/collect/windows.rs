use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::listing::Listing;
use super::{CollectError, Refused};

// Of winbase.h and winnt.h.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_ATTRIBUTE_DIRECTORY: u32 = 0x10;
const FILE_ATTRIBUTE_DEVICE: u32 = 0x40;
const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x400;
/// Others may read and write, but neither rename nor remove what is open.
const PINNED: u32 = 0x1 | 0x2;
const ERROR_SHARING_VIOLATION: i32 = 32;

/// Whether there is nothing to collect: the folder is empty or not there. Not so sure: `false`.
pub(super) fn is_empty(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(mut entries) => entries.next().is_none(),
    }
}

/// The folder `artifacts`, held open, so that it stays what it is.
pub(super) struct Root {
    dir: PathBuf,
    _pinned: File,
}

impl Root {
    pub fn open(dir: &Path) -> Result<Root, Refused> {
        Ok(Root { dir: dir.to_owned(), _pinned: pin(dir)? })
    }

    /// Walks the tree. Junctions, mounted volumes and links all are reparse points: none is entered.
    pub fn list(&self, listing: &mut Listing<'_>) -> Result<(), CollectError> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            listing.folder()?;
            let pins = match self.pin_all(&folder) {
                Err(Refused::Skip(reason)) => {
                    listing.skip(&folder, reason);
                    continue;
                }
                Err(Refused::Failed(error)) => return Err(CollectError::Workspace(error)),
                Ok(pins) => pins,
            };
            self.list_folder(&folder, listing, &mut folders)?;
            drop(pins);
        }
        Ok(())
    }

    fn list_folder(
        &self,
        path: &Path,
        listing: &mut Listing<'_>,
        folders: &mut Vec<PathBuf>,
    ) -> Result<(), CollectError> {
        for entry in fs::read_dir(self.dir.join(path)).map_err(CollectError::Workspace)? {
            let entry = entry.map_err(CollectError::Workspace)?;
            let name = path.join(entry.file_name());
            let Ok(metadata) = entry.metadata() else {
                listing.skip(&name, "removed while it was collected");
                continue;
            };
            match plain(&metadata) {
                Ok(size) => listing.file(name, size)?,
                Err("folder") => folders.push(name),
                Err(reason) => listing.skip(&name, reason),
            }
        }
        Ok(())
    }

    /// Opens a file of the listing, and says how large it is now. The folders above it are held meanwhile: none can
    /// become a junction under our hands.
    pub fn open_file(&self, path: &Path) -> Result<(File, u64), Refused> {
        let _pins = self.pin_all(path.parent().unwrap_or(Path::new("")))?;
        checked(open(&self.dir.join(path))?)
    }

    fn pin_all(&self, path: &Path) -> Result<Vec<File>, Refused> {
        let mut at = self.dir.clone();
        path.iter()
            .map(|part| {
                at.push(part);
                pin(&at)
            })
            .collect()
    }
}

/// Opens a plain file that a job may have replaced; `None` where there is none.
pub(super) fn open_plain(path: &Path) -> Result<Option<(File, u64)>, Refused> {
    match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => checked(other?).map(Some),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// Holds a folder; refuses a reparse point.
fn pin(path: &Path) -> Result<File, Refused> {
    let flags = FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS;
    let folder = OpenOptions::new().read(true).share_mode(PINNED).custom_flags(flags).open(path)?;
    match plain(&folder.metadata()?) {
        Err("folder") => Ok(folder),
        Err(reason) => Err(Refused::Skip(reason.into())),
        Ok(_) => Err(Refused::Skip("not a folder".into())),
    }
}

fn checked(file: File) -> Result<(File, u64), Refused> {
    let size = plain(&file.metadata()?).map_err(|reason| Refused::Skip(reason.into()))?;
    Ok((file, size))
}

/// The size of a plain file; or what it is instead.
fn plain(metadata: &Metadata) -> Result<u64, &'static str> {
    let attributes = metadata.file_attributes();
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err("symlink or junction");
    }
    if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        return Err("folder");
    }
    if attributes & FILE_ATTRIBUTE_DEVICE != 0 {
        return Err("device");
    }
    Ok(metadata.file_size())
}

impl From<io::Error> for Refused {
    /// What a job can bring about is a reason to skip; the rest is the machine's.
    fn from(error: io::Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::NotFound => "removed while it was collected",
            ErrorKind::PermissionDenied => "not readable",
            ErrorKind::InvalidFilename => "path too long",
            _ if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => "in use",
            _ => return Refused::Failed(error),
        };
        Refused::Skip(reason.into())
    }
}
