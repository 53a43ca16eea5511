//! `GET /artifacts/download`, and the addresses that it gives.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::{DEADLINE, Reply, Server};
use crate::support::programs::{or_skip, run};

const BYTES: &[u8] = b"0123456789";

/// A job with one artifact, and the address of its bytes.
async fn with_artifact(name: &str, mime: &str, bytes: &[u8]) -> (Server, String) {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let artifact = server.artifact(claim.id, "1", "", bytes).await;
    let artifact = jobmgr::domain::job::Artifact { name: name.into(), mime: mime.into(), ..artifact };
    server.finish(&claim, Default::default(), None, vec![artifact]).await;
    let reply = server.get("/artifacts/download?id=1").await;
    assert_eq!((reply.status, reply.header("cache-control")), (307, "no-store"));
    let address = reply.header("location").to_owned();
    (server, address)
}

fn assert_part(reply: &Reply, range: &str, bytes: &[u8]) {
    assert_eq!((reply.status, reply.header("content-range")), (206, range));
    assert_eq!(reply.body, bytes);
    assert_eq!(reply.header("content-length"), bytes.len().to_string());
}

#[tokio::test]
async fn the_bytes_come_with_their_type_and_can_do_no_harm() {
    let (server, address) = with_artifact("a.png", "image/png", BYTES).await;
    let reply = server.get(&address).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, BYTES));
    assert_eq!(reply.header("content-type"), "image/png");
    assert_eq!(reply.header("content-disposition"), "inline; filename=\"a.png\"");
    assert_eq!(reply.header("content-length"), "10");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(reply.header("accept-ranges"), "bytes");
    let head = server.ask("HEAD", &address, "").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "10"));
    assert_eq!(head.header("etag"), reply.header("etag"));
}

#[tokio::test]
async fn row_65_active_types_are_attachments() {
    for (name, mime) in [("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.pdf", "application/pdf")] {
        let (server, address) = with_artifact(name, mime, b"<script>").await;
        for address in [address.as_str(), "/v1/artifacts/1/content"] {
            let reply = server.get(address).await;
            assert!(reply.header("content-disposition").starts_with("attachment"), "{name}: {reply:?}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{name}");
            assert_eq!(reply.header("content-security-policy"), "default-src 'none'; sandbox", "{name}");
        }
    }
}

#[tokio::test]
async fn names_and_types_never_break_the_answer() {
    let (server, address) = with_artifact("new\nline é\".txt", "bad\r\nX-Evil: 1", BYTES).await;
    let reply = server.get(&address).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, BYTES));
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    assert!(!reply.headers.contains_key("x-evil"));
}

#[tokio::test]
async fn row_67_parts() {
    let (server, address) = with_artifact("a", "text/plain", BYTES).await;
    let part = async |range: &str| server.ask("GET", &address, &format!("Range: {range}\r\n")).await;
    assert_part(&part("bytes=0-0").await, "bytes 0-0/10", b"0");
    assert_part(&part("bytes=4-").await, "bytes 4-9/10", b"456789");
    assert_part(&part("bytes=-3").await, "bytes 7-9/10", b"789");
    let none = part("bytes=10-").await;
    assert_eq!((none.status, none.header("content-range"), none.body.len()), (416, "bytes */10", 0));
    assert_eq!(part("bytes=0-1,3-4").await.body, BYTES);
}

#[tokio::test]
async fn row_67_what_a_client_has_is_not_sent_again() {
    let (server, address) = with_artifact("a", "text/plain", BYTES).await;
    let etag = server.get(&address).await.header("etag").to_owned();
    assert_eq!(etag, "\"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\"");
    let reply = server.ask("GET", &address, &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    let stale = server.ask("GET", &address, "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").await;
    assert_eq!((stale.status, stale.body.as_slice()), (200, BYTES));
}

#[tokio::test]
async fn row_67_a_file_of_more_than_four_gibibytes() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let artifact = server.artifact(claim.id, "1", "video/mp4", b"").await;
    let size = (5 << 30) + 7;
    // Without the bytes that nobody reads.
    let file = std::fs::File::options().write(true).open(server.api.blobs.local_file(&artifact.key).unwrap()).unwrap();
    file.set_len(size).unwrap();
    let artifact = jobmgr::domain::job::Artifact { size, ..artifact };
    server.finish(&claim, Default::default(), None, vec![artifact]).await;
    let address = server.get("/artifacts/download?id=1").await.header("location").to_owned();
    for address in [address.as_str(), "/v1/artifacts/1/content"] {
        let head = server.ask("HEAD", address, "").await;
        assert_eq!((head.status, head.header("content-length")), (200, size.to_string().as_str()), "{address}");
        let part = server.ask("GET", address, "Range: bytes=4294967294-4294967299\r\n").await;
        assert_part(&part, &format!("bytes 4294967294-4294967299/{size}"), &[0; 6]);
        assert_part(
            &server.ask("GET", address, "Range: bytes=-7\r\n").await,
            "bytes 5368709120-5368709126/5368709127",
            &[0; 7],
        );
    }
}

#[tokio::test]
async fn row_67_an_empty_file() {
    let (server, address) = with_artifact("e", "text/plain", b"").await;
    let reply = server.get(&address).await;
    assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, "0", 0));
    assert_eq!(server.ask("GET", &address, "Range: bytes=0-\r\n").await.status, 416);
}

