//! Users, and what has to be theirs.

use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use jobmgr_plugin_api::{Error, Result};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use serde::{Deserialize, Serialize};

/// Who a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All groups, `gid` too.
    pub groups: Vec<u32>,
    /// What the system calls the user, and where it lives, if it knows the number.
    pub known: Option<(String, String)>,
}

/// Who `NAME`, `NAME:GROUP` or their numbers are.
///
/// # Errors
/// When there is no such user or group, or this process may not become another one.
pub fn look_up(text: &str) -> Result<Identity> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let user = find_user(name)?;
    let number = name.parse().ok();
    let Some(uid) = user.as_ref().map(|user| user.uid.as_raw()).or(number) else {
        return Err(Error::invalid(format!("'User': there is no user '{name}' on this machine")));
    };
    let gid = match (group, &user) {
        (Some(group), _) => find_group(group)?,
        (None, Some(user)) => user.gid.as_raw(),
        (None, None) => {
            let why = format!("'User': no user has the number {name}, so its group has to be said: \"{name}:GROUP\"");
            return Err(Error::invalid(why));
        }
    };
    let groups = user.as_ref().map_or_else(|| Ok(vec![gid]), |user| groups_of(user, gid))?;
    let known = user.map(|user| (user.name, user.dir.to_string_lossy().into_owned()));
    Ok(Identity { uid, gid, groups, known })
}

fn find_user(name: &str) -> Result<Option<User>> {
    let found = match User::from_name(name) {
        Ok(None) => name.parse().map_or(Ok(None), |uid| User::from_uid(Uid::from_raw(uid))),
        other => other,
    };
    found.map_err(|errno| Error::retry(format!("'User': '{name}' can't be looked up: {}", errno.desc())))
}

fn find_group(name: &str) -> Result<u32> {
    let found = Group::from_name(name)
        .map_err(|errno| Error::retry(format!("'User': group '{name}' can't be looked up: {}", errno.desc())))?;
    let gid = found.map(|group| group.gid.as_raw()).or_else(|| name.parse().ok());
    gid.ok_or_else(|| Error::invalid(format!("'User': there is no group '{name}' on this machine")))
}

fn groups_of(user: &User, gid: u32) -> Result<Vec<u32>> {
    let name = CString::new(user.name.as_str()).map_err(|error| Error::failed(format!("'User': {error}")))?;
    let groups = getgrouplist(&name, Gid::from_raw(gid))
        .map_err(|errno| Error::retry(format!("'User': the groups of '{}': {}", user.name, errno.desc())))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

impl Identity {
    /// Whether this process is this user already, with this group.
    pub fn is_own(&self) -> bool {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        self.uid == uid.as_raw() && self.gid == gid.as_raw()
    }

    /// Whether this process may become this user.
    ///
    /// # Errors
    /// When only root could.
    pub fn check_rights(&self, text: &str) -> Result<()> {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return Ok(());
        }
        let own = uid.as_raw();
        Err(Error::failed(format!("'User': only root can run a job as '{text}', and jobmgr runs as user {own}")))
    }

    /// How messages call it.
    pub fn name(&self) -> String {
        self.known.as_ref().map_or_else(|| self.uid.to_string(), |(name, _)| name.clone())
    }

    /// Gives the job's directory, and what jobmgr made in it, to this user, and opens the folder above for passing
    /// through: it lists nothing and what else is in it stays closed.
    pub fn take(&self, directory: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            lchown(entry?.path(), Some(self.uid), Some(self.gid))?;
        }
        lchown(directory, Some(self.uid), Some(self.gid))?;
        let Some(above) = directory.parent() else { return Ok(()) };
        let found = above.metadata()?;
        let bit = self.passing_bit(found.uid(), found.gid());
        let own = rustix::process::geteuid().as_raw();
        if found.mode() & bit != 0 || found.uid() != own {
            return Ok(());
        }
        std::fs::set_permissions(above, PermissionsExt::from_mode(found.mode() & 0o7777 | bit))
    }

    /// The right to pass through a folder of this owner and group.
    fn passing_bit(&self, uid: u32, gid: u32) -> u32 {
        match () {
            () if self.uid == uid => 0o100,
            () if self.groups.contains(&gid) => 0o010,
            () => 0o001,
        }
    }

    /// The folder on the way to `path` that this user may not pass, as far as modes say.
    pub fn stopped_at<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let closed = |folder: &&Path| {
            folder.metadata().is_ok_and(|found| found.mode() & self.passing_bit(found.uid(), found.gid()) == 0)
        };
        if self.uid == 0 { None } else { path.ancestors().skip(1).find(closed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_users() {
        let root = look_up("root").unwrap();
        assert_eq!((root.uid, root.gid, root.name().as_str()), (0, 0, "root"));
        assert!(root.groups.contains(&0));
        assert_eq!(look_up("0").unwrap(), root);
        assert_eq!(look_up("0:1").unwrap().gid, 1);
        let stranger = look_up("4123456789:17").unwrap();
        assert_eq!((stranger.uid, stranger.gid, &stranger.groups[..]), (4_123_456_789, 17, &[17][..]));
        assert_eq!(stranger.name(), "4123456789");
    }

    #[test]
    fn who_is_not_there_is_named() {
        for (text, said) in [
            ("no-such-user", "'User': there is no user 'no-such-user' on this machine"),
            ("root:no-such-group", "'User': there is no group 'no-such-group' on this machine"),
            (
                "4123456789",
                "'User': no user has the number 4123456789, so its group has to be said: \"4123456789:GROUP\"",
            ),
        ] {
            let error = look_up(text).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (jobmgr_plugin_api::Kind::Invalid, said));
        }
    }
}
