//! Messages are made once, claimed once, and none is forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use jobmgr::domain::job::JobId;
use jobmgr::domain::submission::NewJob;
use jobmgr::domain::webhook::{
    Attempted, Change, Due, Kind, Message, NewWebhook, Next, OwnWebhook, Standing, Wanted, Webhook,
};
use jobmgr::store::{AskedDeliveries, Position, Store};

use super::{GONE, LEASE, job};

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_webhook_is_kept_as_it_was_registered(&fresh().await).await;
    messages_are_written_down_once(&fresh().await).await;
    a_message_is_claimed_by_one(&fresh().await).await;
    many_claimers_get_each_message_once(&fresh().await).await;
    an_attempt_is_noted_by_who_made_it(&fresh().await).await;
    who_is_gone_is_disabled(&fresh().await).await;
    a_new_secret_goes_with_the_one_before(&fresh().await).await;
    a_job_s_own_webhook_is_kept_until_it_is_told(&fresh().await).await;
    old_messages_are_forgotten(&fresh().await).await;
    lanes_are_apart(&fresh().await).await;
}

async fn add(store: &Store) -> i64 {
    let labels = [("team".to_owned(), "é'\"".to_owned())].into();
    let wanted = Wanted { events: Kind::ENDS.into(), names: vec!["a\"b".into()], labels };
    let new = NewWebhook { user_id: 5, url: "https://example.org/é?x=1".into(), wanted, secret: "sealed-1".into() };
    store.add_webhook(new).await.unwrap()
}

async fn read(store: &Store, id: i64) -> Webhook {
    store.webhook(id).await.unwrap().unwrap()
}

fn message(webhook: i64, number: usize) -> Message {
    Message {
        webhook_id: webhook,
        own: None,
        lane: format!("w{webhook}"),
        message_id: format!("msg_{number}"),
        job_id: Some(JobId::try_from(number).unwrap()),
        kind: Kind::Completed,
        time_ms: 1_700_000_000_000,
        data: format!("{{\"number\":{number}}}"),
    }
}

fn position(number: i64) -> Position {
    number.to_string().parse().unwrap()
}

async fn log(store: &Store, webhook: i64) -> Vec<(String, i64, Standing)> {
    let asked = AskedDeliveries { webhook, limit: 1000, ..AskedDeliveries::default() };
    let found = store.deliveries(asked).await.unwrap();
    found.into_iter().map(|found| (found.message_id, found.sequence, found.standing)).collect()
}

async fn claim(store: &Store, webhook: i64, lease: Duration) -> Option<Due> {
    store.claim_messages(&format!("w{webhook}"), 1, lease).await.unwrap().pop()
}

/// One webhook with this many messages.
async fn with_messages(store: &Store, count: usize) -> i64 {
    let id = add(store).await;
    let messages = (1..=count).map(|number| message(id, number)).collect();
    assert!(store.note(&Position::default(), &position(9), messages).await.unwrap());
    id
}

async fn a_webhook_is_kept_as_it_was_registered(store: &Store) {
    assert!(!store.has_webhooks().await.unwrap());
    let (first, id) = (add(store).await, add(store).await);
    assert!(id > first && store.has_webhooks().await.unwrap());
    let kept = read(store, id).await;
    assert_eq!((kept.id, kept.user_id, kept.url.as_str()), (id, 5, "https://example.org/é?x=1"));
    assert_eq!((kept.wanted.names[0].as_str(), kept.wanted.labels["team"].as_str()), ("a\"b", "é'\""));
    assert_eq!((kept.wanted.events.as_slice(), kept.enabled, kept.previous_until_ms), (&Kind::ENDS[..], true, None));
    let change = Change { events: Some(vec![Kind::Queued]), labels: Some([].into()), ..Change::default() };
    assert!(store.change_webhook(id, change).await.unwrap());
    let changed = read(store, id).await;
    assert_eq!((changed.url, changed.wanted.names), (kept.url, kept.wanted.names));
    assert_eq!((changed.wanted.events, changed.wanted.labels.len()), (vec![Kind::Queued], 0));
    assert!(!store.change_webhook(99, Change::default()).await.unwrap());
    assert_eq!(store.webhooks().await.unwrap().iter().map(|webhook| webhook.id).collect::<Vec<_>>(), [first, id]);
    assert!(store.remove_webhook(id).await.unwrap() && !store.remove_webhook(id).await.unwrap());
    assert_eq!(store.webhook(id).await.unwrap(), None);
    store.change_webhook(first, Change { enabled: Some(false), ..Change::default() }).await.unwrap();
    assert!(!store.has_webhooks().await.unwrap());
}

