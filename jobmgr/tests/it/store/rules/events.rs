//! Each change of a job leaves an event, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jobmgr::domain::job::{JobId, Progress, Reason, Status};
use jobmgr::domain::submission::{Key, NewJob};
use jobmgr::store::{Claiming, Dispatch, Event, Position, Scope, Store};

use super::{GONE, LEASE, by, chunk, claim_one, completed, failure, job};

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_job_s_way_is_told(&fresh().await).await;
    what_changes_nothing_tells_nothing(&fresh().await).await;
    a_job_that_is_queued_again_says_so(&fresh().await).await;
    an_end_on_request_is_told_when_it_comes(&fresh().await).await;
    what_is_taken_back_says_so(&fresh().await).await;
    what_waits_in_vain_is_told(&fresh().await).await;
    a_claim_that_is_put_back_was_none(&fresh().await).await;
    events_are_read_on_from_where_one_stood(&fresh().await).await;
    a_removed_job_leaves_no_events(&fresh().await).await;
    old_events_go_and_who_missed_them_learns_it(&fresh().await).await;
    readers_miss_nothing_while_many_write(&fresh().await).await;
    who_waits_is_told_of_changes(&fresh().await).await;
}

/// What an event says, but for when.
type Said = (Status, i64, Option<Reason>);

const QUEUED: Said = (Status::Queued, 0, None);

fn said(event: &Event) -> Said {
    (event.status, event.attempt, event.reason)
}

async fn way(store: &Store, id: JobId) -> Vec<Said> {
    store.events_of(id, 0).await.unwrap().iter().map(said).collect()
}

fn started(attempt: i64) -> Said {
    (Status::Started, attempt, None)
}

fn queued(attempt: i64) -> Said {
    (Status::Queued, attempt, None)
}

fn ended(status: Status, attempt: i64, reason: Option<Reason>) -> Said {
    (status, attempt, reason)
}

async fn a_job_s_way_is_told(store: &Store) {
    let first = store.submit(NewJob { user_id: 7, ..job("a", 10) }).await.unwrap();
    let rest = store.submit_all(vec![job("b", 20), job("c", 30)]).await.unwrap();
    let key = || Key::new(b"k", "d".into()).unwrap();
    for _ in 0..2 {
        store.submit_once(job("d", 40), key()).await.unwrap();
    }
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let next = store.finish(&claim, completed(1, b"out"), Some(by("w", LEASE))).await.unwrap().unwrap().remove(0);
    let failed = Arc::new(jobmgr::domain::job::Finish {
        status: Status::Failed,
        reason: Some(Reason::ExitCode),
        ..Arc::unwrap_or_clone(completed(1, b""))
    });
    store.finish(&next, failed, None).await.unwrap().unwrap();
    let all = store.events(Position::default(), None, 100).await.unwrap();
    assert!(!all.more);
    assert_eq!(all.events.iter().filter(|event| event.name == "d").count(), 1, "a repeated submission is none");
    assert_eq!(way(store, first).await, [QUEUED, started(1), ended(Status::Completed, 1, None)]);
    let failed = ended(Status::Failed, 1, Some(Reason::ExitCode));
    assert_eq!(way(store, rest[0]).await, [QUEUED, started(1), failed]);
    assert_eq!(way(store, rest[1]).await, [QUEUED]);
    let told = store.events_of(first, 0).await.unwrap();
    assert!(told.iter().all(|event| (event.job_id, event.user_id, event.name.as_str()) == (first, 7, "a")));
    let row = store.job(first).await.unwrap().unwrap();
    let times: Vec<i64> = told.iter().map(|event| event.at_ms).collect();
    let late = [times[0] - row.created_ms, times[2] - row.finished_ms.unwrap()];
    assert!(times.is_sorted() && late.iter().all(|late| (0..1000).contains(late)), "{times:?} {row:?}");
    assert_eq!(store.events_of(first, told[0].id).await.unwrap(), told[1..]);
}

