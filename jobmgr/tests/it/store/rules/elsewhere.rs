//! Jobs that run where the end of their holder does not end them.

use jobmgr::domain::job::{AttemptEnding, Claim, LogBody, Reason, Status};
use jobmgr::store::{Cancel, Chunk, Dispatch, EXECUTOR_LOG, Store, Stream};

use super::{GONE, LEASE, by, claim_one, completed, failure, job};

pub(super) async fn all<F: Future<Output = super::Store>>(fresh: &impl Fn() -> F) {
    a_job_that_runs_elsewhere_is_taken_over_and_not_queued(&fresh().await).await;
    a_job_is_taken_over_once(&fresh().await).await;
    who_had_it_before_changes_nothing(&fresh().await).await;
    who_left_it_may_come_back_later(&fresh().await).await;
    what_executors_left_is_remembered_until_it_is_cleaned_up(&fresh().await).await;
    a_job_that_is_run_again_is_nobodys_elsewhere(&fresh().await).await;
    the_executor_is_kept_with_each_attempt(&fresh().await).await;
    what_executors_say_is_kept_with_each_attempt(&fresh().await).await;
    a_piece_of_output_has_the_time_of_its_end(&fresh().await).await;
}

fn dispatch(executor: &str, recovers: bool) -> Dispatch {
    let about = serde_json::json!({"name": executor, "version": "1.2", "sha256": "ab"}).to_string();
    Dispatch { executor: executor.into(), about, recovers, job: Some("{\"key\":\"\u{e9}'\\\\\"}".into()) }
}

async fn a_job_that_runs_elsewhere_is_taken_over_and_not_queued(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let first = claim_one(store, "w1", GONE).await.unwrap();
    assert!(store.dispatch(&first, dispatch("far", true)).await.unwrap());
    assert!(store.keep_handle(&first, b"one".to_vec()).await.unwrap());
    assert!(store.keep_handle(&first, vec![0, 255, b'\'']).await.unwrap(), "the last one counts");
    assert_eq!(store.sweep().await.unwrap().queued, 0, "its lease has run out, and it runs");
    assert!(store.claim(&by("w2", LEASE), 9).await.unwrap().is_empty());
    assert!(store.take_over("other", "w2", LEASE, 9).await.unwrap().is_empty(), "it is not that executor's");
    let taken = store.take_over("far", "w2", LEASE, 9).await.unwrap().pop().unwrap();
    assert_eq!((taken.claim.id, taken.claim.attempt, taken.claim.epoch), (id, 1, first.epoch + 1));
    assert_eq!((taken.handle.as_deref(), taken.canceled), (Some(&[0, 255, b'\''][..]), false));
    assert_eq!(taken.job, dispatch("far", true).job.unwrap());
    assert_eq!((taken.executor.as_str(), taken.claim.worker.as_str()), ("far", "w2"));
    assert_eq!(taken.claim.parameters.as_ref().unwrap(), &job("x", 5).parameters);
    assert!(store.finish(&taken.claim, completed(1, b"out"), None).await.unwrap().is_some());
    let ended = store.job(id).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.attempt), (Status::Completed, 1));
    let said = ended.ended.unwrap().executor_log;
    assert_eq!((said.written, said.body), (9, LogBody::Inline(b"said".to_vec())), "with what is left out before it");
}

async fn a_job_is_taken_over_once(store: &Store) {
    for _ in 0..30 {
        store.submit(job("x", 5)).await.unwrap();
    }
    for claim in store.claim(&by("w1", GONE), 30).await.unwrap() {
        assert!(store.dispatch(&claim, dispatch("far", true)).await.unwrap());
    }
    let takers = (0..4).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..10 {
                let taken = store.take_over("far", &format!("t{number}"), LEASE, 3).await.unwrap();
                ids.extend(taken.into_iter().map(|taken| taken.claim.id));
            }
            ids
        })
    });
    let mut ids: Vec<i64> = futures_util::future::join_all(takers).await.into_iter().flat_map(Result::unwrap).collect();
    ids.sort_unstable();
    assert_eq!(ids, (ids[0]..ids[0] + 30).collect::<Vec<_>>(), "each of them once");
}

