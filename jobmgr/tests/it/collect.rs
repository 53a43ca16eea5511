//! Artifacts on every system; what only a Unix can do to us is tested beside the walk.

use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use jobmgr::blobs::Blobs;
use jobmgr::config::Storage;
use jobmgr::worker::collect::{CollectError, Collected, Limits, collect, read_small};
use jobmgr::worker::remove::remove_tree;
use tokio_util::sync::CancellationToken;

const PLENTY: Limits = Limits { max_files: 100_000, max_bytes: 1 << 40 };

fn store(dir: &Path) -> Blobs {
    let url = format!("file:{}", dir.join("store").display());
    Blobs::open(&Storage { url: Some(url), ..Storage::default() }, None).unwrap()
}

fn names(collected: &Collected) -> Vec<&str> {
    collected.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

#[tokio::test]
async fn artifacts_reach_the_store() {
    let temp = tempfile::tempdir().unwrap();
    let artifacts = temp.path().join("attempt").join("artifacts");
    let blobs = store(temp.path());
    assert!(
        names(&collect(&blobs, &artifacts, 1, "jobs/1/1", &PLENTY, &CancellationToken::new()).await.unwrap())
            .is_empty()
    );
    fs::create_dir_all(artifacts.join("a").join("b")).unwrap();
    assert!(
        names(&collect(&blobs, &artifacts, 1, "jobs/1/1", &PLENTY, &CancellationToken::new()).await.unwrap())
            .is_empty()
    );
    for (name, text) in [("e.txt", ""), ("a/d.png", "1"), ("a/b/c", "22"), ("é日.txt", "333")] {
        fs::write(artifacts.join(name), text).unwrap();
    }
    let collected = collect(&blobs, &artifacts, 1, "jobs/1/1", &PLENTY, &CancellationToken::new()).await.unwrap();
    assert_eq!(names(&collected), ["a/b/c", "a/d.png", "e.txt", "é日.txt"]);
    assert_eq!(collected.skipped, []);
    for artifact in &collected.artifacts {
        let parts: Vec<_> = blobs.get(&artifact.key, None).await.unwrap().try_collect().await.unwrap();
        assert_eq!(parts.concat(), fs::read(artifacts.join(&artifact.name)).unwrap());
    }
    remove_tree(&temp.path().join("attempt")).unwrap();
    assert!(!temp.path().join("attempt").exists());
}

#[tokio::test]
async fn too_much_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let artifacts = temp.path().join("attempt").join("artifacts");
    fs::create_dir_all(&artifacts).unwrap();
    fs::write(artifacts.join("file"), "0123456789").unwrap();
    let limits = Limits { max_files: 1, max_bytes: 9 };
    let error =
        collect(&store(temp.path()), &artifacts, 1, "jobs/1/1", &limits, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, CollectError::Limit(text) if text.contains("10 bytes")), "{error}");
}

#[cfg(windows)]
#[tokio::test]
async fn links_are_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let artifacts = temp.path().join("attempt").join("artifacts");
    let outside = temp.path().join("outside");
    fs::create_dir_all(&artifacts).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "x").unwrap();
    let link = artifacts.join("link");
    // Wine says that it made one, and makes none.
    if std::os::windows::fs::symlink_dir(&outside, &link).is_err() || fs::symlink_metadata(&link).is_err() {
        eprintln!("SKIPPED: no links can be made here");
        return;
    }
    let collected =
        collect(&store(temp.path()), &artifacts, 1, "jobs/1/1", &PLENTY, &CancellationToken::new()).await.unwrap();
    assert!(names(&collected).is_empty(), "{collected:?}");
    assert_eq!(collected.skipped.len(), 1);
    remove_tree(&temp.path().join("attempt")).unwrap();
    assert!(outside.join("canary").exists());
}

#[test]
fn read_only_files_go_too() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("attempt");
    fs::create_dir_all(dir.join("in")).unwrap();
    fs::write(dir.join("in").join("file"), "x").unwrap();
    let mut permissions = fs::metadata(dir.join("in").join("file")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(dir.join("in").join("file"), permissions).unwrap();
    remove_tree(&dir).unwrap();
    assert!(!dir.exists());
    remove_tree(&dir).unwrap();
}

#[test]
fn small_files_are_read_up_to_their_limit() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("output");
    assert_eq!(read_small(&file, 4).unwrap(), None);
    fs::write(&file, "{}\r\n").unwrap();
    assert_eq!(read_small(&file, 4).unwrap().unwrap(), b"{}\r\n");
    assert!(read_small(&file, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
    assert!(read_small(temp.path(), 3).is_err());
}
