//! Tokens, the audit log, and how many jobs of a user wait.

use std::time::Duration;

use jobmgr::auth::{By, Entry, NewToken, Secret, Token};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::Store;

use super::{LEASE, claim_one, job};

const HOUR: Duration = Duration::from_secs(3600);

pub async fn all<F: Future<Output = Store>>(fresh: &impl Fn() -> F) {
    a_token_is_kept_without_its_text(&fresh().await).await;
    a_name_is_one_tokens_until_that_is_revoked(&fresh().await).await;
    many_at_once_get_users_of_their_own(&fresh().await).await;
    one_is_the_first(&fresh().await).await;
    each_change_is_seen_by_the_version(&fresh().await).await;
    the_audit_log_is_read_backwards_and_gets_shorter(&fresh().await).await;
    the_queue_of_a_user_is_counted(&fresh().await).await;
}

fn new(name: &str) -> NewToken {
    NewToken {
        name: name.into(),
        digest: Secret::random().unwrap().digest(),
        user_id: None,
        scopes: "read,submit".parse().unwrap(),
        max_queued: Some(5),
        requests_per_minute: None,
        lasts_ms: Some(60_000),
    }
}

async fn made(store: &Store, new: NewToken) -> Token {
    store.create_token(new).await.unwrap().expect("the name is free")
}

async fn a_token_is_kept_without_its_text(store: &Store) {
    assert!(store.tokens().await.unwrap().is_empty());
    let digest = Secret::random().unwrap().digest();
    let token = made(store, NewToken { digest, ..new("ci") }).await;
    assert_eq!((token.name.as_str(), token.user_id, token.scopes.to_string()), ("ci", 2, "read,submit".into()));
    assert!(token.digest == digest && token.max_queued == Some(5) && token.requests_per_minute.is_none());
    let (_, now) = store.tokens_version().await.unwrap();
    assert!(token.created_ms <= now && token.expires_ms == Some(token.created_ms + 60_000) && token.holds(now));
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
    store.token_used(token.id).await.unwrap();
    assert!(store.tokens().await.unwrap()[0].used_ms.unwrap() >= token.created_ms);
    let forever = made(store, NewToken { lasts_ms: None, user_id: Some(1), ..new("forever") }).await;
    assert_eq!((forever.expires_ms, forever.user_id), (None, 1));
}

async fn a_name_is_one_tokens_until_that_is_revoked(store: &Store) {
    let first = made(store, new("ci")).await;
    assert!(store.create_token(new("ci")).await.unwrap().is_none());
    assert!(store.revoke_token(first.id).await.unwrap());
    assert!(!store.revoke_token(first.id).await.unwrap() && !store.revoke_token(first.id + 9).await.unwrap());
    let second = made(store, new("ci")).await;
    let tokens = store.tokens().await.unwrap();
    assert!(tokens[0].revoked_ms.is_some() && tokens[1].revoked_ms.is_none());
    assert_eq!((tokens[1].id, second.user_id), (second.id, 3), "a user's number is given once");
}

async fn many_at_once_get_users_of_their_own(store: &Store) {
    store.submit(NewJob { user_id: 40, ..job("x", 50) }).await.unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let tokens = futures_util::future::join_all(names.iter().map(|name| made(store, new(name)))).await;
    let mut users: Vec<i64> = tokens.iter().map(|token| token.user_id).collect();
    users.sort_unstable();
    assert_eq!(users, (41..61).collect::<Vec<_>>());
}

async fn one_is_the_first(store: &Store) {
    let firsts = (0..8).map(|number| store.create_first_token(new(&format!("t{number}"))));
    let firsts = futures_util::future::join_all(firsts).await;
    assert_eq!(firsts.into_iter().filter(|made| made.as_ref().unwrap().is_some()).count(), 1);
    let only = store.tokens().await.unwrap().remove(0);
    store.revoke_token(only.id).await.unwrap();
    assert!(store.create_first_token(new("again")).await.unwrap().is_none(), "there was one");
}

async fn each_change_is_seen_by_the_version(store: &Store) {
    let version = async || store.tokens_version().await.unwrap().0;
    let none = version().await;
    let token = made(store, new("ci")).await;
    let one = version().await;
    store.token_used(token.id).await.unwrap();
    assert_eq!(version().await, one);
    store.revoke_token(token.id).await.unwrap();
    assert!(none < one && one < version().await);
}

async fn the_audit_log_is_read_backwards_and_gets_shorter(store: &Store) {
    let by = By { user_id: Some(2), token_id: Some(7), token: "ci".into(), address: "127.0.0.1".into() };
    let entry = |number| Entry::done(by.clone(), "job.delete", format_args!("job {number} \u{e9}"));
    store.audit((0..100).map(entry).collect()).await.unwrap();
    store.audit(vec![Entry::done(By::command_line(), "token.create", "token 1")]).await.unwrap();
    let newest = store.audited(HOUR, 2).await.unwrap();
    assert_eq!((newest[0].action.as_str(), newest[0].by.user_id), ("token.create", None));
    assert_eq!((newest[1].target.as_str(), &newest[1].by), ("job 99 \u{e9}", &by));
    assert!(newest[0].at_ms > 1_600_000_000_000);
    assert_eq!(store.audited(HOUR, 1000).await.unwrap().len(), 101);
    assert_eq!(store.drop_audit(HOUR).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(store.audited(Duration::from_millis(1), 1000).await.unwrap().is_empty());
    assert_eq!(store.drop_audit(Duration::from_millis(1)).await.unwrap(), 101);
    assert!(store.audited(HOUR, 1000).await.unwrap().is_empty());
}

async fn the_queue_of_a_user_is_counted(store: &Store) {
    for user_id in [2, 2, 2, 3] {
        store.submit(NewJob { user_id, ..job("x", 50) }).await.unwrap();
    }
    let queued = async |user| store.queued_of(user, 10).await.unwrap();
    assert_eq!((queued(2).await, queued(3).await, queued(4).await), (3, 1, 0));
    assert_eq!(store.queued_of(2, 1).await.unwrap(), 2, "not counted to the end");
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!((queued(2).await, store.owner(claim.id).await.unwrap()), (2, Some(2)));
    assert_eq!(store.owner(claim.id + 100).await.unwrap(), None);
    let counts = store.counts(Some(2)).await.unwrap();
    assert_eq!(counts.by_status.iter().map(|(_, count)| count).sum::<u64>(), 3);
}
