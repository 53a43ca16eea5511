//! Files as Linux and its kin have them.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

/// Which file it is, and when anything about it last changed. The latter nobody can set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    changed: i64,
    changed_nanos: i64,
}

/// See [`Identity`].
pub(super) fn identity(metadata: &Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: metadata.ctime(),
        changed_nanos: metadata.ctime_nsec(),
    }
}

/// When anything about the file last changed.
pub(super) fn changed(identity: &Identity) -> Option<SystemTime> {
    let seconds = u64::try_from(identity.changed).ok()?;
    let nanos = u32::try_from(identity.changed_nanos).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Opens for reading, without waiting for the other end of a FIFO.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Whether the system takes this as the name of a file; what no system takes was refused before.
pub(super) fn is_file_name(_name: &str) -> bool {
    true
}