async fn messages_are_written_down_once(store: &Store) {
    let (one, two) = (add(store).await, add(store).await);
    assert_eq!(store.made_into_messages().await.unwrap(), Position::default());
    let both = || vec![message(one, 1), message(two, 2), message(one, 3), message(99, 4)];
    // Two who have read the same.
    let notes: Vec<_> = (0..8)
        .map(|_| {
            let (store, messages) = (store.clone(), both());
            tokio::spawn(async move { store.note(&Position::default(), &position(7), messages).await.unwrap() })
        })
        .collect();
    let mut noted = 0;
    for note in notes {
        noted += u32::from(note.await.unwrap());
    }
    assert_eq!((noted, store.made_into_messages().await.unwrap()), (1, position(7)));
    assert!(!store.note(&Position::default(), &position(8), both()).await.unwrap(), "who comes late writes nothing");
    assert!(store.note(&position(7), &position(8), vec![message(one, 5)]).await.unwrap());
    let of_one = log(store, one).await;
    let expected =
        [("msg_5", 3), ("msg_3", 2), ("msg_1", 1)].map(|(id, number)| (id.to_owned(), number, Standing::Pending));
    assert_eq!(of_one, expected, "numbered for each webhook");
    assert_eq!(log(store, two).await.len(), 1);
    assert!(log(store, 99).await.is_empty(), "one that is gone is told nothing");
}

async fn a_message_is_claimed_by_one(store: &Store) {
    let id = with_messages(store, 1).await;
    let due = claim(store, id, Duration::from_millis(500)).await.unwrap();
    assert_eq!((due.attempt, due.tries, due.sequence, due.kind), (1, 1, 1, Kind::Completed));
    assert_eq!((due.url.as_str(), due.secrets.as_slice()), ("https://example.org/é?x=1", &["sealed-1".to_owned()][..]));
    assert_eq!((due.message_id.as_str(), due.data.as_str()), ("msg_1", "{\"number\":1}"));
    assert!(claim(store, id, LEASE).await.is_none(), "it is claimed");
    tokio::time::sleep(Duration::from_millis(510)).await;
    let again = claim(store, id, LEASE).await.expect("who claimed it is gone");
    assert_eq!((again.id, again.attempt), (due.id, 2));
    let late = store.settle(due, Attempted::default(), Next::Delivered).await.unwrap();
    assert!(!late, "its claim is another's");
    assert!(store.settle(again, Attempted::default(), Next::Delivered).await.unwrap());
    assert!(claim(store, id, LEASE).await.is_none() && store.due_lanes().await.unwrap().is_empty());
}

async fn many_claimers_get_each_message_once(store: &Store) {
    let id = with_messages(store, 100).await;
    assert_eq!(store.due_lanes().await.unwrap(), [format!("w{id}")]);
    let claimers: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                // Others may hold what is left just then.
                let mut empty = 0;
                while empty < 3 {
                    let due = store.claim_messages(&format!("w{id}"), 7, LEASE).await.unwrap();
                    empty = if due.is_empty() { empty + 1 } else { 0 };
                    mine.extend(due.into_iter().map(|due| due.id));
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (100, 100));
}

async fn an_attempt_is_noted_by_who_made_it(store: &Store) {
    let id = with_messages(store, 1).await;
    let due = claim(store, id, LEASE).await.unwrap();
    let attempted =
        Attempted { status: Some(500), error: Some("é\n".into()), response: Some("body".into()), took_ms: 12 };
    assert!(store.settle(due.clone(), attempted.clone(), Next::Again(GONE)).await.unwrap());
    let kept = store.delivery(due.id).await.unwrap().unwrap();
    assert_eq!((kept.standing, kept.attempts, kept.last.as_ref()), (Standing::Pending, 1, Some(&attempted)));
    assert!(kept.next_ms.is_some() && kept.ended_ms.is_none() && kept.time_ms == 1_700_000_000_000);
    let due = claim(store, id, LEASE).await.unwrap();
    assert_eq!((due.attempt, due.tries), (2, 2));
    assert!(store.settle(due.clone(), attempted, Next::GivenUp).await.unwrap());
    let kept = store.delivery(due.id).await.unwrap().unwrap();
    assert_eq!((kept.standing, kept.next_ms), (Standing::Failed, None));
    assert!(kept.ended_ms.is_some() && claim(store, id, LEASE).await.is_none());
    assert!(!store.redeliver(id + 1, due.id).await.unwrap(), "it is another's");
    assert!(store.redeliver(id, due.id).await.unwrap());
    let due = claim(store, id, LEASE).await.unwrap();
    assert_eq!((due.attempt, due.tries, due.message_id.as_str()), (3, 1, "msg_1"), "all pauses begin anew");
    store.settle(due, Attempted::default(), Next::Again(LEASE)).await.unwrap();
    assert!(claim(store, id, LEASE).await.is_none(), "not before its time");
}