async fn what_changes_nothing_tells_nothing(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.progress(&claim, &Progress { percent: 1.0, message: String::new() }).await.unwrap());
    assert!(store.chunk(chunk(&claim, 0, b"out")).await.unwrap());
    assert!(store.limit_crashes(&claim, 9).await.unwrap());
    store.renew("w", LEASE).await.unwrap();
    // It goes on elsewhere, and somebody else takes it over.
    let dispatch = Dispatch { executor: "far".into(), about: "{}".into(), recovers: true, job: Some("{}".into()) };
    assert!(store.dispatch(&claim, dispatch).await.unwrap());
    assert!(store.detach(&claim, GONE).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let taken = store.take_over("far", "v", LEASE, 9).await.unwrap().remove(0).claim;
    assert!(store.leave_job(&taken).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let taken = store.take_over("far", "v", LEASE, 9).await.unwrap().remove(0).claim;
    // Who had it before can't do anything.
    assert!(store.finish(&claim, completed(1, b"wrong"), None).await.unwrap().is_none());
    assert!(
        !store.release(&claim, GONE, "not now").await.unwrap() && !store.retry(&claim, failure(), GONE).await.unwrap()
    );
    assert_eq!(store.crashed(&claim).await.unwrap(), Default::default());
    assert_eq!(store.fail_queued(vec![id, 999], Reason::InvalidJob, "why").await.unwrap(), [] as [JobId; 0]);
    assert_eq!(way(store, id).await, [QUEUED, started(1)]);
    for _ in 0..2 {
        assert!(store.finish(&taken, completed(1, b""), None).await.unwrap().is_some(), "also a second time");
    }
    store.cancel(id).await.unwrap();
    assert_eq!(way(store, id).await, [QUEUED, started(1), ended(Status::Completed, 1, None)]);
}

async fn a_job_that_is_queued_again_says_so(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.release(&claim, GONE, "not now").await.unwrap());
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.leave_job(&claim).await.unwrap());
    let expected = [QUEUED, started(1), queued(1), started(2), queued(2), started(3), queued(3)];
    assert_eq!(way(store, id).await, expected);
}

async fn an_end_on_request_is_told_when_it_comes(store: &Store) {
    let canceled = |attempt| ended(Status::Canceled, attempt, Some(Reason::Canceled));
    let waiting = store.submit(job("x", 50)).await.unwrap();
    for _ in 0..2 {
        store.cancel(waiting).await.unwrap();
    }
    assert_eq!(way(store, waiting).await, [QUEUED, canceled(0)]);
    for way_out in 0..4 {
        let id = store.submit(job("x", 50)).await.unwrap();
        let claim = claim_one(store, "w", LEASE).await.unwrap();
        store.cancel(id).await.unwrap();
        assert_eq!(way(store, id).await, [QUEUED, started(1)], "its worker has yet to end it");
        match way_out {
            0 => drop(store.finish(&claim, completed(1, b""), None).await.unwrap().unwrap()),
            1 => assert!(store.release(&claim, GONE, "not now").await.unwrap()),
            2 => assert!(store.retry(&claim, failure(), GONE).await.unwrap()),
            _ => assert_eq!(store.crashed(&claim).await.unwrap().ended, [id]),
        }
        assert_eq!(way(store, id).await, [QUEUED, started(1), canceled(1)], "{way_out}");
    }
}

async fn what_is_taken_back_says_so(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    store.crashed(&claim).await.unwrap();
    claim_one(store, "dead", LEASE).await.unwrap();
    store.bury("dead").await.unwrap();
    claim_one(store, "slow", GONE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.sweep().await.unwrap().ended, [id]);
    let end = ended(Status::Failed, 3, Some(Reason::CrashLimit));
    assert_eq!(way(store, id).await, [QUEUED, started(1), queued(1), started(2), queued(2), started(3), end]);
}

