//! Cancel, retry, time in the queue, output while a job runs.

use super::*;
use jobmgr::store::Cancel;

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_queued_job_is_canceled_at_once(&fresh().await).await;
    a_started_job_ends_canceled_whatever_its_worker_says(&fresh().await).await;
    a_job_whose_end_was_asked_for_does_not_run_again(&fresh().await).await;
    a_retry_is_counted_apart_and_leaves_its_attempt(&fresh().await).await;
    a_job_that_must_not_run_twice_does_not(&fresh().await).await;
    a_job_waits_no_longer_than_it_may(&fresh().await).await;
    output_is_read_while_a_job_runs(&fresh().await).await;
    a_claim_that_nobody_knows_of_is_given_back(&fresh().await).await;
}

async fn a_queued_job_is_canceled_at_once(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    assert_eq!(store.cancel(id).await.unwrap(), Cancel::Asked);
    let read = store.job(id).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason, read.attempt), (Status::Canceled, Some(Reason::Canceled), 0));
    assert_eq!(read.ended.unwrap().error.as_deref(), Some("canceled"));
    assert!(read.finished_ms.is_some());
    assert!(claim_one(store, "w", LEASE).await.is_none());
    assert_eq!(store.cancel(id).await.unwrap(), Cancel::TooLate(Status::Canceled));
    assert_eq!(store.cancel(id + 1).await.unwrap(), Cancel::Unknown);
}

async fn a_started_job_ends_canceled_whatever_its_worker_says(store: &Store) {
    let mut told = store.cancels();
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.canceled("w").await.unwrap().is_empty());
    for _ in 0..2 {
        assert_eq!(store.cancel(id).await.unwrap(), Cancel::Asked);
    }
    assert_eq!(told.try_recv().unwrap(), id);
    assert_eq!(store.canceled("w").await.unwrap(), [(id, claim.epoch)]);
    assert!(store.renew("w", LEASE).await.unwrap().held[0].canceled);
    assert_eq!(store.job(id).await.unwrap().unwrap().status, Status::Started, "until its worker has ended it");
    store.finish(&claim, completed(1, b"it was faster"), None).await.unwrap().expect("still held");
    let read = store.job(id).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason), (Status::Canceled, Some(Reason::Canceled)));
    assert_eq!(read.ended.unwrap().stdout.body, LogBody::Inline(b"it was faster".to_vec()));
    let done = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    store.finish(&claim, completed(1, b""), None).await.unwrap().unwrap();
    assert_eq!(store.cancel(done).await.unwrap(), Cancel::TooLate(Status::Completed));
    assert_eq!(store.job(done).await.unwrap().unwrap().status, Status::Completed);
}

async fn a_job_whose_end_was_asked_for_does_not_run_again(store: &Store) {
    for way in 0..4 {
        let id = store.submit(job("x", 50)).await.unwrap();
        let claim = claim_one(store, "w", if way == 3 { GONE } else { LEASE }).await.unwrap();
        assert_eq!(store.cancel(id).await.unwrap(), Cancel::Asked);
        match way {
            0 => assert!(store.release(&claim, GONE, "not now").await.unwrap()),
            1 => assert!(store.retry(&claim, failure(), GONE).await.unwrap()),
            2 => assert_eq!(store.crashed(&claim).await.unwrap().ended, [id]),
            _ => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert_eq!(store.sweep().await.unwrap().ended, [id]);
            }
        }
        assert_eq!(store.job(id).await.unwrap().unwrap().status, Status::Canceled, "way {way}");
    }
}

