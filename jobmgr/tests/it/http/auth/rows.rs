//! Rows of the list of faults, by their numbers.

use jobmgr::config;
use jobmgr::domain::job::{Log, LogBody};

use super::super::client::{Reply, Server};
use super::{Key, bearer, guarded, key, submitted};

/// A server with a job of `ann`'s that left a file, and one of `bob`'s that waits.
async fn two_users() -> (Server, Key, Key, [i64; 2]) {
    let server = guarded().await;
    server.spec("x", "Command = 'x'");
    let (ann, bob) = (key(&server, "ann", "submit").await, key(&server, "bob", "submit").await);
    let hers = submitted(&server, &ann, "x").await;
    let claim = server.claim().await;
    let artifact = server.artifact(hers, "a.txt", "text/plain", b"hers").await;
    let stdout = Log { written: 4, body: LogBody::Inline(b"said".to_vec()) };
    server.finish(&claim, stdout, None, vec![artifact]).await;
    let his = submitted(&server, &bob, "x").await;
    (server, ann, bob, [hers, his])
}

async fn codes(server: &Server, key: &Key, routes: &[(&str, String)]) -> Vec<(u16, String)> {
    let mut codes = Vec::new();
    for (method, path) in routes {
        let reply = server.ask(method, path, &key.header()).await;
        let shown = if reply.status < 400 { String::new() } else { reply.text().to_owned() };
        codes.push((reply.status, shown));
    }
    codes
}

#[tokio::test]
async fn row_18_who_may_is_decided_by_the_route_that_answers() {
    let server = guarded().await;
    let paths = [
        "/v1/jobs",
        "//v1/jobs",
        "/v1//jobs",
        "/v1/jobs/",
        "/v1/%6aobs",
        "/V1/JOBS",
        "/v1/jobs;x",
        "/./v1/jobs",
        "/healthz/../v1/jobs",
        "/docs/..%2fv1/jobs",
        "/v1/jobs%00",
        "/v1/jobs#x",
        "/v1/jobs?/healthz",
        "/v1\\jobs",
        "http://localhost/v1/jobs",
        "/v1/jobs/1",
        "/v1/jobs/1/../1",
        "/v1/jobs/1%2f",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"] {
            let overridden = "X-HTTP-Method-Override: GET\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\n";
            let reply = server.ask(method, path, overridden).await;
            assert!([400, 401, 404, 405].contains(&reply.status), "{method} {path}: {}", reply.status);
        }
    }
}