#[tokio::test]
async fn only_our_addresses_are_served() {
    let (server, address) = with_artifact("a", "text/plain", BYTES).await;
    let wrong = [
        "/artifacts/content".to_owned(),
        "/artifacts/content?id=1".to_owned(),
        address.replace("id=1", "id=2"),
        address.replace("expires=", "expires=9"),
        address[..address.len() - 1].to_owned(),
        address.replace("signature=", "signature=0"),
    ];
    for address in wrong {
        let reply = server.get(&address).await;
        assert_eq!((reply.status, reply.header("content-type")), (403, "text/plain; charset=utf-8"), "{address}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone() {
    let (server, address) = with_artifact("a", "text/plain", BYTES).await;
    server.api.blobs.delete("1/1").await.unwrap();
    for range in ["", "Range: bytes=0-1\r\n"] {
        let reply = server.ask("GET", &address, range).await;
        reply.assert(410, "{\"status\":\"error\",\"error\":\"artifact_missing\"}\n");
    }
}

#[tokio::test]
async fn each_has_an_address_of_its_own() {
    let (server, _) = with_artifact("a.html", "text/html", BYTES).await;
    let list = server.get("/v1/jobs/1/artifacts").await.json();
    let (artifact, next) = (&list["items"][0], &list["next"]);
    assert_eq!(
        (artifact["name"].as_str(), artifact["jobID"].as_i64(), next.is_null()),
        (Some("a.html"), Some(1), true)
    );
    let url = artifact["url"].as_str().unwrap();
    assert_eq!(url, "/v1/artifacts/1/content");
    let whole = server.get(url).await;
    assert_eq!((whole.status, whole.body.as_slice(), whole.header("content-type")), (200, BYTES, "text/html"));
    assert!(whole.header("content-disposition").starts_with("attachment"));
    assert_eq!(whole.header("etag"), format!("\"{}\"", artifact["sha256"].as_str().unwrap()));
    assert_part(&server.ask("GET", url, "Range: bytes=2-4\r\n").await, "bytes 2-4/10", b"234");
    let beyond = server.ask("GET", url, "Range: bytes=10-\r\n").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */10"));
    assert_eq!(beyond.json()["code"], "range_not_satisfiable");
    let same = format!("If-None-Match: {}\r\n", whole.header("etag"));
    assert_eq!(server.ask("GET", url, &same).await.status, 304);
    let head = server.ask("HEAD", url, "").await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "10"));
    let elsewhere = server.get(&format!("{url}?redirect=true")).await;
    assert_eq!((elsewhere.status, elsewhere.header("cache-control")), (307, "no-store"));
    assert_eq!(server.get(elsewhere.header("location")).await.body, BYTES);
}

/// Unpacked by somebody else's program.
#[tokio::test]
async fn all_of_a_job_come_in_one_file() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let mut artifacts = Vec::new();
    let large = vec![b'x'; 3 << 20];
    for (number, (name, bytes)) in
        [("a.txt", b"one".as_slice()), ("sub/é.bin", &large), ("../outside", b"two"), ("empty", b"")]
            .into_iter()
            .enumerate()
    {
        let artifact = server.artifact(claim.id, &number.to_string(), "text/plain", bytes).await;
        artifacts.push(jobmgr::domain::job::Artifact { name: name.into(), ..artifact });
    }
    server.finish(&claim, Default::default(), None, artifacts).await;
    let reply = server.get("/v1/jobs/1/artifacts.zip").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/zip"));
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"job-1.zip\"");
    let file = server.dir.path().join("all.zip");
    std::fs::write(&file, reply.dechunked().unwrap()).unwrap();
    let folder = server.dir.path().join("unpacked");
    let script =
        "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])";
    let python = if cfg!(windows) { "python" } else { "python3" };
    let unpacked = run(std::process::Command::new(python).args(["-c", script]).arg(&file).arg(&folder));
    if or_skip("python3", unpacked).is_none() {
        return;
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert_eq!((read("a.txt"), read("outside"), read("empty")), (b"one".to_vec(), b"two".to_vec(), Vec::new()));
    assert_eq!(read("sub/é.bin"), large);
    assert_eq!(server.get("/v1/jobs/7/artifacts.zip").await.status, 404);
    // What is gone can't be sent whole, and that shows.
    std::fs::remove_file(server.dir.path().join("store/1/1")).unwrap();
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v1/jobs/1/artifacts.zip HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut sent = Vec::new();
    // At once, sometimes: before even the head has left.
    drop(timeout(DEADLINE, stream.read_to_end(&mut sent)).await.unwrap());
    assert!(!sent.ends_with(b"0\r\n\r\n"), "it has the last chunk");
}

#[tokio::test]
async fn problems_say_what_is_not_there() {
    let (server, _) = with_artifact("a", "text/plain", BYTES).await;
    let code = async |path: &str| {
        let reply = server.get(path).await;
        (reply.status, reply.json()["code"].as_str().unwrap().to_owned())
    };
    for path in ["/v1/artifacts/7/content", "/v1/artifacts/x/content", "/v1/jobs/7/artifacts"] {
        assert_eq!(code(path).await, (404, "not_found".into()), "{path}");
    }
    assert_eq!(code("/v1/artifacts/1/content?redirect=maybe").await, (422, "invalid_parameters".into()));
    let store = server.dir.path().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    assert_eq!(code("/v1/artifacts/1/content").await, (410, "gone".into()));
}
