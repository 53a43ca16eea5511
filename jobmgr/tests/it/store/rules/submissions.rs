//! What a client says of its jobs, and looking through them.

use std::collections::BTreeSet;
use std::time::Duration;

use jobmgr::domain::job::{Job, JobId, Status};
use jobmgr::domain::submission::{Key, NewJob};
use jobmgr::domain::trace::TraceParent;
use jobmgr::store::{Asked, Store, Submitted};

use super::{LEASE, claim_one, completed, job};

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    what_is_said_of_a_job_is_kept(&fresh().await).await;
    a_job_waits_for_its_time(&fresh().await).await;
    many_go_together(&fresh().await).await;
    a_key_is_used_once(&fresh().await).await;
    one_of_many_at_once_wins(&fresh().await).await;
    a_removed_job_frees_its_key_and_labels(&fresh().await).await;
    a_list_has_what_is_asked_for(&fresh().await).await;
    pages_follow_each_other(&fresh().await).await;
    a_claim_knows_its_trace(&fresh().await).await;
    jobs_are_counted(&fresh().await).await;
}

fn key(text: &str, digest: &str) -> Key {
    Key::new(text.as_bytes(), digest.into()).unwrap()
}

fn labelled(labels: &[(&str, &str)]) -> NewJob {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NewJob { labels, ..job("x", 50) }
}

async fn ids(store: &Store, asked: Asked) -> Vec<JobId> {
    let jobs = store.list(Asked { limit: 100, ..asked }).await.unwrap();
    jobs.into_iter().map(|job| job.id).collect()
}

async fn read(store: &Store, id: JobId) -> Job {
    store.job(id).await.unwrap().unwrap()
}

async fn what_is_said_of_a_job_is_kept(store: &Store) {
    let said =
        NewJob { max_retries: Some(7), retry_of: Some(99), user_id: 5, ..labelled(&[("team", "é'\""), ("a", "")]) };
    let id = store.submit(said.clone()).await.unwrap();
    let kept = read(store, id).await;
    assert_eq!((kept.labels, kept.max_retries, kept.retry_of, kept.user_id), (said.labels, Some(7), Some(99), 5));
    assert_eq!((kept.key, kept.run_after_ms), (None, 0));
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().max_retries, Some(7));
    store.submit(job("plain", 50)).await.unwrap();
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().max_retries, None);
}

async fn a_claim_knows_its_trace(store: &Store) {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = NewJob { trace_parent: TraceParent::parse(text), ..job("traced", 1) };
    store.submit_all(vec![traced.clone(), job("not", 2)]).await.unwrap();
    store.submit(NewJob { priority: 3, ..traced }).await.unwrap();
    for trace in [Some(text), None, Some(text)] {
        assert_eq!(claim_one(store, "w", LEASE).await.unwrap().trace_parent.as_deref(), trace);
    }
}

async fn a_job_waits_for_its_time(store: &Store) {
    let now = read(store, store.submit(job("now", 50)).await.unwrap()).await.created_ms;
    let patience = Some(Duration::from_millis(1));
    let later = NewJob { run_after_ms: Some(now + 3_600_000), queue_timeout: patience, ..job("later", 0) };
    let later = store.submit(later).await.unwrap();
    let soon = store.submit(NewJob { run_after_ms: Some(now - 1000), ..job("soon", 60) }).await.unwrap();
    assert_eq!(read(store, later).await.run_after_ms, now + 3_600_000);
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().name, "now");
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().id, soon);
    assert!(claim_one(store, "w", LEASE).await.is_none());
    // How long it may wait is counted from then.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.sweep().await.unwrap().overdue, Vec::<JobId>::new());
    assert_eq!(read(store, later).await.status, Status::Queued);
}