async fn who_had_it_before_changes_nothing(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let old = claim_one(store, "w1", GONE).await.unwrap();
    assert!(store.dispatch(&old, dispatch("far", true)).await.unwrap());
    let taken = store.take_over("far", "w2", LEASE, 1).await.unwrap().pop().unwrap();
    assert!(!store.dispatch(&old, dispatch("far", true)).await.unwrap());
    assert!(!store.keep_handle(&old, b"stale".to_vec()).await.unwrap());
    assert!(!store.detach(&old, GONE).await.unwrap());
    assert!(!store.leave_job(&old).await.unwrap());
    assert!(!store.release(&old, GONE, "not now").await.unwrap());
    assert!(store.finish(&old, completed(1, b"stale"), None).await.unwrap().is_none());
    assert_eq!(store.bury("w1").await.unwrap().queued, 0);
    assert!(store.keep_handle(&taken.claim, b"new".to_vec()).await.unwrap());
    assert_eq!(store.status(id).await.unwrap(), Some((Status::Started, 1)));
}

async fn who_left_it_may_come_back_later(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("far", true)).await.unwrap());
    assert!(store.take_over("far", "w2", LEASE, 1).await.unwrap().is_empty(), "it has a holder");
    assert!(store.detach(&claim, LEASE).await.unwrap());
    assert!(store.take_over("far", "w2", LEASE, 1).await.unwrap().is_empty(), "not yet");
    assert!(store.renew("w1", LEASE).await.unwrap().held.is_empty(), "who left it does not hold it");
    let other = store.submit(job("y", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert_eq!(claim.id, other);
    assert!(store.dispatch(&claim, dispatch("far", true)).await.unwrap());
    assert!(store.leave_job(&claim).await.unwrap());
    let until = std::time::Instant::now() + LEASE;
    let taken = loop {
        if let Some(taken) = store.take_over("far", "w2", LEASE, 9).await.unwrap().pop() {
            break taken;
        }
        assert!(std::time::Instant::now() < until);
    };
    assert_eq!(taken.claim.id, other);
    assert_eq!(store.cancel(id).await.unwrap(), Cancel::Asked);
    assert_eq!(store.bury("nobody").await.unwrap().queued, 0);
    assert_eq!(store.status(id).await.unwrap(), Some((Status::Started, 1)), "it runs until somebody ends it");
}

async fn what_executors_left_is_remembered_until_it_is_cleaned_up(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("near", false)).await.unwrap());
    assert!(store.keep_handle(&claim, b"h".to_vec()).await.unwrap());
    assert!(store.leftovers("near").await.unwrap().is_empty(), "it runs");
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    let left = store.leftovers("near").await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].id, left[0].attempt, left[0].handle.as_deref()), (id, 1, Some(&b"h"[..])));
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("near", false)).await.unwrap());
    assert_eq!(store.leftovers("near").await.unwrap().len(), 1, "of the first attempt alone");
    assert!(store.finish(&claim, completed(2, b""), None).await.unwrap().is_some());
    assert_eq!(store.leftovers("near").await.unwrap().len(), 2);
    assert!(store.leftovers("far").await.unwrap().is_empty());
    store.cleaned(id, 1).await.unwrap();
    store.cleaned(id, 1).await.unwrap();
    let left = store.leftovers("near").await.unwrap();
    assert_eq!((left.len(), left[0].attempt), (1, 2));
}

async fn a_job_that_is_run_again_is_nobodys_elsewhere(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("far", true)).await.unwrap());
    assert!(store.release(&claim, GONE, "not now").await.unwrap(), "it could not be begun");
    let claim = claim_one(store, "w1", GONE).await.unwrap();
    assert_eq!(claim.attempt, 2);
    assert!(store.take_over("far", "w2", LEASE, 1).await.unwrap().is_empty());
    assert_eq!(store.sweep().await.unwrap().queued, 1, "as any other job");
    assert_eq!(store.status(id).await.unwrap(), Some((Status::Queued, 2)));
}

async fn the_executor_is_kept_with_each_attempt(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("one", false)).await.unwrap());
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    assert!(store.dispatch(&claim, dispatch("two", false)).await.unwrap());
    assert!(store.finish(&claim, completed(2, b""), None).await.unwrap().is_some());
    let attempts = store.attempts(id).await.unwrap();
    assert_eq!(
        (attempts[0].ending, &attempts[0].executor.as_ref().unwrap()["name"]),
        (AttemptEnding::Failed, &"one".into())
    );
    assert_eq!(store.job(id).await.unwrap().unwrap().executor.unwrap()["name"], "two");
}

