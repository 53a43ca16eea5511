//! Who may call: tokens, scopes, limits, the audit log. A table has every route with every credential; the rows of the
//! list of faults follow.

use std::time::{Duration, Instant};

use jobmgr::auth::{NewToken, Secret, Token};
use jobmgr::config;

use super::client::{DEADLINE, Reply, Server};

mod limits;
mod log;
mod rows;
mod table;
mod tokens;

/// A token's text, and what the server knows of it.
pub struct Key {
    pub text: String,
    pub token: Token,
}

impl Key {
    /// The header by which it is shown.
    pub fn header(&self) -> String {
        bearer(&self.text)
    }
}

pub fn bearer(text: &str) -> String {
    format!("Authorization: Bearer {text}\r\n")
}

/// What a token may do that nobody limits.
pub fn new(name: &str, scopes: &str) -> NewToken {
    NewToken {
        name: name.into(),
        digest: Secret::random().unwrap().digest(),
        user_id: None,
        scopes: scopes.parse().unwrap(),
        max_queued: None,
        requests_per_minute: None,
        lasts_ms: None,
    }
}

/// Makes it behind the server's back, as `jobmgr token` does.
pub async fn made(server: &Server, new: NewToken) -> Key {
    let secret = Secret::random().unwrap();
    let token = server.api.store.create_token(NewToken { digest: secret.digest(), ..new }).await.unwrap().unwrap();
    server.api.gate.forget();
    Key { text: secret.reveal().to_owned(), token }
}

pub async fn key(server: &Server, name: &str, scopes: &str) -> Key {
    made(server, new(name, scopes)).await
}

/// A server that needs tokens, without a limit on wrong ones.
pub async fn guarded() -> Server {
    let limits = config::Limits { bad_tokens_per_minute: 1_000_000, ..Default::default() };
    Server::limited(config::Server { auth: Some(config::Auth::Token), ..Default::default() }, limits).await
}

/// A job of the user of this token, by the API.
pub async fn submitted(server: &Server, key: &Key, name: &str) -> i64 {
    let reply = server.send_json("POST", "/v1/jobs", &key.header(), &format!("{{\"name\":\"{name}\"}}")).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["id"].as_i64().unwrap()
}

/// Polls until the answer has this status.
pub async fn until(server: &Server, path: &str, headers: &str, status: u16) -> Reply {
    let start = Instant::now();
    loop {
        let reply = server.ask("GET", path, headers).await;
        if reply.status == status {
            return reply;
        }
        assert!(start.elapsed() < DEADLINE, "{path} is {} and not {status}", reply.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A token that has expired, and one that was revoked.
pub async fn dead(server: &Server) -> [Key; 2] {
    let expired = made(server, NewToken { lasts_ms: Some(1), ..new("expired", "admin") }).await;
    let revoked = key(server, "revoked", "admin").await;
    assert!(server.api.store.revoke_token(revoked.token.id).await.unwrap());
    server.api.gate.forget();
    let start = Instant::now();
    while expired.token.holds(server.api.store.tokens_version().await.unwrap().1) {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    [expired, revoked]
}