async fn many_go_together(store: &Store) {
    let jobs: Vec<NewJob> =
        (0..150).map(|number| NewJob { priority: number % 101, ..labelled(&[("n", &number.to_string())]) }).collect();
    let given = store.submit_all(jobs.clone()).await.unwrap();
    assert_eq!(given.len(), 150);
    assert!(given.windows(2).all(|pair| pair[0] < pair[1]));
    for (number, id) in given.iter().enumerate().step_by(7) {
        let kept = read(store, *id).await;
        assert_eq!((kept.priority, kept.labels), (jobs[number].priority, jobs[number].labels.clone()));
        assert_eq!(
            ids(store, Asked { labels: vec![("n".into(), number.to_string())], ..Asked::default() }).await,
            [*id]
        );
    }
    // One that a server can't hold takes the others with it; SQLite holds anything.
    let broken = NewJob { labels: [("n".repeat(64), "v".repeat(2000))].into(), ..job("x", 50) };
    let before = store.unfinished().await.unwrap();
    let came = store.submit_all(vec![job("x", 50), broken, job("x", 50)]).await;
    assert_eq!(store.unfinished().await.unwrap() - before, if came.is_ok() { 3 } else { 0 });
}

async fn a_key_is_used_once(store: &Store) {
    let once =
        |user_id, text: &str, digest: &str| store.submit_once(NewJob { user_id, ..job("x", 50) }, key(text, digest));
    let Submitted::New(first) = once(1, "k", "d").await.unwrap() else { panic!("it is new") };
    assert_eq!(once(1, "k", "d").await.unwrap(), Submitted::Before(first[0]));
    assert_eq!(once(1, "k", "e").await.unwrap(), Submitted::Otherwise(first[0]));
    // Letters matter, and another's keys are another's.
    let others = [once(1, "K", "d").await.unwrap(), once(2, "k", "d").await.unwrap()];
    assert!(others.iter().all(|other| matches!(other, Submitted::New(ids) if ids != &first)), "{others:?}");
    assert_eq!(read(store, first[0]).await.key.as_deref(), Some("k"));
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    store.finish(&claim, completed(1, b""), None).await.unwrap();
    assert_eq!(once(1, "k", "d").await.unwrap(), Submitted::Before(first[0]));
    assert_eq!(store.list(Asked { limit: 100, ..Asked::default() }).await.unwrap().len(), 3);
}

async fn one_of_many_at_once_wins(store: &Store) {
    for round in 0..4 {
        let tries = (0..16).map(|number| {
            // Two lanes write at once, and other keys and plain jobs are among them.
            let (store, text) = (store.clone(), format!("{round}-{}", number % 3));
            tokio::spawn(async move {
                store.submit(job("plain", 50)).await.unwrap();
                (number % 3, store.submit_once(job("x", 50), key(&text, "d")).await.unwrap())
            })
        });
        let mut won = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        let mut new = 0;
        for one in futures_util::future::join_all(tries).await {
            let (text, submitted) = one.unwrap();
            let id = match submitted {
                Submitted::New(ids) => {
                    new += 1;
                    ids[0]
                }
                Submitted::Before(id) => id,
                other => panic!("nothing else was sent: {other:?}"),
            };
            won[text].insert(id);
        }
        assert_eq!((new, won.iter().map(BTreeSet::len).max()), (3, Some(1)), "{won:?}");
    }
    let list = Asked { name: Some("x".into()), ..Asked::default() };
    assert_eq!(ids(store, list).await.len(), 12);
}

async fn a_removed_job_frees_its_key_and_labels(store: &Store) {
    let new = || store.submit_once(labelled(&[("a", "b")]), key("k", "d"));
    let Submitted::New(first) = new().await.unwrap() else { panic!("it is new") };
    // Not while it waits.
    assert_eq!(store.drop_jobs(first.clone()).await.unwrap().jobs, 0);
    assert_eq!(new().await.unwrap(), Submitted::Before(first[0]));
    store.cancel(first[0]).await.unwrap();
    assert_eq!(store.drop_jobs(first.clone()).await.unwrap().jobs, 1);
    let Submitted::New(second) = new().await.unwrap() else { panic!("the key is free") };
    assert_eq!(ids(store, Asked { labels: vec![("a".into(), "b".into())], ..Asked::default() }).await, second);
}