#[tokio::test]
async fn row_97_no_token_in_an_address_and_no_page_of_others() {
    let server = guarded().await;
    let key = key(&server, "page", "admin").await;
    let text = &key.text;
    for query in [format!("token={text}"), format!("access_token={text}"), format!("authorization=Bearer%20{text}")] {
        assert_eq!(server.get(&format!("/v1/jobs?{query}")).await.status, 401);
    }
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for path in ["/v1/events/ws", "/v1/jobs"] {
        let headers = format!("{}{upgrade}Origin: http://evil.example\r\n", key.header());
        assert_eq!(server.ask("GET", path, &headers).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn row_98_pages_and_names_of_others_are_refused_with_a_token_too() {
    let server = Server::start().await;
    server.spec("x", "Command = 'x'");
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        for path in ["/v1/jobs", "/v1/jobs/1", "/v1/tokens", "/v1/me", "/jobs/start"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
            assert_eq!(server.send(request).await.status, 421, "{method} {path}");
            for origin in ["null", "http://evil.example", "https://localhost.evil.example"] {
                let reply = server.ask(method, path, &format!("Origin: {origin}\r\n")).await;
                assert_eq!(reply.status, 403, "{method} {path} {origin}");
            }
        }
    }
    // What a page's form can send without asking first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        assert_eq!(server.post("/v1/jobs", kind, "{\"name\":\"x\"}").await.status, 415, "{kind}");
    }
    assert_eq!(server.api.store.unfinished().await.unwrap(), 0);
}

#[tokio::test]
async fn row_99_a_token_is_exact() {
    let server = guarded().await;
    let good = key(&server, "good", "read").await;
    assert_eq!(server.ask("GET", "/v1/me", &good.header()).await.status, 200);
    assert_eq!(server.ask("GET", "/v1/me", &format!("authorization: bearer {}\r\n", good.text)).await.status, 200);
    let text = good.text.as_bytes();
    for at in 0..text.len() {
        let mut other = text.to_vec();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        let reply = server.ask("GET", "/v1/me", &bearer(std::str::from_utf8(&other).unwrap())).await;
        assert_eq!(reply.status, 401, "{at}");
    }
    // A head of a MiB is not read to its end.
    let long = server.ask("GET", "/v1/me", &bearer(&"j".repeat(60_000))).await;
    assert_eq!(long.status, 401);
    let refused = server.ask("GET", "/v1/me", "").await;
    assert_eq!(long.text(), refused.text());
}

#[tokio::test]
async fn row_100_each_sees_what_it_may_and_nothing_else() {
    let (server, ann, bob, [hers, his]) = two_users().await;
    let reader = key(&server, "reader", "read").await;
    let ids = |reply: Reply| -> Vec<i64> {
        let json = reply.json();
        json["items"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect()
    };
    let list = async |key: &Key, query: &str| ids(server.ask("GET", &format!("/v1/jobs{query}"), &key.header()).await);
    assert_eq!(list(&ann, "").await, [hers]);
    assert_eq!(list(&bob, "").await, [his]);
    assert_eq!(list(&reader, "").await, [his, hers]);
    let [of_ann, of_bob] = [&ann, &bob].map(|key| key.token.user_id);
    assert_ne!(of_ann, of_bob);
    assert_eq!(list(&bob, &format!("?user={of_ann}")).await, [0; 0]);
    assert_eq!(list(&bob, &format!("?user={of_bob}")).await, [his]);
    assert_eq!(list(&reader, &format!("?user={of_ann}")).await, [hers]);
    assert_eq!(list(&bob, "?status=completed").await, [0; 0]);
    let stats = async |key: &Key| server.ask("GET", "/v1/stats", &key.header()).await.json();
    let (bobs, readers) = (stats(&bob).await, stats(&reader).await);
    assert_eq!((&bobs["queued"], &bobs["completed"]), (&1.into(), &0.into()));
    assert_eq!((&readers["queued"], &readers["completed"]), (&1.into(), &1.into()));
    assert!(stats(&ann).await["oldestQueuedMs"].is_null());
    // What is nobody's own is for those who see all.
    assert_eq!(server.ask("GET", "/v1/workers", &bob.header()).await.status, 403);
    assert_eq!(server.ask("GET", "/v1/workers", &reader.header()).await.status, 200);
    // The document shows jobspecs to those who may call.
    let document = async |headers: &str| server.ask("GET", "/openapi.json", headers).await.json();
    assert!(document(&bob.header()).await["paths"]["/v1/run/x"].is_object());
    for stranger in [String::new(), bearer("jm_wrong")] {
        assert!(document(&stranger).await["paths"]["/v1/run/x"].is_null());
        assert!(!server.ask("GET", "/docs", &stranger).await.text().contains("run_x"));
    }
}

/// What is another user's looks as if it were not there.
#[tokio::test]
async fn row_100_another_users_job_is_not_there() {
    let (server, ann, bob, [hers, _]) = two_users().await;
    let shown = server.ask("GET", &format!("/v1/jobs/{hers}"), &ann.header()).await.json();
    let artifact = shown["artifacts"][0]["id"].as_i64().unwrap();
    let nobodys = 999_999;
    let routes = |job: i64, artifact: i64| {
        [
            ("GET", format!("/v1/jobs/{job}")),
            ("GET", format!("/v1/jobs/{job}?wait=1s")),
            ("GET", format!("/v1/jobs/{job}/attempts")),
            ("GET", format!("/v1/jobs/{job}/events")),
            ("GET", format!("/v1/jobs/{job}/logs")),
            ("GET", format!("/v1/jobs/{job}/logs?follow=true")),
            ("GET", format!("/v1/jobs/{job}/artifacts")),
            ("GET", format!("/v1/jobs/{job}/artifacts.zip")),
            ("GET", format!("/v1/artifacts/{artifact}/content")),
            ("GET", format!("/v1/artifacts/{artifact}/content?redirect=true")),
            ("POST", format!("/v1/jobs/{job}/cancel")),
            ("POST", format!("/v1/jobs/{job}/retry")),
        ]
    };
    let hidden = codes(&server, &bob, &routes(hers, artifact)).await;
    let nothing = codes(&server, &bob, &routes(nobodys, nobodys)).await;
    for ((path, (status, text)), (_, like)) in routes(hers, artifact).iter().zip(hidden).zip(nothing) {
        assert_eq!(status, 404, "{path:?}: {text}");
        let same = text.replace(&format!(" {hers}\""), " N\"").replace(&format!(" {artifact}\""), " N\"");
        assert_eq!(same, like.replace(&format!(" {nobodys}\""), " N\""), "{path:?}");
    }
    for path in [format!("/jobs/get?id={hers}"), format!("/artifacts/download?id={artifact}")] {
        server.ask("GET", &path, &bob.header()).await.assert_error("not_found");
        assert_ne!(server.ask("GET", &path, &ann.header()).await.json_or_null()["error"], "not_found", "{path}");
    }
    let own = codes(&server, &ann, &routes(hers, artifact)).await;
    let statuses: Vec<u16> = own.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 200, 307, 409, 201]);
}

