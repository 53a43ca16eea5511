//! By the type that statfs(2) gives, and by mode bits.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{major, minor};

/// Magic numbers of `linux/magic.h`, statfs(2), and the list that stat(1) of coreutils has.
const NETWORK: [(i64, &str); 14] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564C, "NCP"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xAAD7_AAEA, "PanFS"),
];
/// What is behind FUSE, the mounts say.
const FUSE: i64 = 0x6573_5546;
/// Those of its types that are on a network.
const OVER_FUSE: [&str; 7] =
    ["fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.ceph-fuse", "fuse.juicefs"];

pub(super) fn network_kind(folder: &Path) -> Option<&'static str> {
    // Of another type on other architectures.
    #[allow(clippy::useless_conversion)]
    let kind = i64::from(rustix::fs::statfs(folder).ok()?.f_type) & 0xFFFF_FFFF;
    if kind == FUSE {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        return over_fuse(&mounts, folder.metadata().ok()?.dev());
    }
    named(kind)
}

fn named(kind: i64) -> Option<&'static str> {
    NETWORK.into_iter().find(|(magic, _)| *magic == kind).map(|(_, name)| name)
}

/// The type of the mount of this device in `/proc/self/mountinfo`, whose lines are `ID PARENT MAJOR:MINOR ROOT POINT
/// OPTIONS [MORE]... - TYPE SOURCE OPTIONS`.
fn over_fuse(mounts: &str, device: u64) -> Option<&'static str> {
    let device = format!("{}:{}", major(device), minor(device));
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&*device))?;
    let kind = mount.split_once(" - ")?.1.split(' ').next()?;
    OVER_FUSE.into_iter().find(|known| *known == kind)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_networks_are_known_by_their_numbers() {
        // As `stat -f -c %t` prints them; ext4, xfs, btrfs, tmpfs, overlayfs and ZFS are of this machine.
        let table = [
            (0x6969, Some("NFS")),
            (0xff53_4d42, Some("CIFS")),
            (0xfe53_4d42, Some("SMB2")),
            (0x4750_4653, Some("GPFS")),
            (0x00c3_6400, Some("Ceph")),
            (0x0bd0_0bd0, Some("Lustre")),
            (0x1983_0326, Some("BeeGFS")),
            (0xef53, None),
            (0x5846_5342, None),
            (0x9123_683e, None),
            (0x0102_1994, None),
            (0x794c_7630, None),
            (0x2fc1_2fc1, None),
        ];
        for (magic, name) in table {
            assert_eq!(named(magic), name, "{magic:#x}");
        }
    }

    #[test]
    fn what_is_behind_fuse_is_known_by_its_mount() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      40 22 0:51 / /mnt/a\\040b rw shared:9 master:2 - fuse.glusterfs host:/volume rw\n\
                      41 22 0:52 / /mnt/c rw - fuseblk /dev/sdb1 rw\n";
        let device = rustix::fs::makedev;
        assert_eq!(over_fuse(mounts, device(0, 51)), Some("fuse.glusterfs"));
        assert_eq!(over_fuse(mounts, device(0, 52)), None, "a disk of this machine");
        assert_eq!(over_fuse(mounts, device(0, 53)), None);
    }

    #[test]
    fn this_folder_is_of_some_kind() {
        assert_eq!(network_kind(Path::new("/proc")), None);
    }
}
