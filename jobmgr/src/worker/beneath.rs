//! Opens what lies below a folder, and nothing else: a job may have put links, mounts and pipes where files were.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, Result};

/// Set once the kernel (before 5.6) or a sandbox has refused `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens the relative `path` below `dir`, with the given flags (`O_CLOEXEC` is added). Never waits for a FIFO's writer
/// if the flags have `O_NONBLOCK`.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` for a link anywhere in the path, `EXDEV` for what leads out of `dir` or to another mount; the
/// rest as `open(2)`.
pub(super) fn open(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match open_at_once(dir, path, flags) {
            Err(Errno::NOSYS | Errno::PERM) => {}
            other => return other,
        }
        // A sandbox says EPERM for calls that it does not know; so may the file. The way by parts tells them apart.
        NO_OPENAT2.store(open_at_once(dir, Path::new("."), OFlags::PATH).is_err(), Ordering::Relaxed);
    }
    open_by_parts(dir, path, flags)
}

fn open_at_once(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(dir, path, flags, Mode::empty(), resolve)
}

/// One part after the other, none of them a link. It knows other mounts by their device only.
fn open_by_parts(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let device = fstat(dir)?.st_dev;
    let mut at: Option<OwnedFd> = None;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => OsStr::new("."),
            _ => return Err(Errno::XDEV),
        };
        let flags = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
        let from = at.as_ref().map_or(dir, AsFd::as_fd);
        let next = openat(from, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        if fstat(&next)?.st_dev != device {
            return Err(Errno::XDEV);
        }
        at = Some(next);
    }
    at.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;

    /// Both ways must agree.
    fn both(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> [Option<Errno>; 2] {
        let path = Path::new(path);
        [open_at_once(dir, path, flags).err(), open_by_parts(dir, path, flags).err()]
    }

    #[test]
    fn nothing_outside_is_opened() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("in/a/b")).unwrap();
        fs::write(temp.path().join("in/a/b/file"), "x").unwrap();
        fs::write(temp.path().join("canary"), "x").unwrap();
        symlink("../canary", temp.path().join("in/link")).unwrap();
        symlink("b", temp.path().join("in/a/within")).unwrap();
        let dir = openat(CWD, temp.path().join("in"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let read = OFlags::RDONLY;
        assert_eq!(both(dir.as_fd(), "a/b/file", read), [None, None]);
        assert_eq!(both(dir.as_fd(), ".", read), [None, None]);
        assert_eq!(both(dir.as_fd(), "link", read), [Some(Errno::LOOP); 2]);
        assert_eq!(both(dir.as_fd(), "../canary", read), [Some(Errno::XDEV); 2]);
        assert_eq!(both(dir.as_fd(), "/etc/passwd", read), [Some(Errno::XDEV); 2]);
        for through in both(dir.as_fd(), "a/within/file", read) {
            assert!(matches!(through, Some(Errno::LOOP | Errno::NOTDIR)), "{through:?}");
        }
    }
}