async fn who_is_gone_is_disabled(store: &Store) {
    let id = with_messages(store, 3).await;
    let due = claim(store, id, LEASE).await.unwrap();
    assert!(store.settle(due, Attempted::default(), Next::Gone).await.unwrap());
    let gone = read(store, id).await;
    assert!(!gone.enabled && gone.why_disabled.as_ref().unwrap().contains("410"));
    assert!(log(store, id).await.iter().all(|(_, _, standing)| *standing == Standing::Failed));
    // Written down by who had not seen it yet.
    assert!(store.note(&position(9), &position(10), vec![message(id, 4)]).await.unwrap());
    assert!(claim(store, id, LEASE).await.is_none());
    assert_eq!(log(store, id).await[0].2, Standing::Failed);
    store.change_webhook(id, Change { enabled: Some(true), ..Change::default() }).await.unwrap();
    let back = read(store, id).await;
    assert!(back.enabled && back.why_disabled.is_none() && back.enabled_ms >= gone.enabled_ms);
}

async fn a_new_secret_goes_with_the_one_before(store: &Store) {
    let id = with_messages(store, 3).await;
    assert!(store.rotate_webhook(id, "sealed-2".into(), LEASE).await.unwrap());
    assert!(read(store, id).await.previous_until_ms.is_some());
    assert_eq!(claim(store, id, LEASE).await.unwrap().secrets, ["sealed-2", "sealed-1"]);
    store.rotate_webhook(id, "sealed-3".into(), GONE).await.unwrap();
    assert_eq!(claim(store, id, LEASE).await.unwrap().secrets, ["sealed-3"], "its time is over");
    assert_eq!(read(store, id).await.previous_until_ms, None);
    assert!(!store.rotate_webhook(99, "x".into(), GONE).await.unwrap());
}

async fn a_job_s_own_webhook_is_kept_until_it_is_told(store: &Store) {
    let own = OwnWebhook { url: "https://example.org/own".into(), secret: Some("sealed".into()) };
    let with = NewJob { webhook: Some(own.clone()), ..job("x", 50) };
    let id = store.submit(with.clone()).await.unwrap();
    let ids = store.submit_all(vec![job("x", 50), with]).await.unwrap();
    assert!(store.has_webhooks().await.unwrap());
    let mut kept = store.own_webhooks(vec![id, ids[0], ids[1], 99]).await.unwrap();
    kept.sort_by_key(|(job, _)| *job);
    assert_eq!(kept, [(id, own.clone()), (ids[1], own.clone())]);
    let told = Message { webhook_id: 0, own: Some(own), lane: "o1".into(), job_id: Some(id), ..message(0, 1) };
    assert!(store.note(&Position::default(), &position(1), vec![told]).await.unwrap());
    assert_eq!(store.own_webhooks(vec![id, ids[1]]).await.unwrap().len(), 1);
    let due = store.claim_messages("o1", 5, LEASE).await.unwrap().remove(0);
    assert_eq!((due.url.as_str(), due.secrets.as_slice()), ("https://example.org/own", &["sealed".to_owned()][..]));
    assert_eq!((due.webhook_id, due.sequence), (0, 1));
    assert!(store.settle(due, Attempted::default(), Next::Gone).await.unwrap());
    let asked = AskedDeliveries { webhook: 0, job: Some(id), limit: 9, ..AskedDeliveries::default() };
    assert_eq!(store.deliveries(asked).await.unwrap().len(), 1);
}

async fn old_messages_are_forgotten(store: &Store) {
    let id = with_messages(store, 3).await;
    for next in [Next::Delivered, Next::GivenUp] {
        let due = claim(store, id, LEASE).await.unwrap();
        store.settle(due, Attempted::default(), next).await.unwrap();
    }
    assert_eq!(store.forget_deliveries(LEASE).await.unwrap(), 0, "they are new");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.forget_deliveries(GONE).await.unwrap(), 2);
    assert_eq!(log(store, id).await.len(), 1, "what is to be sent stays");
}

async fn lanes_are_apart(store: &Store) {
    let (one, two) = (add(store).await, add(store).await);
    store.note(&Position::default(), &position(1), vec![message(one, 1), message(two, 2)]).await.unwrap();
    assert_eq!(store.due_lanes().await.unwrap().len(), 2);
    claim(store, one, LEASE).await.unwrap();
    assert_eq!(store.due_lanes().await.unwrap(), [format!("w{two}")]);
    assert!(
        store.tell(message(one, 3)).await.unwrap().is_some() && store.tell(message(99, 4)).await.unwrap().is_none()
    );
    assert_eq!(store.due_lanes().await.unwrap().len(), 2);
}
