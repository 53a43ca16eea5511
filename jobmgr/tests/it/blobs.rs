//! One suite of plain functions; every kind of store passes all of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use jobmgr::blobs::{BlobError, Blobs, Object, Shown};
use jobmgr::config::{Aws, Storage};

use crate::support::nobody;
use crate::support::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};

/// Larger than one request takes, and no multiple of a part.
const LARGE: usize = (20 << 20) + 12_345;

fn open(url: &str, options: &[(&str, String)]) -> Blobs {
    let options: BTreeMap<_, _> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Blobs::open(&Storage { url: Some(url.to_owned()), options }, None).unwrap()
}

/// Bytes that repeat nowhere near a part's size.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |state: &mut u32| {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state
    };
    let mut bytes = Vec::with_capacity(len + 4);
    while bytes.len() < len {
        bytes.extend_from_slice(&next(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

async fn bytes(blobs: &Blobs, key: &str, range: Option<std::ops::Range<u64>>) -> Result<Vec<u8>, BlobError> {
    let parts: Vec<Bytes> = blobs.get(key, range).await?.try_collect().await?;
    Ok(parts.concat())
}

async fn keys(blobs: &Blobs, prefix: &str) -> Vec<String> {
    let mut objects: Vec<Object> = blobs.list(prefix).try_collect().await.unwrap();
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    objects.into_iter().map(|object| object.key).collect()
}

/// What every store must do. Each starts from an empty store and leaves it so.
async fn conformance(blobs: &Blobs) {
    blobs.check().await.unwrap();
    round_trip(blobs).await;
    in_parts(blobs).await;
    ranges(blobs).await;
    missing(blobs).await;
    overwriting(blobs).await;
    listing(blobs).await;
    shorter_and_longer_files(blobs).await;
    hostile_keys(blobs).await;
    one_identity(blobs).await;
    assert_eq!(keys(blobs, "").await, Vec::<String>::new());
}

/// Whoever asks, also the first ones, all at once.
async fn one_identity(blobs: &Blobs) {
    for _ in 0..20 {
        let asking = (0..8).map(|_| {
            let blobs = blobs.clone();
            tokio::spawn(async move { blobs.identity().await.unwrap() })
        });
        let told: Vec<String> =
            asking.collect::<futures_util::stream::FuturesUnordered<_>>().try_collect().await.unwrap();
        assert!(told.len() == 8 && told.iter().all(|one| *one == told[0] && !one.is_empty()), "{told:?}");
        blobs.delete("store-id").await.unwrap();
    }
}

async fn round_trip(blobs: &Blobs) {
    for text in ["", "hello\n"] {
        let uploaded = blobs.put_file("jobs/1/1/1", file_of(text.as_bytes()), text.len() as u64).await.unwrap();
        assert_eq!(uploaded.size, text.len() as u64);
        let same = blobs.put_bytes("jobs/1/1/2", Bytes::from(text)).await.unwrap();
        assert_eq!(uploaded, same);
        assert_eq!(bytes(blobs, "jobs/1/1/1", None).await.unwrap(), text.as_bytes());
        assert_eq!(bytes(blobs, "jobs/1/1/2", None).await.unwrap(), text.as_bytes());
    }
    // printf 'hello\n' | sha256sum
    let hello = blobs.put_bytes("jobs/1/1/1", Bytes::from("hello\n")).await.unwrap();
    assert_eq!(hello.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    blobs.delete("jobs/1/1/1").await.unwrap();
    blobs.delete("jobs/1/1/2").await.unwrap();
}

async fn in_parts(blobs: &Blobs) {
    let large = noise(LARGE);
    let shown = Shown { mime: "image/png", disposition: "inline; filename=\"large.png\"" };
    let uploaded = blobs.put_file_as("large", file_of(&large), LARGE as u64, Some(&shown)).await.unwrap();
    assert_eq!(uploaded, blobs.put_bytes("at-once", Bytes::from(large.clone())).await.unwrap());
    assert!(bytes(blobs, "large", None).await.unwrap() == large);
    blobs.delete("large").await.unwrap();
    blobs.delete("at-once").await.unwrap();
}

async fn ranges(blobs: &Blobs) {
    let digits = Bytes::from("0123456789");
    blobs.put_bytes("digits", digits).await.unwrap();
    let cases = [(0..10, "0123456789"), (0..1, "0"), (3..7, "3456"), (9..10, "9"), (8..100, "89"), (4..4, "")];
    for (range, expected) in cases {
        let got = bytes(blobs, "digits", Some(range.clone())).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected, "{range:?}");
    }
    assert!(bytes(blobs, "digits", Some(10..11)).await.is_err());
    blobs.delete("digits").await.unwrap();
}

async fn missing(blobs: &Blobs) {
    for range in [None, Some(0..1)] {
        let error = bytes(blobs, "no/such/key", range).await.unwrap_err();
        assert!(matches!(&error, BlobError::Missing(key) if key == "no/such/key"), "{error}");
    }
    blobs.delete("no/such/key").await.unwrap();
    assert_eq!(blobs.delete_prefix("no/such").await.unwrap(), 0);
    assert_eq!(keys(blobs, "no").await, Vec::<String>::new());
}

async fn overwriting(blobs: &Blobs) {
    for text in ["first", "second, and longer"] {
        blobs.put_bytes("key", Bytes::from(text)).await.unwrap();
        assert_eq!(bytes(blobs, "key", None).await.unwrap(), text.as_bytes());
    }
    blobs.delete("key").await.unwrap();
}

async fn listing(blobs: &Blobs) {
    let all = ["jobs/17/1/1", "jobs/17/1/2", "jobs/17/2/1", "jobs/170/1/1"];
    for key in all {
        blobs.put_bytes(key, Bytes::from("xyz")).await.unwrap();
    }
    assert_eq!(keys(blobs, "").await, all);
    assert_eq!(keys(blobs, "jobs/17").await, all[..3]);
    let listed: Vec<Object> = blobs.list("jobs/17/2").try_collect().await.unwrap();
    assert_eq!(listed[0].size, 3);
    assert!(listed[0].modified_ms > 1_600_000_000_000);
    assert_eq!(blobs.delete_prefix("jobs/17/1").await.unwrap(), 2);
    assert_eq!(keys(blobs, "jobs").await, all[2..]);
    assert_eq!(blobs.delete_prefix("jobs/17").await.unwrap(), 1);
    assert_eq!(keys(blobs, "").await, all[3..]);
    blobs.delete(all[3]).await.unwrap();
}

async fn shorter_and_longer_files(blobs: &Blobs) {
    for size in [10, LARGE] {
        let file = file_of(&noise(size));
        let error = blobs.put_file("key", file, size as u64 + 1).await.unwrap_err();
        assert!(matches!(&error, BlobError::Source(_)), "{error}");
        assert!(error.to_string().contains(&format!("{} bytes were expected", size + 1)), "{error}");
        assert!(matches!(bytes(blobs, "key", None).await, Err(BlobError::Missing(_))), "half an object is there");
    }
    let grown = file_of(&noise(LARGE));
    assert_eq!(blobs.put_file("key", grown, 9 << 20).await.unwrap().size, 9 << 20);
    assert!(bytes(blobs, "key", None).await.unwrap() == noise(9 << 20));
    blobs.delete("key").await.unwrap();
}

async fn hostile_keys(blobs: &Blobs) {
    for key in ["../key", "a//b", "", "a b", "é", "a\nb", "/abs", "a/./b", "a\\b", "a#1", "c:/x"] {
        let error = blobs.put_bytes(key, Bytes::from("x")).await.unwrap_err();
        assert!(matches!(error, BlobError::Unusable(_)), "{key:?}");
        assert!(blobs.delete_prefix(key).await.is_err(), "{key:?}");
        assert!(blobs.local_file(key).is_none(), "{key:?}");
    }
}

#[tokio::test]
async fn memory() {
    let blobs = open("memory:", &[]);
    conformance(&blobs).await;
    let url = blobs.signed_url("key", Duration::from_secs(60), "text/plain", "inline").await;
    assert_eq!(url.unwrap(), None);
    assert_eq!(blobs.local_file("key"), None);
}

#[tokio::test]
async fn folder() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&format!("file:{}", dir.path().join("a/b").display()), &[]);
    conformance(&blobs).await;
    assert_eq!(blobs.signed_url("key", Duration::from_secs(60), "text/plain", "inline").await.unwrap(), None);
    assert!(files(&dir).is_empty(), "leaves {:?}", files(&dir));

    blobs.put_bytes("jobs/1/1/1", Bytes::from("text")).await.unwrap();
    let mut text = String::new();
    let path = blobs.local_file("jobs/1/1/1").unwrap();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

/// What a power cut leaves of an upload.
#[tokio::test]
async fn half_written_files_of_a_folder_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&format!("file:{}", dir.path().display()), &[]);
    blobs.put_bytes("jobs/1/1/1", Bytes::from("text")).await.unwrap();
    std::fs::write(dir.path().join("jobs/1/1/2#1"), "ha").unwrap();
    assert_eq!(keys(&blobs, "jobs/1").await, ["jobs/1/1/1"]);
    assert_eq!(blobs.delete_prefix("jobs/1/1").await.unwrap(), 1);
    assert!(files(&dir).is_empty(), "leaves {:?}", files(&dir));
}

