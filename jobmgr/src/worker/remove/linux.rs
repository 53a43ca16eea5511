use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, chmod, fchmod, openat, renameat, seek, unlinkat,
};
use rustix::io::Errno;

use crate::worker::beneath;

/// Folders that are open at once. What lies deeper is moved up first: no path is too long, no descriptor is short.
const DEEPEST: usize = 24;

pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let name = dir.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = match openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut removal = Removal { first: None };
    match removal.folder(parent.as_fd(), Path::new(name), None) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A link in its place.
        Err(Errno::LOOP | Errno::NOTDIR) => return Ok(unlinkat(&parent, name, AtFlags::empty())?),
        Err(errno) => removal.stays(Path::new(name), errno),
    }
    let (name, errno) = removal.first.unwrap_or_else(|| (name.into(), Errno::NOTEMPTY));
    let kind = io::Error::from(errno).kind();
    Err(io::Error::new(kind, format!("not all of {} can be removed: {}: {errno}", dir.display(), name.display())))
}

struct Removal {
    /// What stays, as it was met first: below it, everything went.
    first: Option<(PathBuf, Errno)>,
}

/// Where in the tree a folder is.
#[derive(Clone, Copy)]
struct Level<'t> {
    /// The folder that everything is removed from, to move up to.
    top: BorrowedFd<'t>,
    depth: usize,
}

impl Removal {
    /// Removes the folder `name` of `parent`, which is at `above`, if it is not the first.
    fn folder(&mut self, parent: BorrowedFd<'_>, name: &Path, above: Option<Level<'_>>) -> Result<(), Errno> {
        let folder = open_folder(parent, name)?;
        let level = match above {
            None => Level { top: folder.as_fd(), depth: 0 },
            Some(Level { top, depth }) => Level { top, depth: depth + 1 },
        };
        loop {
            let removed = self.entries(&folder, level)?;
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // Some file systems skip entries while others are removed; and some have been moved here.
                Err(Errno::NOTEMPTY | Errno::EXIST) if removed > 0 => seek(&folder, SeekFrom::Start(0))?,
                other => return other,
            };
        }
    }

    /// Removes or moves what is in `folder`; says how many entries that were.
    fn entries(&mut self, folder: &OwnedFd, level: Level<'_>) -> Result<u64, Errno> {
        let mut removed = 0;
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = Path::new(OsStr::from_bytes(name));
            match self.entry(folder.as_fd(), name, entry.file_type(), level) {
                Ok(()) | Err(Errno::NOENT) => removed += 1,
                Err(errno) => self.stays(name, errno),
            }
        }
        Ok(removed)
    }

    fn entry(&mut self, folder: BorrowedFd<'_>, name: &Path, kind: FileType, level: Level<'_>) -> Result<(), Errno> {
        let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let first = match unlinkat(folder, name, flags) {
            Err(Errno::ACCESS) => {
                fchmod(folder, Mode::RWXU)?;
                unlinkat(folder, name, flags)
            }
            other => other,
        };
        match first {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) if level.depth < DEEPEST => {
                self.folder(folder, name, Some(level))
            }
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => move_up(folder, name, level.top),
            other => other,
        }
    }

    fn stays(&mut self, name: &Path, errno: Errno) {
        self.first.get_or_insert_with(|| (name.to_owned(), errno));
    }
}

/// Moves a folder that lies too deep to where it is met again. A folder that changes its parent must be writable.
fn move_up(folder: BorrowedFd<'_>, name: &Path, top: BorrowedFd<'_>) -> Result<(), Errno> {
    fchmod(open_folder(folder, name)?, Mode::RWXU)?;
    let unique = uuid::Uuid::new_v4().to_string();
    match renameat(folder, name, top, &unique) {
        Err(Errno::ACCESS) => {
            fchmod(top, Mode::RWXU)?;
            renameat(folder, name, top, &unique)
        }
        other => other,
    }
}

/// Opens a folder, after taking the rights to it where its mode withholds them from its owner.
fn open_folder(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let open = || beneath::open(parent, name, OFlags::RDONLY | OFlags::DIRECTORY);
    match open() {
        Err(Errno::ACCESS) => {
            let folder = beneath::open(parent, name, OFlags::PATH | OFlags::DIRECTORY)?;
            fchmod_own(folder.as_fd())?;
            open()
        }
        other => other,
    }
}

/// `fchmod` for a descriptor that was opened with `O_PATH`. By name, a link could be met instead.
fn fchmod_own(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    // Without /proc the folder stays closed; it is not gone.
    chmod(path, Mode::RWXU).map_err(|errno| if errno == Errno::NOENT { Errno::ACCESS } else { errno })
}
