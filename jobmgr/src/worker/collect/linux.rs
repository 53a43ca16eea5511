use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, stat, statat};
use rustix::io::Errno;

use super::listing::Listing;
use super::{CollectError, Refused};
use crate::worker::beneath;

/// `O_NONBLOCK`: a FIFO without a writer must not stop us.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Longer paths (`PATH_MAX`) can't be opened in one call, and hardly be wanted as names.
const LONGEST: usize = 4000;

/// Whether there is nothing to collect: the folder is empty or not there. Not so sure: `false`.
pub(super) fn is_empty(dir: &Path) -> bool {
    let folder = match openat(CWD, dir, FOLDER, Mode::empty()) {
        Err(error) => return error == Errno::NOENT,
        Ok(folder) => folder,
    };
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if is_dot(entry.file_name().to_bytes()) => {}
            _ => return false,
        }
    }
    true
}

/// The folder `artifacts`, held open: what a job puts at its path later does not matter.
pub(super) struct Root {
    folder: OwnedFd,
    /// Whose the attempt's directory is: the user that the job ran as.
    owner: u32,
}

impl Root {
    /// Neither the folder nor the one that it is in may be a link: both were the job's to replace.
    pub fn open(dir: &Path) -> Result<Root, Refused> {
        let (Some(attempt), Some(name)) = (dir.parent(), dir.file_name()) else {
            return Err(Refused::Failed(io::Error::other("the folder of artifacts has no parent")));
        };
        let attempt = if attempt.as_os_str().is_empty() { Path::new(".") } else { attempt };
        let attempt = openat(CWD, attempt, OFlags::PATH | FOLDER, Mode::empty())?;
        let folder = beneath::open(attempt.as_fd(), Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Root { folder, owner: fstat(&attempt)?.st_uid })
    }

    /// Walks the tree, each folder opened from the top by its path: no more than two are open at once.
    pub fn list(&self, listing: &mut Listing<'_>) -> Result<(), CollectError> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            listing.folder()?;
            match self.list_folder(&folder, listing, &mut folders) {
                Err(Walk::Refused(Refused::Skip(reason))) => listing.skip(&folder, reason),
                Err(Walk::Refused(Refused::Failed(error))) => return Err(CollectError::Workspace(error)),
                Err(Walk::Over(error)) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn list_folder(&self, path: &Path, listing: &mut Listing<'_>, folders: &mut Vec<PathBuf>) -> Result<(), Walk> {
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let folder = beneath::open(self.folder.as_fd(), at, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut entries = RawDir::new(&folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if is_dot(entry.file_name().to_bytes()) {
                continue;
            }
            let name = path.join(OsStr::from_bytes(entry.file_name().to_bytes()));
            if name.as_os_str().len() > LONGEST {
                listing.skip(&name, "path too long");
                continue;
            }
            let stat = match statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                folders.push(name);
                continue;
            }
            match plain(&stat, self.owner) {
                Ok(size) => listing.file(name, size)?,
                Err(reason) => listing.skip(&name, reason),
            }
        }
        Ok(())
    }

    /// Opens a file of the listing anew, and says how large it is now.
    pub fn open_file(&self, path: &Path) -> Result<(File, u64), Refused> {
        checked(beneath::open(self.folder.as_fd(), path, FILE)?, self.owner)
    }
}

/// Opens a plain file that a job may have replaced; `None` where there is none.
pub(super) fn open_plain(path: &Path) -> Result<Option<(File, u64)>, Refused> {
    let file = match openat(CWD, path, FILE | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    checked(file, stat(above)?.st_uid).map(Some)
}

/// The file, if what was really opened is one.
fn checked(file: OwnedFd, owner: u32) -> Result<(File, u64), Refused> {
    let size = plain(&fstat(&file)?, owner).map_err(|reason| Refused::Skip(reason.into()))?;
    Ok((file.into(), size))
}

/// The size of a regular file that is the job's own, whose user is `owner`; or what it is instead.
fn plain(stat: &Stat, owner: u32) -> Result<u64, &'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err("symlink"),
        FileType::Fifo => return Err("fifo"),
        FileType::Socket => return Err("socket"),
        FileType::Directory => return Err("folder"),
        FileType::BlockDevice | FileType::CharacterDevice => return Err("device"),
        _ => return Err("not a regular file"),
    }
    if stat.st_nlink > 1 && stat.st_uid != owner {
        return Err("hard link to a file of another user");
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Why the walk of a folder ended.
enum Walk {
    Refused(Refused),
    Over(CollectError),
}

impl From<Errno> for Walk {
    fn from(errno: Errno) -> Self {
        Walk::Refused(errno.into())
    }
}

impl From<CollectError> for Walk {
    fn from(error: CollectError) -> Self {
        Walk::Over(error)
    }
}

impl From<Errno> for Refused {
    /// What a job can bring about is a reason to skip; the rest is the machine's.
    fn from(errno: Errno) -> Self {
        let reason = match errno {
            Errno::LOOP => "symlink",
            Errno::NOTDIR => "not a folder",
            Errno::XDEV => "on another file system",
            Errno::ACCESS | Errno::PERM => "not readable",
            Errno::NOENT => "removed while it was collected",
            Errno::NXIO | Errno::NODEV => "socket or device",
            Errno::NAMETOOLONG => "path too long",
            other => return Refused::Failed(other.into()),
        };
        Refused::Skip(reason.into())
    }
}