async fn a_retry_is_counted_apart_and_leaves_its_attempt(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(claim.tries, 0);
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    assert!(store.retry(&claim, failure(), GONE).await.unwrap(), "told again when the answer was lost");
    let claim = claim_one(store, "v", LEASE).await.unwrap();
    assert_eq!((claim.id, claim.attempt, claim.tries), (id, 2, 1));
    assert!(store.release(&claim, GONE, "not now").await.unwrap());
    let claim = claim_one(store, "v", LEASE).await.unwrap();
    assert_eq!((claim.attempt, claim.tries), (3, 1), "a release uses up no retry");
    assert!(store.retry(&claim, failure(), Duration::from_secs(3600)).await.unwrap());
    assert!(claim_one(store, "w", LEASE).await.is_none(), "not before its time");
    let attempts = store.attempts(id).await.unwrap();
    let told: Vec<_> = attempts.iter().map(|one| (one.attempt, one.ending, one.worker.as_str())).collect();
    assert_eq!(
        told,
        [(1, AttemptEnding::Failed, "w"), (2, AttemptEnding::Released, "v"), (3, AttemptEnding::Failed, "v")]
    );
    let (first, failure) = (&attempts[0], failure());
    assert_eq!((first.reason, first.exit_code), (Some(Reason::ExitCode), Some(3)));
    assert_eq!((&first.error, &first.stdout, &first.stderr), (&failure.error, &failure.stdout, &failure.stderr));
    assert!(first.started_ms.unwrap() <= first.ended_ms && attempts[1].reason.is_none());
    assert_eq!(attempts[1].error.as_deref(), Some("not now"), "why it was given back");
}

async fn a_job_that_must_not_run_twice_does_not(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", GONE).await.unwrap();
    assert!(store.limit_crashes(&claim, 1).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.sweep().await.unwrap().ended, [id]);
    let read = store.job(id).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason), (Status::Failed, Some(Reason::WorkerLost)));
}

async fn a_job_waits_no_longer_than_it_may(store: &Store) {
    let soon = Some(Duration::from_millis(1));
    let late = store.submit(NewJob { queue_timeout: soon, ..job("late", 50) }).await.unwrap();
    let patient = store.submit(NewJob { queue_timeout: Some(LEASE), ..job("patient", 50) }).await.unwrap();
    let ran = store.submit(NewJob { queue_timeout: soon, ..job("ran", 10) }).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(claim.id, ran);
    assert!(store.release(&claim, GONE, "not now").await.unwrap());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(store.sweep().await.unwrap().overdue, [late], "what was started once waits for ever");
    let read = store.job(late).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason), (Status::Failed, Some(Reason::QueueTimeout)));
    assert!(read.ended.unwrap().error.unwrap().contains("QueueTimeout"));
    assert_eq!(store.job(patient).await.unwrap().unwrap().status, Status::Queued);
}

async fn output_is_read_while_a_job_runs(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.live(id, 1, Stream::Stdout, 0).await.unwrap().bytes.is_empty());
    assert!(store.chunk(chunk(&claim, 0, b"one \xff\0")).await.unwrap());
    assert!(store.chunk(chunk(&claim, 6, b"two")).await.unwrap());
    let live = store.live(id, 1, Stream::Stdout, 0).await.unwrap();
    assert_eq!((live.start, live.bytes.as_slice()), (0, &b"one \xff\0two"[..]));
    let live = store.live(id, 1, Stream::Stdout, 5).await.unwrap();
    assert_eq!((live.start, live.bytes.as_slice()), (5, &b"\0two"[..]));
    assert!(store.live(id, 1, Stream::Stderr, 0).await.unwrap().bytes.is_empty());
    let piece = vec![b'x'; 64 << 10];
    for number in 0..20 {
        assert!(store.chunk(chunk(&claim, 9 + number * piece.len() as u64, &piece)).await.unwrap());
    }
    let live = store.live(id, 1, Stream::Stdout, 0).await.unwrap();
    assert!(live.start > 9, "the beginning is dropped once there is much");
    assert!(live.bytes.len() as u64 <= jobmgr::store::LIVE);
    store.finish(&claim, completed(1, b""), None).await.unwrap().unwrap();
    assert!(store.live(id, 1, Stream::Stdout, 0).await.unwrap().bytes.is_empty(), "gone with the end");
}

async fn a_claim_that_nobody_knows_of_is_given_back(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    claim_one(store, "w", LEASE).await.unwrap();
    let held = store.renew("w", LEASE).await.unwrap().held;
    assert!(store.give_back("w", held[0]).await.unwrap());
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().id, id);
}
