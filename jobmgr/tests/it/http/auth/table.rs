//! Every route of the document with every credential.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::client::{DEADLINE, Server};
use super::{Key, bearer, dead, guarded, key};

/// Who may, of `read`, `submit` and `admin`, by their first letters; `*`: everybody. Written down here once more: a
/// route that changes hands, or is new, has to be told to this test too.
const MAY: &[(&str, &str, &str)] = &[
    ("GET", "/", "*"),
    ("GET", "/healthz", "*"),
    ("GET", "/readyz", "*"),
    ("GET", "/docs", "*"),
    ("GET", "/openapi.json", "*"),
    ("GET", "/artifacts/content", "*"),
    ("PUT", "/artifacts/upload", "*"),
    ("GET", "/inputs/content", "*"),
    ("POST", "/jobs/start", "sa"),
    ("GET", "/jobs/get", "rsa"),
    ("GET", "/artifacts/download", "rsa"),
    ("GET", "/v1/jobs", "rsa"),
    ("POST", "/v1/jobs", "sa"),
    ("POST", "/v1/jobs/batch", "sa"),
    ("POST", "/v1/run/{jobspec}", "sa"),
    ("POST", "/v1/jobs/upload", "sa"),
    ("POST", "/v1/run/{jobspec}/upload", "sa"),
    ("POST", "/v1/inputs", "sa"),
    ("GET", "/v1/inputs/{id}", "rsa"),
    ("DELETE", "/v1/inputs/{id}", "sa"),
    ("GET", "/v1/jobs/{id}", "rsa"),
    ("DELETE", "/v1/jobs/{id}", "a"),
    ("POST", "/v1/jobs/{id}/cancel", "sa"),
    ("POST", "/v1/jobs/{id}/retry", "sa"),
    ("GET", "/v1/jobs/{id}/attempts", "rsa"),
    ("GET", "/v1/jobs/{id}/logs", "rsa"),
    ("GET", "/v1/jobs/{id}/events", "rsa"),
    ("GET", "/v1/events", "rsa"),
    ("GET", "/v1/events/ws", "rsa"),
    ("GET", "/v1/jobs/{id}/artifacts", "rsa"),
    ("GET", "/v1/jobs/{id}/artifacts.zip", "rsa"),
    ("GET", "/v1/artifacts/{id}/content", "rsa"),
    ("GET", "/v1/jobs/{id}/deliveries", "rsa"),
    ("GET", "/v1/jobspecs", "rsa"),
    ("GET", "/v1/jobspecs/{name}", "rsa"),
    ("GET", "/v1/stats", "rsa"),
    ("GET", "/v1/executors", "rsa"),
    ("GET", "/metrics", "ra"),
    ("GET", "/v1/workers", "ra"),
    ("POST", "/v1/workers/{id}/drain", "a"),
    ("GET", "/v1/me", "rsa"),
    ("GET", "/v1/tokens", "a"),
    ("POST", "/v1/tokens", "a"),
    ("DELETE", "/v1/tokens/{id}", "a"),
    ("GET", "/v1/webhooks", "a"),
    ("POST", "/v1/webhooks", "a"),
    ("GET", "/v1/webhooks/{id}", "a"),
    ("PATCH", "/v1/webhooks/{id}", "a"),
    ("DELETE", "/v1/webhooks/{id}", "a"),
    ("POST", "/v1/webhooks/{id}/rotate", "a"),
    ("POST", "/v1/webhooks/{id}/test", "a"),
    ("GET", "/v1/webhooks/{id}/deliveries", "a"),
    ("POST", "/v1/webhooks/{id}/deliveries/{delivery}/redeliver", "a"),
];

/// Routes that the document need not tell.
const NOT_TOLD: [&str; 5] = ["/docs", "/openapi.json", "/artifacts/content", "/artifacts/upload", "/inputs/content"];

#[tokio::test]
async fn the_table_has_every_route() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let described = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.to_owned()))
    });
    let described: BTreeSet<(String, String)> = described.collect();
    let told = MAY.iter().filter(|(_, path, _)| !NOT_TOLD.contains(path));
    let told: BTreeSet<_> = told.map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(told, described, "a route is missing in this table, or is gone");
    let known: BTreeSet<(&str, &str)> = jobmgr::http::ROUTES.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(known, MAY.iter().map(|(method, path, _)| (*method, *path)).collect());
}