async fn a_list_has_what_is_asked_for(store: &Store) {
    let mut all = Vec::new();
    for (name, user_id, labels) in [
        ("a", 1, vec![("team", "art")]),
        ("b", 1, vec![("team", "art"), ("x", "1")]),
        ("a", 2, vec![("team", "Art")]),
        ("A", 2, vec![("x", "1")]),
        ("a", 1, vec![]),
    ] {
        let job = NewJob { name: name.into(), user_id, ..labelled(&labels) };
        all.push(store.submit(job).await.unwrap());
    }
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    store.finish(&claim, completed(1, b"said"), None).await.unwrap();
    claim_one(store, "w", LEASE).await.unwrap();
    store.cancel(all[4]).await.unwrap();
    let [first, second, third, fourth, fifth] = all[..] else { unreachable!() };

    let asked = Asked::default;
    assert_eq!(ids(store, asked()).await, [fifth, fourth, third, second, first]);
    let name = |name: &str| Asked { name: Some(name.into()), ..asked() };
    assert_eq!(ids(store, name("a")).await, [fifth, third, first]);
    assert_eq!(ids(store, name("A")).await, [fourth]);
    for (status, expected) in [
        (Status::Completed, vec![first]),
        (Status::Started, vec![second]),
        (Status::Queued, vec![fourth, third]),
        (Status::Canceled, vec![fifth]),
        (Status::Failed, vec![]),
    ] {
        assert_eq!(ids(store, Asked { status: Some(status), ..asked() }).await, expected, "{status}");
    }
    assert_eq!(ids(store, Asked { user_id: Some(2), ..asked() }).await, [fourth, third]);
    let labels = |labels: &[(&str, &str)]| Asked {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..asked()
    };
    assert_eq!(ids(store, labels(&[("team", "art")])).await, [second, first]);
    assert_eq!(ids(store, labels(&[("team", "art"), ("x", "1")])).await, [second]);
    assert_eq!(ids(store, labels(&[("team", "none")])).await, [] as [JobId; 0]);
    let both = Asked { name: Some("a".into()), user_id: Some(1), status: Some(Status::Completed), ..asked() };
    assert_eq!(ids(store, both).await, [first]);
    let created = read(store, first).await.created_ms;
    let after = |time| Asked { created_after_ms: Some(time), ..asked() };
    let before = |time| Asked { created_before_ms: Some(time), ..asked() };
    assert_eq!((ids(store, after(created - 1)).await.len(), ids(store, after(created + 600_000)).await.len()), (5, 0));
    assert_eq!((ids(store, before(created)).await.len(), ids(store, before(created + 600_000)).await.len()), (0, 5));
    let listed = store.list(Asked { limit: 1, status: Some(Status::Completed), ..asked() }).await.unwrap().remove(0);
    let ended = listed.ended.unwrap();
    assert_eq!((ended.exit_code, ended.stdout.written, ended.warnings.len()), (Some(0), 0, 0));
}

async fn pages_follow_each_other(store: &Store) {
    let mut all = store.submit_all((0..7).map(|_| job("x", 50)).collect()).await.unwrap();
    all.reverse();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(Asked { before, limit: 3, ..Asked::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|job| job.id));
        // What is new meanwhile is on no later page.
        store.submit(job("new", 50)).await.unwrap();
    }
    assert_eq!(seen, all);
}

async fn jobs_are_counted(store: &Store) {
    let counts = store.counts(None).await.unwrap();
    assert!(counts.by_status.is_empty() && counts.oldest_queued_ms.is_none(), "{counts:?}");
    let now = read(store, store.submit(job("x", 50)).await.unwrap()).await.created_ms;
    store.submit(NewJob { run_after_ms: Some(now + 3_600_000), ..job("later", 0) }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let counts = store.counts(None).await.unwrap();
    assert_eq!(counts.by_status, [(Status::Queued, 2)]);
    assert!((20..60_000).contains(&counts.oldest_queued_ms.unwrap()), "{counts:?}");
    assert_eq!((counts.submitted, counts.finished), (2, 0));
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let counts = store.counts(None).await.unwrap();
    assert_eq!(counts.by_status.iter().map(|(_, count)| count).sum::<u64>(), 2);
    assert_eq!(counts.oldest_queued_ms, None);
    let backlog = store.backlog().await.unwrap();
    let expected = [(Status::Queued, "later".to_owned(), 1), (Status::Started, "x".to_owned(), 1)];
    assert_eq!((backlog.jobs.as_slice(), backlog.oldest_queued_ms), (expected.as_slice(), None));
    store.finish(&claim, completed(claim.attempt, b""), None).await.unwrap();
    let counts = store.counts(None).await.unwrap();
    assert_eq!((counts.submitted, counts.finished), (2, 1));
}