/// An upload that its task gives up leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn given_up_uploads_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&format!("file:{}", dir.path().display()), &[]);
    let endless = tempfile::tempfile().unwrap();
    endless.set_len(1 << 40).unwrap();
    let upload = tokio::spawn(async move { blobs.put_file("key", endless, 1 << 40).await });
    until(|| !files(&dir).is_empty());
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    until(|| files(&dir).is_empty());
}

fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

fn files(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

#[tokio::test]
async fn s3() {
    let Some(server) = S3::shared() else { return };
    conformance(&open(&format!("s3://{BUCKET}/conformance/deep"), &server.options())).await;
}

#[tokio::test]
async fn s3_by_the_section_of_the_original() {
    let Some(server) = S3::shared() else { return };
    let aws = Aws {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: SECRET_KEY.to_owned(),
        region: "us-east-1".to_owned(),
        artifacts_bucket: BUCKET.to_owned(),
    };
    let options = [("endpoint".to_owned(), server.endpoint())].into();
    let blobs = Blobs::open(&Storage { url: None, options }, Some(&aws)).unwrap();
    let old = "3/1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8";
    blobs.put_bytes(old, Bytes::from("old")).await.unwrap();
    let url = blobs.signed_url(old, Duration::from_secs(60), "image/png", "inline").await.unwrap().unwrap();
    assert!(url.contains(&format!("/{BUCKET}/{old}?")), "{url}");
    assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "old");
    blobs.delete(old).await.unwrap();
}

