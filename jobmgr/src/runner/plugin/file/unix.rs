use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
/// Of a folder: nobody but its owner and theirs can replace what is in it.
const STICKY: u32 = 0o1000;

/// Device and number.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Who may change it beside root and the user of this process.
pub(super) fn writable_by(metadata: &Metadata) -> Option<String> {
    let owner = Uid::from_raw(metadata.uid());
    if !owner.is_root() && owner != geteuid() {
        return Some(format!("its owner, user {owner},"));
    }
    let mode = metadata.mode();
    if metadata.is_dir() && mode & STICKY != 0 {
        return None;
    }
    let group = Gid::from_raw(metadata.gid());
    if mode & OTHERS_WRITE != 0 {
        Some("everybody".to_owned())
    } else if mode & GROUP_WRITES != 0 && !is_our_own(group) {
        Some(format!("group {}", Group::from_gid(group).ok().flatten().map_or(group.to_string(), |group| group.name)))
    } else {
        None
    }
}

/// Whether a group is root's, or the one that many systems make for each user: of the user's name, with nobody else
/// in it.
fn is_our_own(group: Gid) -> bool {
    if group.as_raw() == 0 {
        return true;
    }
    let (Ok(Some(user)), Ok(Some(found))) = (User::from_uid(geteuid()), Group::from_gid(group)) else { return false };
    group == getegid() && found.name == user.name && found.mem.iter().all(|member| *member == user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::Path;

    use super::super::find;
    use super::*;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Of the file, its folder, and the folder above that.
    #[test]
    fn a_library_that_others_may_change_is_refused() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("plugins");
        let file = folder.join("libfoo.so");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        chmod(&file, 0o644);
        for (path, mode, right) in [(&*file, 0o666, 0o644), (&*folder, 0o777, 0o755), (above.path(), 0o777, 0o700)] {
            chmod(path, mode);
            let why = find(&file).unwrap_err();
            let real = path.canonicalize().unwrap();
            assert!(why.contains(&format!("everybody may write to {},", real.display())), "{why}");
            chmod(path, right);
            assert!(find(&file).is_ok());
        }
        // As /tmp is.
        chmod(above.path(), 0o1777);
        assert!(find(&file).is_ok());
    }

    #[test]
    fn a_group_may_write_when_it_is_roots_or_the_users_own() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give files to groups");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libfoo.so");
        std::fs::write(&file, "x").unwrap();
        for (group, refused) in [(0, None), (1, Some("group daemon")), (4_000_000_000, Some("group 4000000000"))] {
            chown(&file, None, Some(group)).unwrap();
            chmod(&file, 0o664);
            let found = find(&file).err();
            assert_eq!(found.is_some(), refused.is_some(), "{group}: {found:?}");
            assert!(found.unwrap_or_default().contains(refused.unwrap_or_default()));
            chmod(&file, 0o644);
            assert!(find(&file).is_ok(), "{group}: it may not write");
        }
        chown(&file, Some(1), Some(0)).unwrap();
        assert!(find(&file).unwrap_err().contains("its owner, user 1, may write to"));
    }
}