async fn say(store: &Store, claim: &Claim, start: u64, bytes: &[u8]) {
    let piece = Chunk { stream: Stream::Executor, ..super::chunk(claim, start, bytes) };
    assert!(store.chunk(piece).await.unwrap());
}

async fn what_executors_say_is_kept_with_each_attempt(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let said = async |attempt| {
        let log = store.executor_log(id, attempt).await.unwrap();
        let LogBody::Inline(bytes) = log.body else { panic!("{log:?}") };
        (log.written, bytes)
    };
    let nothing = || (0, Vec::new());
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    say(store, &claim, 0, b"one ").await;
    say(store, &claim, 4, b"two").await;
    assert!(store.chunk(super::chunk(&claim, 0, b"out")).await.unwrap());
    assert_eq!(said(1).await, (7, b"one two".to_vec()), "while it runs");
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    assert_eq!(said(1).await, (7, b"one two".to_vec()), "and afterwards");
    assert!(store.live(id, 1, Stream::Stdout, 0).await.unwrap().bytes.is_empty());
    // Its worker dies.
    let claim = claim_one(store, "w1", GONE).await.unwrap();
    say(store, &claim, 0, b"last words").await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(store.sweep().await.unwrap().queued, 1);
    assert_eq!(said(2).await, (10, b"last words".to_vec()));
    // Much, of which the end is kept; a piece is missing before it.
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    let piece = vec![b'x'; usize::try_from(EXECUTOR_LOG).unwrap()];
    for number in [0, 2, 3] {
        say(store, &claim, number * EXECUTOR_LOG, &piece).await;
    }
    let (written, bytes) = said(3).await;
    assert_eq!(written, 4 * EXECUTOR_LOG);
    assert!((EXECUTOR_LOG..=2 * EXECUTOR_LOG).contains(&(bytes.len() as u64)), "{}", bytes.len());
    assert!(store.finish(&claim, completed(3, b""), None).await.unwrap().is_some());
    assert_eq!(said(3).await, nothing(), "it is kept with the end");
    assert_eq!((said(1).await.0, said(2).await.0, said(4).await), (7, 10, nothing()));
}

async fn a_piece_of_output_has_the_time_of_its_end(store: &Store) {
    let id = store.submit(job("x", 5)).await.unwrap();
    let claim = claim_one(store, "w1", LEASE).await.unwrap();
    for (start, time) in [(0, (5, 3)), (3, (u64::MAX, 2)), (6, (0, 0))] {
        assert!(store.chunk(Chunk { time, ..super::chunk(&claim, start, b"abc") }).await.unwrap());
        let live = store.live(id, 1, Stream::Stdout, 0).await.unwrap();
        assert_eq!((live.bytes.len() as u64, live.time), (start + 3, time));
    }
}

/// After a week, or after a minute where its end was asked for. `change` runs a statement, which the store has none for.
pub async fn nobody_comes(store: &Store, change: impl Fn(&str)) {
    let begin = async || {
        let id = store.submit(job("x", 5)).await.unwrap();
        let claim = claim_one(store, "w1", GONE).await.unwrap();
        assert!(store.dispatch(&claim, dispatch("far", true)).await.unwrap());
        id
    };
    let later = async |seconds: u64| {
        change(&format!("update jobs set lease_until = lease_until - {}", seconds * 1000));
        let swept = store.sweep().await.unwrap();
        assert_eq!(swept.queued, 0, "it is not run again");
        swept.ended
    };
    let (left, canceled) = (begin().await, begin().await);
    assert_eq!(store.cancel(canceled).await.unwrap(), Cancel::Asked);
    assert_eq!(later(30).await, [0; 0], "somebody may come and end it");
    assert_eq!(later(31).await, [canceled]);
    let job = store.job(canceled).await.unwrap().unwrap();
    assert_eq!((job.status, job.attempt), (Status::Canceled, 1));
    assert_eq!(store.attempts(canceled).await.unwrap()[0].ending, AttemptEnding::Lost);
    const DAY: u64 = 24 * 3600;
    assert_eq!(later(6 * DAY).await, [0; 0], "the other one may still be gone on with");
    assert_eq!(store.status(left).await.unwrap(), Some((Status::Started, 1)));
    assert_eq!(later(DAY).await, [left]);
    let job = store.job(left).await.unwrap().unwrap();
    assert_eq!((job.status, job.reason), (Status::Failed, Some(Reason::WorkerLost)));
    assert!(job.ended.unwrap().error.unwrap().contains("'far' has come for it within a week"));
}