#[tokio::test]
async fn s3_serves_what_it_signs() {
    let Some(server) = S3::shared() else { return };
    let blobs = open(&format!("s3://{BUCKET}/signed"), &server.options());
    blobs.put_bytes("1", Bytes::from("0123456789")).await.unwrap();
    let disposition = "attachment; filename=\"_.html\"; filename*=UTF-8''%C3%A9.html";
    let sign = |seconds| blobs.signed_url("1", Duration::from_secs(seconds), "text/html", disposition);
    let url = sign(7200).await.unwrap().unwrap();
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/html");
    assert_eq!(answer.headers()["content-disposition"], disposition);
    assert_eq!(answer.text().await.unwrap(), "0123456789");

    let part = reqwest::Client::new().get(&url).header("Range", "bytes=3-5").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.text().await.unwrap(), "345");

    let other = url.replace("/signed/1?", "/signed/2?").replace("text%2Fhtml", "text%2Fplain");
    assert_ne!(other, url);
    assert_eq!(reqwest::get(&other).await.unwrap().status(), 403);

    let short = sign(1).await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while reqwest::get(&short).await.unwrap().status() != 403 {
        assert!(Instant::now() < deadline, "it is served after its time");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    blobs.delete("1").await.unwrap();
}

#[tokio::test]
async fn s3_says_what_is_wrong_with_its_settings() {
    let Some(server) = S3::shared() else { return };
    let mut options = server.options();
    let error = open("s3://no-such-bucket", &options).check().await.unwrap_err();
    assert!(matches!(error, BlobError::Unusable(_)) && error.to_string().contains("s3://no-such-bucket"), "{error}");
    options[3].1 = "wrong".to_owned();
    let error = open(&format!("s3://{BUCKET}"), &options).check().await.unwrap_err();
    assert!(matches!(error, BlobError::Unusable(_)) && error.to_string().contains("secret"), "{error}");
    options[2].1 = "nobody".to_owned();
    let error = open(&format!("s3://{BUCKET}"), &options).check().await.unwrap_err();
    assert!(matches!(error, BlobError::Unusable(_)) && error.to_string().contains("access key"), "{error}");
}

/// Nobody listens there: that may pass.
#[tokio::test]
async fn s3_that_is_down_may_come_back() {
    let nobody = nobody();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    let options = [("endpoint", endpoint), ("access_key_id", "x".to_owned())];
    let mut options = options.to_vec();
    options.push(("secret_access_key", "x".to_owned()));
    let started = Instant::now();
    let error = open("s3://bucket", &options).check().await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "it tried for {:?}", started.elapsed());
}