async fn what_waits_in_vain_is_told(store: &Store) {
    let patience = Some(Duration::from_millis(1));
    let late = store.submit(NewJob { queue_timeout: patience, ..job("x", 50) }).await.unwrap();
    let nobodys = store.submit(job("x", 50)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(store.sweep().await.unwrap().overdue, [late]);
    for _ in 0..2 {
        store.fail_queued(vec![nobodys], Reason::InvalidJob, "nobody has it").await.unwrap();
    }
    assert_eq!(way(store, late).await, [QUEUED, ended(Status::Failed, 0, Some(Reason::QueueTimeout))]);
    assert_eq!(way(store, nobodys).await, [QUEUED, ended(Status::Failed, 0, Some(Reason::InvalidJob))]);
}

async fn a_claim_that_is_put_back_was_none(store: &Store) {
    let ids = store.submit_all((0..5).map(|_| job("few", 50)).collect()).await.unwrap();
    let scope = Arc::new(Scope { limits: [("few".to_owned(), 2)].into(), ..Scope::default() });
    let claims = store.claim(&Claiming { scope, ..by("w", LEASE) }, 5).await.unwrap();
    assert_eq!(claims.len(), 2);
    for id in &ids {
        let held = claims.iter().any(|claim| claim.id == *id);
        assert_eq!(way(store, *id).await, if held { vec![QUEUED, started(1)] } else { vec![QUEUED] });
    }
}

async fn events_are_read_on_from_where_one_stood(store: &Store) {
    let none = store.events(Position::default(), None, 10).await.unwrap();
    assert_eq!((none.events.len(), none.next, none.more), (0, Position::default(), false));
    assert_eq!(store.newest_event().await.unwrap(), Position::default());
    let jobs = (0..150).map(|number| NewJob { user_id: number % 3, ..job("x", 50) }).collect();
    let ids = store.submit_all(jobs).await.unwrap();
    let (mut seen, mut position) = (Vec::new(), Position::default());
    loop {
        let page = store.events(position, None, 40).await.unwrap();
        assert!(page.events.len() <= 40);
        seen.extend(page.events.iter().map(|event| event.job_id));
        position = page.next.to_string().parse().unwrap();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ids);
    let nothing = store.events(position.clone(), None, 40).await.unwrap();
    assert!(nothing.events.is_empty() && nothing.next == position);
    let mine = store.events(Position::default(), Some(2), 1000).await.unwrap();
    assert_eq!((mine.events.len(), mine.next), (50, position.clone()), "it stands where the others stand");
    assert!(mine.events.iter().all(|event| event.user_id == 2));
    let newest = store.newest_event().await.unwrap();
    assert_eq!(newest.highest(), position.highest());
    let id = store.submit(job("x", 50)).await.unwrap();
    let news = store.events(newest, None, 40).await.unwrap().events;
    assert_eq!(news.iter().map(|event| event.job_id).collect::<Vec<_>>(), [id]);
}

async fn a_removed_job_leaves_no_events(store: &Store) {
    let ids = store.submit_all(vec![job("x", 50), job("x", 50)]).await.unwrap();
    store.cancel(ids[0]).await.unwrap();
    let before = store.newest_event().await.unwrap();
    assert_eq!(store.drop_jobs(ids.clone()).await.unwrap().jobs, 1);
    assert!(way(store, ids[0]).await.is_empty());
    assert_eq!(way(store, ids[1]).await, [QUEUED], "it has not ended");
    // No id of an event is given again.
    store.cancel(ids[1]).await.unwrap();
    let news = store.events(before, None, 9).await.unwrap().events;
    assert_eq!(news.iter().map(|event| (event.job_id, event.status)).collect::<Vec<_>>(), [(ids[1], Status::Canceled)]);
}

async fn old_events_go_and_who_missed_them_learns_it(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let before = store.newest_event().await.unwrap();
    store.cancel(id).await.unwrap();
    let after = store.newest_event().await.unwrap();
    assert!(!store.drop_events(Duration::from_secs(600)).await.unwrap(), "none is that old");
    assert_eq!(store.after_lost_events(&Position::default()).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    while store.drop_events(Duration::from_millis(20)).await.unwrap() {}
    assert!(way(store, id).await.is_empty());
    let lost = |position: &Position| {
        let (store, position) = (store.clone(), position.clone());
        async move { store.after_lost_events(&position).await.unwrap().map(|next| next.highest()) }
    };
    assert_eq!((lost(&before).await, lost(&after).await), (Some(after.highest()), None));
    let ahead: Position = format!("{}", after.highest() + 1000).parse().unwrap();
    assert_eq!(lost(&ahead).await, Some(after.highest()), "that was another database");
    store.submit(job("x", 50)).await.unwrap();
    assert_eq!((lost(&before).await, lost(&after).await), (Some(after.highest()), None));
    assert_eq!(store.events(after, None, 9).await.unwrap().events.len(), 1);
}

/// Reads until it has seen `jobs` ends, each time from a position that was a text.
async fn read_all(store: Store, jobs: usize) -> Vec<Event> {
    let (mut seen, mut position, mut ends) = (Vec::new(), String::from("0"), 0);
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while ends < jobs {
        assert!(tokio::time::Instant::now() < until, "{ends} of {jobs} ends were seen, at {position}");
        let page = store.events(position.parse().unwrap(), None, 1 + fastrand::u32(0..50)).await.unwrap();
        ends += page.events.iter().filter(|event| event.status.is_terminal()).count();
        position = page.next.to_string();
        seen.extend(page.events);
    }
    seen
}

async fn readers_miss_nothing_while_many_write(store: &Store) {
    const JOBS: usize = 400;
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(read_all(store.clone(), JOBS))).collect();
    let writers: Vec<_> = (0..8)
        .map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                let worker = format!("w{worker}");
                for _ in 0..JOBS / 8 {
                    store.submit(job("x", 50)).await.unwrap();
                    if let Some(claim) = claim_one(&store, &worker, LEASE).await {
                        if fastrand::bool() {
                            assert!(store.release(&claim, GONE, "not now").await.unwrap());
                        } else {
                            store.finish(&claim, completed(claim.attempt, b""), None).await.unwrap().unwrap();
                        }
                    }
                }
                while let Some(claim) = claim_one(&store, &worker, LEASE).await {
                    store.finish(&claim, completed(claim.attempt, b""), None).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // One that was passed over while another had its row in hand.
    while let Some(claim) = claim_one(store, "last", LEASE).await {
        store.finish(&claim, completed(claim.attempt, b""), None).await.unwrap().unwrap();
    }
    let mut expected = BTreeMap::new();
    for reader in readers {
        let mut ways = BTreeMap::<JobId, Vec<i64>>::new();
        let mut ids = BTreeSet::new();
        for event in reader.await.unwrap() {
            assert!(ids.insert(event.id), "event {} was seen twice", event.id);
            ways.entry(event.job_id).or_default().push(event.id);
        }
        assert_eq!(ways.len(), JOBS);
        for (job, seen) in ways {
            let all: &Vec<i64> = match expected.entry(job) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let events = store.events_of(job, 0).await.unwrap();
                    let standing = store.status(job).await.unwrap().unwrap();
                    let last = events.last().unwrap();
                    assert_eq!((last.status, last.attempt), standing);
                    assert!(events.windows(2).all(|pair| pair[0].status.may_become(pair[1].status)), "{events:?}");
                    new.insert(events.iter().map(|event| event.id).collect())
                }
            };
            assert_eq!(&seen, all, "job {job}: every event, in its order");
        }
    }
}

async fn who_waits_is_told_of_changes(store: &Store) {
    let mut changes = store.changed();
    let id = store.submit(job("x", 50)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("a submission").unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("a claim").unwrap();
    assert_eq!(claim.id, id);
    store.release(&claim, GONE, "not now").await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("a release").unwrap();
    store.cancel(id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("an end").unwrap();
}
