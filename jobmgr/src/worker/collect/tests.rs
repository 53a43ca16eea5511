use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::geteuid;
use tempfile::TempDir;

use super::*;
use crate::config;
use crate::worker::test_rights::{as_nobody, lacks};

/// A secret that no artifact may hold.
const CANARY: &str = "the canary sings";
const PLENTY: Limits = Limits { max_files: 100_000, max_bytes: 1 << 40 };

/// An attempt's folder with `artifacts/`, and a canary beside it.
struct Attempt {
    temp: TempDir,
    blobs: Blobs,
}

impl Attempt {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("attempt/artifacts")).unwrap();
        fs::write(temp.path().join("canary"), CANARY).unwrap();
        let storage = config::Storage { url: Some("memory:".to_owned()), ..Default::default() };
        Self { temp, blobs: Blobs::open(&storage, None).unwrap() }
    }

    fn artifacts(&self) -> PathBuf {
        self.temp.path().join("attempt/artifacts")
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.artifacts().join(name)
    }

    fn canary(&self) -> PathBuf {
        self.temp.path().join("canary")
    }

    fn write(&self, name: impl AsRef<Path>, bytes: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    async fn collect(&self, limits: &Limits) -> Result<Collected, CollectError> {
        collect(&self.blobs, &self.artifacts(), 17, "jobs/17/2", limits, &CancellationToken::new()).await
    }

    /// Collects, and looks for the canary in all that was uploaded.
    async fn collected(&self) -> Collected {
        let collected = self.collect(&PLENTY).await.unwrap();
        for artifact in &collected.artifacts {
            let bytes = self.bytes(&artifact.key).await;
            assert_eq!(bytes.len() as u64, artifact.size);
            assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "{} holds the canary", artifact.name);
        }
        collected
    }

    async fn bytes(&self, key: &str) -> Vec<u8> {
        let parts: Vec<_> = self.blobs.get(key, None).await.unwrap().try_collect().await.unwrap();
        parts.concat()
    }
}

fn names(collected: &Collected) -> Vec<&str> {
    collected.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

fn skipped(collected: &Collected) -> Vec<(&str, &str)> {
    collected.skipped.iter().map(|skipped| (skipped.name.as_str(), skipped.reason.as_str())).collect()
}

#[tokio::test]
async fn nothing_there_is_nothing_collected() {
    let attempt = Attempt::new();
    let collected = attempt.collected().await;
    assert!(collected.artifacts.is_empty() && collected.skipped.is_empty());
    fs::create_dir_all(attempt.path("empty/folders")).unwrap();
    assert!(names(&attempt.collected().await).is_empty());
    fs::remove_dir_all(attempt.artifacts()).unwrap();
    let collected = attempt.collected().await;
    assert!(collected.artifacts.is_empty() && collected.skipped.is_empty());
}

#[tokio::test]
async fn files_come_in_the_order_of_their_names_with_what_is_known_of_them() {
    let attempt = Attempt::new();
    for (name, bytes) in [("b.txt", "22"), ("a/z.PNG", "1"), ("a.txt", ""), ("a/b/c", "4444")] {
        attempt.write(name, bytes);
    }
    let collected = attempt.collected().await;
    assert_eq!(names(&collected), ["a.txt", "a/b/c", "a/z.PNG", "b.txt"]);
    let keys: Vec<_> = collected.artifacts.iter().map(|artifact| artifact.key.as_str()).collect();
    assert_eq!(keys, ["jobs/17/2/1", "jobs/17/2/2", "jobs/17/2/3", "jobs/17/2/4"]);
    let last = &collected.artifacts[3];
    assert_eq!((last.job_id, last.size, last.mime.as_str()), (17, 2, "text/plain"));
    // printf 22 | sha256sum
    assert_eq!(last.sha256, "785f3ec7eb32f30b90cd0fcf3657d388b5ff4297f2f9716ff66e9b69c05ddd09");
    assert_eq!(attempt.bytes("jobs/17/2/2").await, b"4444");
}

#[tokio::test]
async fn no_link_is_followed() {
    let attempt = Attempt::new();
    attempt.write("plain.txt", "mine");
    symlink(attempt.canary(), attempt.path("absolute")).unwrap();
    symlink("../../canary", attempt.path("relative")).unwrap();
    symlink("../..", attempt.path("upwards")).unwrap();
    symlink("loop", attempt.path("loop")).unwrap();
    symlink("plain.txt", attempt.path("within")).unwrap();
    symlink("/etc/shadow", attempt.path("shadow")).unwrap();
    let collected = attempt.collected().await;
    assert_eq!(names(&collected), ["plain.txt"]);
    let links = ["absolute", "loop", "relative", "shadow", "upwards", "within"];
    assert_eq!(skipped(&collected), links.map(|name| (name, "symlink")));
}

#[tokio::test]
async fn the_folder_itself_may_not_be_a_link() {
    for replaced in ["attempt/artifacts", "attempt"] {
        let attempt = Attempt::new();
        let elsewhere = attempt.temp.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("artifacts")).unwrap();
        fs::write(elsewhere.join("artifacts/secret"), CANARY).unwrap();
        fs::write(elsewhere.join("secret"), CANARY).unwrap();
        fs::remove_dir_all(attempt.temp.path().join(replaced)).unwrap();
        symlink(&elsewhere, attempt.temp.path().join(replaced)).unwrap();
        let collected = attempt.collected().await;
        assert!(collected.artifacts.is_empty(), "{replaced}");
        assert!(skipped(&collected)[0].1.starts_with("the folder artifacts itself: "), "{:?}", collected.skipped);
    }
}

