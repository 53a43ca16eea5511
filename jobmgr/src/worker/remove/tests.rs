use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::remove_tree;
use crate::worker::test_rights::{as_nobody, lacks};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_usual_folder_goes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attempt");
    fs::create_dir_all(dir.join("artifacts")).unwrap();
    remove_tree(&dir).unwrap();
    assert!(!dir.exists());
    remove_tree(&dir).unwrap();
    remove_tree(&temp.path().join("no/such/parent")).unwrap();
}

#[test]
fn folders_that_forbid_it_are_opened_up() {
    as_nobody(|| {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("attempt");
        for (name, bits) in [("closed", 0), ("read", 0o444), ("enter", 0o111), ("module", 0o555)] {
            let folder = dir.join(name).join("inner");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
            mode(&folder, bits);
            mode(&dir.join(name), bits);
        }
        mode(&dir, 0);
        let above = fs::metadata(temp.path()).unwrap().permissions();
        assert!(fs::remove_dir_all(&dir).is_err(), "the usual way suffices: this test shows nothing");
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
        assert_eq!(fs::metadata(temp.path()).unwrap().permissions(), above);
    });
}

#[test]
fn ten_thousand_files_go() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attempt");
    fs::create_dir(&dir).unwrap();
    for n in 0..10_000 {
        File::create(dir.join(n.to_string())).unwrap();
    }
    remove_tree(&dir).unwrap();
    assert!(!dir.exists());
}

#[test]
fn no_depth_is_too_deep() {
    as_nobody(|| {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("attempt");
        fs::create_dir(&dir).unwrap();
        let mut at = File::open(&dir).unwrap().into();
        for depth in 0..3_000 {
            mkdirat(&at, "deeper-and-deeper", Mode::RWXU).unwrap();
            let next = openat(&at, "deeper-and-deeper", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            if depth % 3 == 0 {
                rustix::fs::fchmod(&at, Mode::RUSR | Mode::XUSR).unwrap();
            }
            at = next;
        }
        drop(at);
        remove_tree(&dir).unwrap();
        assert!(!dir.exists());
    });
}

#[test]
fn no_link_is_followed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attempt");
    let outside = temp.path().join("outside");
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "x").unwrap();
    mode(&outside, 0o555);
    symlink(&outside, dir.join("link")).unwrap();
    symlink(outside.join("canary"), dir.join("file")).unwrap();
    remove_tree(&dir).unwrap();
    assert!(!dir.exists());
    // The folder itself was replaced.
    symlink(&outside, &dir).unwrap();
    remove_tree(&dir).unwrap();
    assert!(fs::symlink_metadata(&dir).is_err());
    assert!(outside.join("canary").exists());
    assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o555);
}

#[test]
fn no_other_file_system_is_entered_and_the_rest_goes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attempt");
    let outside = temp.path().join("outside");
    let target = dir.join("a/mounted");
    fs::create_dir_all(&target).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "x").unwrap();
    fs::write(dir.join("a/file"), "x").unwrap();
    let mounted = Command::new("mount").arg("--bind").args([&outside, &target]).output();
    if !mounted.is_ok_and(|done| done.status.success()) {
        return lacks("the right to mount");
    }
    let removed = remove_tree(&dir);
    let canary = outside.join("canary").exists();
    assert!(Command::new("umount").arg(&target).status().unwrap().success());
    assert!(canary);
    let text = removed.unwrap_err().to_string();
    assert!(text.contains("mounted"), "{text}");
    assert!(!dir.join("a/file").exists());
    remove_tree(&dir).unwrap();
}
