//! By the type that statfs(2) gives, and by mode bits.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Magic numbers of `linux/magic.h` and statfs(2).
const NETWORK: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x0BD0_0BD0, "Lustre"),
];

pub(super) fn network_kind(folder: &Path) -> Option<&'static str> {
    // Of another type on other architectures.
    #[allow(clippy::useless_conversion)]
    let kind = i64::from(rustix::fs::statfs(folder).ok()?.f_type);
    NETWORK.into_iter().find(|(magic, _)| *magic == kind & 0xFFFF_FFFF).map(|(_, name)| name)
}

/// Makes the file, where it is not there yet, for its owner alone; SQLite gives its other files the same mode.
pub(super) fn make_private(file: &Path) -> io::Result<()> {
    match create_private(file) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn create_private(file: &Path) -> io::Result<()> {
    File::options().write(true).create_new(true).mode(0o600).open(file).map(drop)
}

/// Names are on disk when their folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