#[tokio::test]
async fn only_plain_files_are_opened() {
    let attempt = Attempt::new();
    mknodat(CWD, attempt.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(attempt.path("socket")).unwrap();
    let mut expected = vec![("fifo", "fifo"), ("socket", "socket")];
    let zero = rustix::fs::makedev(1, 5);
    if mknodat(CWD, attempt.path("zero"), FileType::CharacterDevice, Mode::RUSR, zero).is_ok() {
        expected.push(("zero", "device"));
    }
    let collected = attempt.collected().await;
    assert!(collected.artifacts.is_empty());
    assert_eq!(skipped(&collected), expected);
}

#[tokio::test]
async fn a_file_of_another_user_is_not_taken_by_a_hard_link() {
    let attempt = Attempt::new();
    attempt.write("once", "mine");
    fs::hard_link(attempt.path("once"), attempt.path("twice")).unwrap();
    if !geteuid().is_root() {
        return lacks("the rights of root, which can give a file to another user");
    }
    chown(attempt.canary(), Some(12345), None).unwrap();
    fs::hard_link(attempt.canary(), attempt.path("theirs")).unwrap();
    let collected = attempt.collected().await;
    assert_eq!(names(&collected), ["once", "twice"]);
    assert_eq!(skipped(&collected), [("theirs", "hard link to a file of another user")]);
    // A job that runs as another user: what is ours is not its own.
    let attempt = Attempt::new();
    attempt.write("once", "mine");
    fs::hard_link(attempt.path("once"), attempt.path("twice")).unwrap();
    fs::hard_link(attempt.canary(), attempt.path("theirs")).unwrap();
    for path in [attempt.artifacts().parent().unwrap(), &attempt.path("once")] {
        chown(path, Some(12345), None).unwrap();
    }
    let collected = attempt.collected().await;
    assert_eq!(names(&collected), ["once", "twice"]);
    assert_eq!(skipped(&collected), [("theirs", "hard link to a file of another user")]);
    fs::hard_link(attempt.canary(), attempt.artifacts().with_file_name("output")).unwrap();
    let refused = read_small(&attempt.artifacts().with_file_name("output"), 100).unwrap_err();
    assert!(refused.to_string().contains("hard link to a file of another user"), "{refused}");
}

/// What changes between the listing and the opening.
#[test]
fn what_is_swapped_after_the_listing_is_not_opened() {
    let attempt = Attempt::new();
    attempt.write("file", "mine");
    attempt.write("dir/file", "mine");
    attempt.write("gone", "mine");
    attempt.write("pipe", "mine");
    let outside = attempt.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), CANARY).unwrap();
    let root = platform::Root::open(&attempt.artifacts()).unwrap();
    let mut listing = Listing::new(&PLENTY);
    root.list(&mut listing).unwrap();
    assert_eq!(listing.finish().0.len(), 4);

    fs::remove_file(attempt.path("file")).unwrap();
    symlink(attempt.canary(), attempt.path("file")).unwrap();
    fs::rename(attempt.path("dir"), attempt.path("was")).unwrap();
    symlink(&outside, attempt.path("dir")).unwrap();
    fs::remove_file(attempt.path("gone")).unwrap();
    fs::remove_file(attempt.path("pipe")).unwrap();
    mknodat(CWD, attempt.path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();

    let refused = |name: &str| match root.open_file(Path::new(name)) {
        Err(Refused::Skip(reason)) => reason,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(refused("file"), "symlink");
    assert_eq!(refused("dir/file"), "symlink");
    assert_eq!(refused("gone"), "removed while it was collected");
    assert_eq!(refused("pipe"), "fifo");
    assert_eq!(refused("../../canary"), "on another file system");

    // The folder that was opened is the folder that is read, whatever stands at its path now.
    fs::rename(attempt.artifacts(), attempt.temp.path().join("moved")).unwrap();
    symlink(&outside, attempt.artifacts()).unwrap();
    assert!(root.open_file(Path::new("was/file")).is_ok());
}

#[tokio::test]
async fn other_file_systems_are_not_entered() {
    let attempt = Attempt::new();
    let outside = attempt.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), CANARY).unwrap();
    attempt.write("plain", "mine");
    fs::create_dir(attempt.path("mounted")).unwrap();
    let mount = |args: &[&OsStr]| Command::new("mount").args(args).output().is_ok_and(|done| done.status.success());
    let target = attempt.path("mounted");
    if !mount(&["--bind".as_ref(), outside.as_os_str(), target.as_os_str()]) {
        return lacks("the right to mount");
    }
    let collected = attempt.collect(&PLENTY).await;
    assert!(Command::new("umount").arg(&target).status().unwrap().success());
    let collected = collected.unwrap();
    assert_eq!(names(&collected), ["plain"]);
    assert_eq!(skipped(&collected), [("mounted", "on another file system")]);
}

