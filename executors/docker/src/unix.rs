//! What only Unix has.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Where engines listen unless something else is said: Docker's socket, else podman's, of this user or the system.
pub fn default_host() -> String {
    let user = rustix::process::getuid().as_raw();
    let places = [
        "/var/run/docker.sock".to_owned(),
        format!("/run/user/{user}/podman/podman.sock"),
        "/run/podman/podman.sock".into(),
    ];
    let found = places.iter().find(|place| Path::new(place).exists()).unwrap_or(&places[0]);
    format!("unix://{found}")
}

/// `uid:gid` of this process.
pub fn this_user() -> Option<String> {
    Some(format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()))
}

/// Lets every user of a container write to a directory, where the one above it keeps everyone else of this machine out.
/// `false`: it does not, so nothing was changed.
pub fn share(directory: &Path) -> io::Result<bool> {
    let guarded = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.mode() & 0o077 == 0);
    if !directory.parent().is_some_and(guarded) {
        return Ok(false);
    }
    for path in [directory, &directory.join("artifacts")] {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened: File = rustix::fs::open(path, flags, Mode::empty())?.into();
        opened.set_permissions(std::fs::Permissions::from_mode(0o777))?;
    }
    Ok(true)
}