#[tokio::test]
async fn who_sees_all_changes_its_own_only() {
    let (server, _, bob, [hers, his]) = two_users().await;
    let both = key(&server, "both", "read,submit").await;
    for path in [format!("/v1/jobs/{his}/cancel"), format!("/v1/jobs/{hers}/retry")] {
        let reply = server.ask("POST", &path, &both.header()).await;
        assert_eq!((reply.status, &reply.json()["code"]), (403, &"forbidden".into()), "{path}");
    }
    assert_eq!(server.ask("GET", &format!("/v1/jobs/{his}"), &both.header()).await.status, 200);
    let admin = key(&server, "root", "admin").await;
    assert_eq!(server.ask("POST", &format!("/v1/jobs/{his}/cancel"), &admin.header()).await.status, 202);
    let again = server.ask("POST", &format!("/v1/jobs/{hers}/retry"), &admin.header()).await.json();
    assert_eq!((&again["userID"], &again["retryOf"]), (&admin.token.user_id.into(), &hers.into()));
    assert_eq!(server.ask("DELETE", &format!("/v1/jobs/{hers}"), &bob.header()).await.status, 403);
    assert_eq!(server.ask("DELETE", &format!("/v1/jobs/{hers}"), &admin.header()).await.status, 204);
}

#[tokio::test]
async fn an_input_is_its_users_own() {
    let (server, ann, bob, _) = two_users().await;
    let spec = "Command = 'x'\n[[Parameter]]\nName = 'data'\nType = 'file'\n";
    std::fs::write(server.api.config.jobspecs.join("files.toml"), spec).unwrap();
    let upload = format!(
        "POST /v1/inputs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\
         Content-Type: application/octet-stream\r\n{}\r\none",
        ann.header()
    );
    let id = server.send(upload).await.json()["id"].as_i64().unwrap();
    let path = format!("/v1/inputs/{id}");
    let both = key(&server, "both", "read,submit").await;
    for (method, headers, status) in [
        ("GET", ann.header(), 200),
        ("GET", bob.header(), 404),
        ("DELETE", bob.header(), 404),
        ("GET", both.header(), 200),
        ("DELETE", both.header(), 403),
    ] {
        assert_eq!(server.ask(method, &path, &headers).await.status, status, "{method} {headers}");
    }
    for (path, body) in [
        ("/v1/run/files", format!("{{\"data\":{id}}}")),
        ("/v1/jobs", format!("{{\"name\":\"files\",\"parameters\":{{\"data\":{id}}}}}")),
    ] {
        assert_eq!(server.send_json("POST", path, &bob.header(), &body).await.status, 422, "{path}");
        let reply = server.send_json("POST", path, &ann.header(), &body).await;
        assert_eq!((reply.status, &reply.json()["userID"]), (201, &ann.token.user_id.into()), "{path}");
    }
    assert_eq!(server.ask("DELETE", &path, &ann.header()).await.status, 409, "a job has it");
}

#[tokio::test]
async fn keys_of_submissions_are_each_users_own() {
    let (server, ann, bob, _) = two_users().await;
    let submit = async |key: &Key| {
        let headers = format!("{}Idempotency-Key: same\r\n", key.header());
        server.send_json("POST", "/v1/jobs", &headers, "{\"name\":\"x\"}").await
    };
    let (first, second, again) = (submit(&ann).await, submit(&bob).await, submit(&ann).await);
    assert_eq!((first.status, second.status, again.status), (201, 201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_ne!(first.json()["id"], second.json()["id"]);
    assert_eq!(second.json()["userID"], bob.token.user_id);
}

#[tokio::test]
async fn row_102_the_page_takes_nothing_from_the_query() {
    let server = guarded().await;
    let plain = server.get("/docs").await;
    assert!(plain.header("content-security-policy").contains("connect-src 'self'"));
    for query in ["?url=https://evil.example/x.json", "?configUrl=https://evil.example", "?oauth2RedirectUrl=x"] {
        let reply = server.get(&format!("/docs{query}")).await;
        assert!(reply.status == 200 && reply.body == plain.body, "{query}");
    }
}

#[tokio::test]
async fn a_good_token_is_not_needed_where_none_is_asked_for() {
    let server = Server::with(config::Server { auth: Some(config::Auth::None), ..config::Server::default() }).await;
    let good = key(&server, "good", "read").await;
    for headers in [String::new(), good.header(), "X-Forwarded-For: 10.0.0.1\r\nAuthorization: Basic eDp5\r\n".into()] {
        let me = server.ask("GET", "/v1/me", &headers).await.json();
        assert_eq!((&me["userID"], &me["scopes"]), (&1.into(), &serde_json::json!(["admin"])), "{headers}");
    }
}