#[tokio::test]
async fn odd_names_are_data() {
    let attempt = Attempt::new();
    let long = "n".repeat(255);
    let odd = [
        "-dash",
        "...",
        "COM1",
        "Case",
        "case",
        "a\\b",
        "%0d%0a",
        "new\nline",
        "quo\"te",
        "semi;colon",
        "rtl\u{202e}gpj",
        "e\u{301}",
        "\u{e9}",
        &long,
    ];
    for name in odd {
        attempt.write(name, "x");
    }
    attempt.write(OsStr::from_bytes(b"bad\xff.png"), "1");
    attempt.write(OsStr::from_bytes(b"bad\xfe.png"), "2");
    let collected = attempt.collected().await;
    let mut expected: Vec<&str> = odd.to_vec();
    expected.extend(["bad\u{fffd}.png", "bad\u{fffd}.png"]);
    expected.sort_unstable();
    assert_eq!(names(&collected), expected);
    assert!(collected.skipped.is_empty());
    assert!(collected.artifacts.iter().zip(1..).all(|(artifact, n)| artifact.key == format!("jobs/17/2/{n}")));
}

#[tokio::test]
async fn too_much_is_told_before_anything_is_uploaded() {
    let attempt = Attempt::new();
    let sparse = File::create(attempt.path("sparse")).unwrap();
    sparse.set_len((1 << 40) + 1).unwrap();
    let text = attempt.collect(&PLENTY).await.unwrap_err().to_string();
    assert!(text.contains("1099511627777 bytes") && text.contains("1099511627776"), "{text}");
    fs::remove_file(attempt.path("sparse")).unwrap();

    let few = Limits { max_files: 2, max_bytes: 100 };
    for name in ["1", "2"] {
        attempt.write(name, "x");
    }
    assert_eq!(attempt.collect(&few).await.unwrap().artifacts.len(), 2);
    attempt.blobs.delete_prefix("jobs/17/2").await.unwrap();
    attempt.write("3", "x");
    let error = attempt.collect(&few).await.unwrap_err();
    assert!(matches!(&error, CollectError::Limit(text) if text.contains("more than 2 files")), "{error}");
    assert_eq!(attempt.blobs.delete_prefix("jobs/17/2").await.unwrap(), 0);
}

