//! The audit log.

use std::time::Duration;

use jobmgr::auth::Entry;

use super::super::client::Server;
use super::{guarded, key, submitted};

async fn entries(server: &Server) -> Vec<Entry> {
    server.api.audit.flush().await;
    let mut entries = server.api.store.audited(Duration::from_secs(3600), 1000).await.unwrap();
    entries.reverse();
    entries
}

fn in_short(entries: &[Entry]) -> Vec<String> {
    let short = |entry: &Entry| format!("{} {} {}: {}", entry.by.token, entry.action, entry.target, entry.outcome);
    entries.iter().map(short).collect()
}

#[tokio::test]
async fn what_is_done_and_what_is_tried_is_noted() {
    let server = guarded().await;
    server.spec("x", "Command = 'x'");
    let (root, ci) = (key(&server, "root", "admin").await, key(&server, "ci", "submit").await);
    let id = submitted(&server, &ci, "x").await;
    submitted(&server, &ci, "x").await;
    let headers = format!("{}X-Request-Id: mine-1\r\n", ci.header());
    assert_eq!(server.ask("POST", &format!("/v1/jobs/{id}/cancel"), &headers).await.status, 202);
    assert_eq!(server.ask("POST", &format!("/v1/jobs/{id}/retry"), &ci.header()).await.status, 201);
    assert_eq!(server.ask("DELETE", &format!("/v1/jobs/{id}"), &ci.header()).await.status, 403);
    assert_eq!(server.ask("DELETE", &format!("/v1/jobs/{id}"), &root.header()).await.status, 204);
    assert_eq!(server.ask("GET", "/v1/workers", &ci.header()).await.status, 403);
    assert_eq!(server.ask("GET", "/v1/tokens", "").await.status, 401);
    let body = "{\"name\":\"new\",\"scopes\":[\"read\"]}";
    let made = server.send_json("POST", "/v1/tokens", &root.header(), body).await.json();
    assert_eq!(server.ask("DELETE", &format!("/v1/tokens/{}", made["token"]["id"]), &root.header()).await.status, 204);
    let entries = entries(&server).await;
    let cancel = entries.iter().find(|entry| entry.action == "job.cancel").unwrap();
    assert_eq!((cancel.request_id.as_str(), cancel.by.address.as_str()), ("mine-1", "127.0.0.1"));
    assert_eq!((cancel.by.user_id, cancel.by.token_id), (Some(ci.token.user_id), Some(ci.token.id)));
    let mut told = in_short(&entries);
    let submissions: Vec<String> = told.extract_if(.., |line| line.contains("job.submit")).collect();
    assert_eq!(
        told,
        [
            "ci job.cancel job 1: ok",
            "ci job.retry job 1: ok",
            "ci DELETE /v1/jobs/{id} /v1/jobs/1: forbidden",
            "root job.delete job 1: ok",
            "root token.create token 3 new (user 4, read): ok",
            "root token.revoke token 3 new: ok",
        ]
    );
    // They are added up, however the ticks fall.
    let first = submissions.first().unwrap();
    assert!(first.starts_with("ci job.submit ") && submissions.len() <= 3, "{submissions:?}");
}

#[tokio::test]
async fn no_text_of_a_token_is_kept() {
    let server = Server::start().await;
    let made = server.send_json("POST", "/v1/tokens", "", "{\"name\":\"ci\",\"scopes\":[\"admin\"]}").await.json();
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(server.ask("GET", "/v1/tokens", &super::bearer(secret)).await.status, 200);
    server.api.audit.flush().await;
    server.api.store.close().await;
    for entry in std::fs::read_dir(server.dir.path()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(20).any(|window| window == &secret.as_bytes()[3..23]);
            assert!(!found, "{}", entry.path().display());
        }
    }
}

#[tokio::test]
async fn thousands_of_submissions_are_a_few_entries() {
    let server = guarded().await;
    server.spec("x", "Command = 'x'");
    let ci = key(&server, "ci", "submit").await;
    let jobs = vec!["{\"name\":\"x\"}"; 500].join(",");
    for _ in 0..4 {
        let reply = server.send_json("POST", "/v1/jobs/batch", &ci.header(), &format!("{{\"jobs\":[{jobs}]}}")).await;
        assert_eq!(reply.status, 201);
    }
    let told = in_short(&entries(&server).await);
    assert!((1..=3).contains(&told.len()), "{told:?}");
    assert!(told.iter().any(|line| line.contains("jobs, ")), "{told:?}");
}