/// Something that nobody has, where a path names something.
fn filled(path: &str) -> String {
    path.replace("{id}", "999999")
        .replace("{delivery}", "999999")
        .replace("{name}", "nothing")
        .replace("{jobspec}", "nothing")
        .replace("{delivery}", "999999")
}

/// The head of an answer: some answers stay open.
async fn status(server: &Server, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = server.connect().await;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = timeout(DEADLINE, stream.read_buf(&mut head)).await.expect("an answer in time").unwrap();
        assert!(read > 0, "{method} {path}: the connection was closed: {}", String::from_utf8_lossy(&head));
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

/// What is no credential, in many ways.
async fn bad(server: &Server, good: &Key) -> Vec<(String, String)> {
    let text = &good.text;
    let unknown = jobmgr::auth::Secret::random().unwrap().reveal().to_owned();
    let [expired, revoked] = dead(server).await;
    let headers = [
        ("none", String::new()),
        ("empty", "Authorization:\r\n".to_owned()),
        ("no token", "Authorization: Bearer\r\n".to_owned()),
        ("malformed", bearer("jm_nothing")),
        ("unknown", bearer(&unknown)),
        ("expired", expired.header()),
        ("revoked", revoked.header()),
        ("other case", bearer(&text.to_lowercase())),
        ("a prefix", bearer(&text[..text.len() - 1])),
        ("longer", bearer(&format!("{text}0"))),
        ("two spaces", bearer(&format!(" {text}"))),
        ("long", bearer(&"jm_x".repeat(10_000))),
        ("basic", format!("Authorization: Basic {text}\r\n")),
        ("twice", format!("{}{}", bearer(text), bearer(text))),
        ("another header", format!("X-Api-Key: {text}\r\nCookie: token={text}\r\n")),
    ];
    headers.into_iter().map(|(what, header)| (what.to_owned(), header)).collect()
}

#[tokio::test]
async fn who_shows_no_token_that_holds_is_refused_everywhere_alike() {
    let server = guarded().await;
    let good = key(&server, "good", "admin").await;
    let bad = bad(&server, &good).await;
    for (method, path, may) in MAY {
        let path = filled(path);
        let mut answers = BTreeSet::new();
        for (what, header) in &bad {
            let (status, head) = status(&server, method, &path, header).await;
            if *may == "*" {
                assert!(status != 401 && status != 429, "{method} {path}, {what}: {status}");
                continue;
            }
            assert_eq!(status, 401, "{method} {path}, {what}");
            assert!(head.contains("www-authenticate: Bearer\r\n"), "{method} {path}, {what}: {head}");
            let reply = server.ask(method, &path, header).await;
            answers.insert(reply.text().to_owned());
        }
        assert!(answers.len() <= 1, "{method} {path}: who is refused learns why: {answers:?}");
        let query = format!("{path}?token={text}&access_token={text}", text = good.text);
        assert!(*may == "*" || status(&server, method, &query, "").await.0 == 401, "{method} {path}: in the query");
    }
}

#[tokio::test]
async fn each_scope_opens_what_it_says_and_nothing_else() {
    let server = guarded().await;
    for scope in ["read", "submit", "admin"] {
        let key = key(&server, scope, scope).await;
        for (method, path, may) in MAY {
            let (status, _) = status(&server, method, &filled(path), &key.header()).await;
            let allowed = *may == "*" || may.contains(&scope[..1]);
            // Those whose addresses are signed refuse one that is not.
            let signed = ["/artifacts/content", "/artifacts/upload", "/inputs/content"].contains(path);
            let refused = status == 403 && !signed;
            assert!(status != 401 && allowed != refused, "{method} {path} with {scope}: {status}");
        }
    }
}

#[tokio::test]
async fn the_classic_endpoints_refuse_in_their_own_way() {
    let server = guarded().await;
    for (method, path) in [("POST", "/jobs/start"), ("GET", "/jobs/get?id=1"), ("GET", "/artifacts/download?id=1")] {
        let reply = server.ask(method, path, "").await;
        reply.assert(401, "{\"status\":\"error\",\"error\":\"unauthorized\"}\n");
        assert_eq!(reply.header("content-type"), "application/json");
    }
    let reader = key(&server, "reader", "read").await;
    let reply = server.ask("POST", "/jobs/start", &reader.header()).await;
    reply.assert(403, "{\"status\":\"error\",\"error\":\"forbidden\"}\n");
    let reply = server.ask("DELETE", "/v1/jobs/1", &reader.header()).await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!((reply.status, &reply.json()["code"]), (403, &"forbidden".into()));
}