#[tokio::test]
async fn ten_thousand_files() {
    let attempt = Attempt::new();
    for n in 0..10_000 {
        File::create(attempt.path(format!("{n:05}"))).unwrap().write_at(b"x", 0).unwrap();
    }
    let collected = attempt.collect(&PLENTY).await.unwrap();
    assert_eq!(collected.artifacts.len(), 10_000);
    assert_eq!(collected.artifacts[9_999].name, "09999");
    assert_eq!(collected.artifacts[9_999].key, "jobs/17/2/10000");
}

#[tokio::test]
async fn too_many_skipped_are_counted() {
    let attempt = Attempt::new();
    for n in 0..1_500 {
        symlink("x", attempt.path(format!("{n:04}"))).unwrap();
    }
    let collected = attempt.collected().await;
    assert_eq!(collected.skipped.len(), 1_001);
    assert_eq!(collected.skipped[1_000].reason, "and 500 more");
}

#[tokio::test]
async fn paths_of_any_length_end_the_walk_well() {
    let attempt = Attempt::new();
    let part = "d".repeat(250);
    let mut at = File::open(attempt.artifacts()).unwrap().into();
    for _ in 0..40 {
        rustix::fs::mkdirat(&at, &part, Mode::RWXU).unwrap();
        let open = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, &part, open, Mode::empty()).unwrap();
    }
    attempt.write("plain", "x");
    let collected = attempt.collected().await;
    assert_eq!(names(&collected), ["plain"]);
    assert_eq!(collected.skipped.len(), 1);
    assert_eq!(collected.skipped[0].reason, "path too long");
    crate::worker::remove::remove_tree(&attempt.temp.path().join("attempt")).unwrap();
}

#[test]
fn what_may_not_be_read_is_skipped() {
    as_nobody(|| {
        let attempt = Attempt::new();
        attempt.write("closed/file", "x");
        attempt.write("file", "x");
        attempt.write("plain", "x");
        for closed in ["file", "closed"] {
            fs::set_permissions(attempt.path(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let collected = runtime.block_on(attempt.collected());
        assert_eq!(names(&collected), ["plain"]);
        assert_eq!(skipped(&collected), [("closed", "not readable"), ("file", "not readable")]);
        fs::set_permissions(attempt.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    });
}

#[test]
fn small_files_are_read_with_the_same_care() {
    let attempt = Attempt::new();
    let at = |name: &str| attempt.path(name);
    assert_eq!(read_small(&at("missing"), 10).unwrap(), None);
    attempt.write("ten", "0123456789");
    assert_eq!(read_small(&at("ten"), 10).unwrap().unwrap(), b"0123456789");
    let text = read_small(&at("ten"), 9).unwrap_err().to_string();
    assert_eq!(text, "it is larger than 9 bytes (10)");
    symlink(attempt.canary(), at("link")).unwrap();
    assert!(read_small(&at("link"), 100).unwrap_err().to_string().contains("symlink"));
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(read_small(&at("fifo"), 100).unwrap_err().to_string().contains("fifo"));
    assert!(read_small(&attempt.artifacts(), 100).is_err());
    // Says 0 bytes, has more.
    assert!(read_small(Path::new("/proc/self/environ"), 0).is_err());
}
