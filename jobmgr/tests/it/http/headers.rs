//! What every answer says to a browser.

use jobmgr::config;

use super::client::{Reply, Server};

fn strict(reply: &Reply) -> bool {
    reply.header("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
        && reply.header("cross-origin-resource-policy") == "same-origin"
}

#[tokio::test]
async fn every_answer_says_how_little_may_be_done_with_it() {
    let server = Server::with(config::Server::default()).await;
    let claim = server.claimed("x").await;
    server.finish(&claim, Default::default(), None, vec![]).await;
    // What jobs wrote is a stranger's, whatever its name says.
    for path in ["/v1/jobs/1/logs", "/v1/jobs/1/artifacts.zip"] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("x-content-type-options")), (200, "nosniff"), "{path}");
        assert!(reply.header("content-security-policy").starts_with("default-src 'none'; "), "{path}: {reply:?}");
        assert_eq!(reply.header("cache-control"), "private", "{path}");
    }
    let asked = [
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/jobs/get?id=1"),
        ("POST", "/jobs/start"),
        ("GET", "/artifacts/download?id=9"),
        ("GET", "/artifacts/content?id=9"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/1"),
        ("GET", "/v1/jobs/9"),
        ("DELETE", "/v1/jobs/1"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/executors"),
        ("GET", "/v1/stats"),
        ("GET", "/nope"),
        ("TRACE", "/"),
    ];
    for (method, path) in asked {
        let reply = server.ask(method, path, "").await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{method} {path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{method} {path}");
        assert!(strict(&reply), "{method} {path}: {reply:?}");
        let cache = if path == "/openapi.json" { "no-cache" } else { "no-store" };
        assert_eq!(reply.header("cache-control"), cache, "{method} {path}");
    }
    for bad in ["Host: evil.example", "Host: localhost\r\nOrigin: null", "Host: localhost\r\nHost: localhost"] {
        let reply = server.send(format!("GET /v1/jobs HTTP/1.1\r\n{bad}\r\nConnection: close\r\n\r\n")).await;
        assert!(strict(&reply) && reply.header("x-content-type-options") == "nosniff", "{bad}: {reply:?}");
    }
}

#[tokio::test]
async fn pages_and_artifacts_have_a_policy_of_their_own() {
    let server = Server::start().await;
    let page = server.get("/docs").await;
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!((page.header("referrer-policy"), page.header("cache-control")), ("no-referrer", "no-cache"));
    let claim = server.claimed("x").await;
    let artifact = server.artifact(claim.id, "a.png", "image/png", b"png").await;
    server.finish(&claim, Default::default(), None, vec![artifact]).await;
    let artifact = server.get("/v1/artifacts/1/content").await;
    assert_eq!(artifact.header("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!((artifact.header("cache-control"), artifact.header("cross-origin-resource-policy")), ("private", ""));
    let etag = artifact.header("etag").to_owned();
    let same = server.ask("GET", "/v1/artifacts/1/content", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((same.status, same.header("cache-control")), (304, ""));
}
