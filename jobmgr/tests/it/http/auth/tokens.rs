//! `/v1/tokens`, `/v1/me`, and when a token begins and ceases to hold.

use std::time::{Duration, Instant};

use jobmgr::config;
use serde_json::json;

use super::super::client::Server;
use super::{bearer, guarded, key, until};

#[tokio::test]
async fn as_soon_as_there_is_a_token_one_is_needed() {
    let server = Server::start().await;
    let me = server.get("/v1/me").await.json();
    assert_eq!(me, json!({ "userID": 1, "scopes": ["admin"], "maxQueued": 10_000_000, "requestsPerMinute": null }));
    for proxy in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1"] {
        assert_eq!(server.ask("GET", "/v1/me", &format!("{proxy}\r\n")).await.status, 401, "{proxy}");
        assert_eq!(server.ask("GET", "/healthz", &format!("{proxy}\r\n")).await.status, 200, "{proxy}");
    }
    let reply = server.send_json("POST", "/v1/tokens", "", "{\"name\":\"ci\",\"scopes\":[\"admin\"]}").await;
    assert_eq!((reply.status, reply.header("cache-control")), (201, "no-store"));
    let made = reply.json();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("jm_") && secret.len() == 52, "{made}");
    assert_eq!(server.get("/v1/me").await.status, 401, "at once");
    let me = server.ask("GET", "/v1/me", &bearer(secret)).await.json();
    assert_eq!((&me["userID"], &me["token"]["name"]), (&2.into(), &"ci".into()));
    // Also without any token that holds, nobody gets in without one.
    let id = &made["token"]["id"];
    assert_eq!(server.ask("DELETE", &format!("/v1/tokens/{id}"), &bearer(secret)).await.status, 204);
    assert_eq!(server.get("/v1/me").await.status, 401);
    assert_eq!(server.ask("GET", "/v1/me", &bearer(secret)).await.status, 401, "at once");
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let server = guarded().await;
    let admin = key(&server, "root", "admin").await;
    let body = json!({
        "name": "art", "scopes": ["read", "submit"], "userID": 7, "expiresIn": "30d", "maxQueued": 5,
        "requestsPerMinute": 60,
    });
    let made = server.send_json("POST", "/v1/tokens", &admin.header(), &body.to_string()).await.json();
    let token = &made["token"];
    assert_eq!((&token["userID"], &token["scopes"]), (&7.into(), &json!(["read", "submit"])));
    assert_eq!((&token["maxQueued"], &token["requestsPerMinute"]), (&5.into(), &60.into()));
    let secret = made["secret"].as_str().unwrap();
    let me = server.ask("GET", "/v1/me", &bearer(secret)).await.json();
    assert_eq!((&me["maxQueued"], &me["requestsPerMinute"]), (&5.into(), &60.into()));
    let twice = server.send_json("POST", "/v1/tokens", &admin.header(), &body.to_string()).await;
    assert_eq!((twice.status, &twice.json()["code"]), (409, &"conflict".into()));
    let listed = server.ask("GET", "/v1/tokens", &admin.header()).await;
    assert!(!listed.text().contains(&secret[5..]), "a text is shown once");
    let listed = listed.json();
    let names: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["art", "root"]);
    let revoke = format!("/v1/tokens/{}", token["id"]);
    for _ in 0..2 {
        assert_eq!(server.ask("DELETE", &revoke, &admin.header()).await.status, 204);
    }
    assert_eq!(server.ask("GET", "/v1/me", &bearer(secret)).await.status, 401);
    assert_eq!(server.ask("DELETE", "/v1/tokens/99", &admin.header()).await.status, 404);
    // Its name is free again, and its user is not.
    let body = "{\"name\":\"art\",\"scopes\":[\"read\"]}";
    let again = server.send_json("POST", "/v1/tokens", &admin.header(), body).await.json();
    assert_eq!(again["token"]["userID"], 8);
}

#[tokio::test]
async fn every_mistake_in_a_new_token_is_told_at_once() {
    let server = Server::start().await;
    let body = json!({
        "name": "17", "scopes": ["write"], "userID": 0, "expiresIn": "-1d", "maxQueued": 0, "requestsPerMinute": 1.5,
        "scope": "read",
    });
    let reply = server.send_json("POST", "/v1/tokens", "", &body.to_string()).await;
    assert_eq!(reply.status, 422);
    let json = reply.json();
    let fields: Vec<&str> = json["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "scopes", "userID", "expiresIn", "maxQueued", "requestsPerMinute", "scope"]);
    assert!(server.api.store.tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_others_change_holds_within_two_seconds() {
    let server = guarded().await;
    let other = key(&server, "other", "read").await;
    assert_eq!(server.ask("GET", "/v1/me", &other.header()).await.status, 200);
    // As another process does it: this one is not told.
    assert!(server.api.store.revoke_token(other.token.id).await.unwrap());
    let start = Instant::now();
    until(&server, "/v1/me", &other.header(), 401).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn use_is_noted() {
    let server = guarded().await;
    let used = key(&server, "used", "read").await;
    assert_eq!(server.ask("GET", "/v1/me", &used.header()).await.status, 200);
    let start = Instant::now();
    while server.api.store.tokens().await.unwrap()[0].used_ms.is_none() {
        assert!(start.elapsed() < super::DEADLINE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_tokens_a_server_that_needs_them_serves_nobody() {
    let server = Server::with(config::Server { auth: Some(config::Auth::Token), ..Default::default() }).await;
    assert_eq!(server.get("/v1/jobs").await.status, 401);
    assert_eq!(server.get("/healthz").await.status, 200);
}

/// One that was never looked at: nobody is let in, nobody is told a lie.
#[tokio::test]
async fn while_the_database_is_away_nobody_is_let_in() {
    let server = guarded().await;
    let good = key(&server, "good", "admin").await;
    server.api.store.close().await;
    let reply = server.ask("GET", "/v1/me", &good.header()).await;
    assert_eq!((reply.status, &reply.json()["code"]), (503, &"unavailable".into()));
    assert!(!reply.header("retry-after").is_empty());
}
