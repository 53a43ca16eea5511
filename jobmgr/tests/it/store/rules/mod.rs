//! One conformance suite for every database: each function gets an empty store.

mod elsewhere;
mod events;
mod inputs;
mod keep;
mod moves;
mod several;
mod submissions;
mod tokens;
mod webhooks;

pub use elsewhere::nobody_comes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jobmgr::domain::job::{
    Artifact, AttemptEnding, Claim, Ended, Failure, Finish, Log, LogBody, Progress, Reason, Skipped, Status,
};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::{Chunk, Claiming, Held, Store, Stream};

pub const LEASE: Duration = Duration::from_secs(60);
const GONE: Duration = Duration::ZERO;

pub fn job(name: &str, priority: i64) -> NewJob {
    let parameters = [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "\u{e9}\u{1F600}'\"\\\n".to_owned())];
    NewJob { name: name.into(), parameters: parameters.into(), priority, ..NewJob::default() }
}

pub fn completed(attempt: i64, stdout: &[u8]) -> Arc<Finish> {
    let ended = Ended {
        error: None,
        exit_code: Some(0),
        signal: None,
        stdout: Log { written: stdout.len() as u64, body: LogBody::Inline(stdout.to_vec()) },
        stderr: Log::default(),
        output: Some(serde_json::json!({ "answer": 42 })),
        warnings: vec!["a warning".into()],
        artifacts: Vec::new(),
        skipped: vec![Skipped { name: "link".into(), reason: "symlink".into() }],
        executor_log: Log { written: 9, body: LogBody::Inline(b"said".to_vec()) },
    };
    Arc::new(Finish { status: Status::Completed, reason: None, attempt, chunks: true, ended })
}

pub fn failure() -> Arc<Failure> {
    let log = |text: &[u8]| Log { written: text.len() as u64, body: LogBody::Inline(text.to_vec()) };
    Arc::new(Failure {
        reason: Reason::ExitCode,
        error: Some("exit status 3".into()),
        exit_code: Some(3),
        signal: None,
        stdout: log(b"said\0"),
        stderr: log(b""),
    })
}

fn chunk(claim: &Claim, start: u64, bytes: &[u8]) -> Chunk {
    let Claim { id, epoch, attempt, .. } = *claim;
    Chunk { id, epoch, attempt, stream: Stream::Stdout, start, bytes: bytes.to_vec(), time: (0, 0) }
}

pub async fn claim_one(store: &Store, worker: &str, lease: Duration) -> Option<Claim> {
    store.claim(&by(worker, lease), 1).await.unwrap().pop()
}

pub fn by(worker: &str, lease: Duration) -> Claiming {
    Claiming { worker: worker.into(), lease, scope: Arc::default() }
}

/// Every rule, in turn; `fresh` makes an empty store.
pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_submission_is_readable_at_once(&fresh().await).await;
    claims_go_by_priority_then_id(&fresh().await).await;
    an_end_is_whole(&fresh().await).await;
    large_ends_are_written_together(&fresh().await).await;
    an_end_can_claim_the_next(&fresh().await).await;
    who_lost_the_lease_changes_nothing(&fresh().await).await;
    a_lease_that_ran_out_is_taken_back_three_times(&fresh().await).await;
    a_dead_worker_is_buried_alone(&fresh().await).await;
    a_release_is_not_counted_and_may_wait(&fresh().await).await;
    a_held_lease_is_renewed(&fresh().await).await;
    a_crash_of_the_runner_counts(&fresh().await).await;
    many_submissions_get_ids_of_their_own(&fresh().await).await;
    many_claimers_get_each_job_once(&fresh().await).await;
    a_caller_that_goes_away_leaves_the_store_sound(&fresh().await).await;
    moves::all(&fresh).await;
    several::all(&fresh).await;
    keep::all(&fresh).await;
    elsewhere::all(&fresh).await;
    inputs::all(&fresh).await;
    submissions::all(&fresh).await;
    webhooks::all(&fresh).await;
    events::all(&fresh).await;
    tokens::all(&fresh).await;
}

async fn a_submission_is_readable_at_once(store: &Store) {
    let id = store.submit(job("x", 7)).await.unwrap();
    let read = store.job(id).await.unwrap().expect("the job is there");
    assert_eq!((read.id, read.status, read.priority, read.attempt), (id, Status::Queued, 7, 0));
    assert_eq!(read.parameters, job("x", 7).parameters);
    assert!(read.created_ms > 1_600_000_000_000 && read.started_ms.is_none() && read.ended.is_none());
    assert!(store.job(id + 1).await.unwrap().is_none());
    assert_eq!(store.unfinished().await.unwrap(), 1);
}

async fn claims_go_by_priority_then_id(store: &Store) {
    let mut ids = Vec::new();
    for priority in [50, 10, 50, 0, 100, 10] {
        ids.push(store.submit(job("x", priority)).await.unwrap());
    }
    let claims = store.claim(&by("w", LEASE), 4).await.unwrap();
    let order: Vec<i64> = claims.iter().map(|claim| claim.id).collect();
    assert_eq!(order, [ids[3], ids[1], ids[5], ids[0]]);
    let rest: Vec<i64> = store.claim(&by("w", LEASE), 9).await.unwrap().iter().map(|claim| claim.id).collect();
    assert_eq!(rest, [ids[2], ids[4]]);
    assert!(claim_one(store, "w", LEASE).await.is_none());
    assert_eq!(claims[0].parameters.as_ref().unwrap(), &job("x", 0).parameters);
    assert_eq!((claims[0].attempt, claims[0].epoch, claims[0].name.as_str()), (1, 1, "x"));
}

async fn an_end_is_whole(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let progress = Progress { percent: 42.5, message: "half".into() };
    assert!(store.progress(&claim, &progress).await.unwrap());
    assert_eq!(store.job(id).await.unwrap().unwrap().progress, Some(progress));
    let mut finish = Arc::unwrap_or_clone(completed(1, b"out\0\xff\n"));
    for number in 0..150 {
        finish.ended.artifacts.push(Artifact {
            id: 0,
            job_id: id,
            name: format!("f{number:03} \u{65e5}"),
            mime: "text/plain".into(),
            size: number,
            uuid: format!("uuid-{number}"),
            sha256: "00".repeat(32),
            key: format!("jobs/{id}/1/{number}"),
            created_ms: 0,
        });
    }
    store.finish(&claim, Arc::new(finish.clone()), None).await.unwrap().expect("still held");
    let read = store.job(id).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason), (Status::Completed, None));
    assert!(read.created_ms <= read.started_ms.unwrap() && read.started_ms <= read.finished_ms);
    let ended = read.ended.unwrap();
    assert_eq!((ended.stdout, ended.stderr), (finish.ended.stdout, finish.ended.stderr));
    assert_eq!((ended.output, ended.warnings), (finish.ended.output, finish.ended.warnings));
    assert_eq!((ended.skipped, ended.exit_code), (finish.ended.skipped, Some(0)));
    assert_eq!(ended.artifacts.len(), 150);
    let one = &ended.artifacts[149];
    assert_eq!((one.name.as_str(), one.size, one.job_id), ("f149 \u{65e5}", 149, id));
    assert_eq!(store.artifact(one.id).await.unwrap().as_ref(), Some(one));
    assert_eq!(store.artifact(one.id + 1).await.unwrap(), None);
}

/// More in all than MariaDB takes in one packet, 16 MiB.
async fn large_ends_are_written_together(store: &Store) {
    const JOBS: usize = 40;
    for _ in 0..JOBS {
        store.submit(job("x", 50)).await.unwrap();
    }
    let claims = store.claim(&by("w", LEASE), u32::try_from(JOBS).unwrap()).await.unwrap();
    assert_eq!(claims.len(), JOBS);
    let ends = claims.iter().enumerate().map(|(number, claim)| {
        let mut finish = Arc::unwrap_or_clone(completed(1, b""));
        // Every second one is small.
        let size = if number % 2 == 0 { 1_000_000 } else { 10 };
        finish.ended.output = Some(serde_json::json!(format!("{number} {}", "x".repeat(size))));
        store.finish(claim, Arc::new(finish), None)
    });
    for ended in futures_util::future::join_all(ends).await {
        assert!(ended.unwrap().is_some(), "still held");
    }
    for (number, claim) in claims.iter().enumerate().step_by(9) {
        let output = store.job(claim.id).await.unwrap().unwrap().ended.unwrap().output.unwrap();
        assert!(output.as_str().unwrap().starts_with(&format!("{number} x")), "{number}");
    }
}

async fn an_end_can_claim_the_next(store: &Store) {
    let first = store.submit(job("x", 50)).await.unwrap();
    let second = store.submit(job("y", 50)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(claim.id, first);
    let next = store.finish(&claim, completed(1, b""), Some(by("w", LEASE))).await.unwrap().unwrap();
    assert_eq!(next.iter().map(|claim| claim.id).collect::<Vec<_>>(), [second]);
    let none = store.finish(&next[0], completed(1, b""), Some(by("w", LEASE))).await.unwrap().unwrap();
    assert!(none.is_empty());
    assert_eq!(store.unfinished().await.unwrap(), 0);
}

async fn who_lost_the_lease_changes_nothing(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let old = claim_one(store, "slow", GONE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.sweep().await.unwrap().queued, 1);
    let new = claim_one(store, "quick", LEASE).await.unwrap();
    assert_eq!((new.id, new.attempt), (id, 2));
    assert!(new.epoch > old.epoch);
    assert!(store.finish(&old, completed(1, b"wrong"), None).await.unwrap().is_none());
    assert!(!store.progress(&old, &Progress { percent: 1.0, message: String::new() }).await.unwrap());
    assert!(!store.release(&old, GONE, "not now").await.unwrap());
    assert!(!store.retry(&old, failure(), GONE).await.unwrap());
    assert!(!store.limit_crashes(&old, 1).await.unwrap());
    assert!(!store.chunk(chunk(&old, 0, b"wrong")).await.unwrap());
    assert_eq!(store.crashed(&old).await.unwrap(), Default::default());
    assert!(store.renew("slow", LEASE).await.unwrap().held.is_empty());
    assert_eq!(store.job(id).await.unwrap().unwrap().status, Status::Started);
    store.finish(&new, completed(2, b"right"), None).await.unwrap().expect("the holder may");
    let again = store.finish(&new, completed(2, b"twice"), None).await.unwrap();
    assert!(again.is_some(), "who ended it learns that it did, also when the first answer was lost");
    let ended = store.job(id).await.unwrap().unwrap().ended.unwrap();
    assert_eq!(ended.stdout.body, LogBody::Inline(b"right".to_vec()));
}

async fn a_lease_that_ran_out_is_taken_back_three_times(store: &Store) {
    let id = store.submit(job("poison", 50)).await.unwrap();
    for attempt in 1..=3 {
        let claim = claim_one(store, "w", GONE).await.expect("runnable again");
        assert_eq!((claim.id, claim.attempt), (id, attempt));
        tokio::time::sleep(Duration::from_millis(5)).await;
        let swept = store.sweep().await.unwrap();
        assert_eq!((swept.queued, swept.ended.len()), if attempt < 3 { (1, 0) } else { (0, 1) });
    }
    let read = store.job(id).await.unwrap().unwrap();
    assert_eq!((read.status, read.reason), (Status::Failed, Some(Reason::CrashLimit)));
    assert!(read.ended.unwrap().error.unwrap().contains("3 times"));
    assert!(claim_one(store, "w", LEASE).await.is_none());
}

async fn a_dead_worker_is_buried_alone(store: &Store) {
    let one = store.submit(job("x", 50)).await.unwrap();
    let two = store.submit(job("x", 50)).await.unwrap();
    assert_eq!(claim_one(store, "dead", LEASE).await.unwrap().id, one);
    assert_eq!(claim_one(store, "alive", LEASE).await.unwrap().id, two);
    assert_eq!(store.sweep().await.unwrap(), Default::default(), "both leases hold");
    assert_eq!(store.bury("dead").await.unwrap().queued, 1);
    assert_eq!(store.job(one).await.unwrap().unwrap().status, Status::Queued);
    assert_eq!(store.job(two).await.unwrap().unwrap().status, Status::Started);
}

async fn a_release_is_not_counted_and_may_wait(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    for _ in 0..5 {
        let claim = claim_one(store, "w", LEASE).await.unwrap();
        assert!(store.release(&claim, GONE, "not now").await.unwrap());
    }
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(claim.attempt, 6);
    assert!(store.release(&claim, Duration::from_secs(3600), "not now").await.unwrap());
    assert!(claim_one(store, "w", LEASE).await.is_none(), "not before its time");
    let later = store.submit(job("x", 99)).await.unwrap();
    assert_eq!(claim_one(store, "w", LEASE).await.unwrap().id, later, "one that waits hides none behind it");
    assert_eq!(store.job(id).await.unwrap().unwrap().status, Status::Queued);
}

async fn a_held_lease_is_renewed(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    let claim = claim_one(store, "w", GONE).await.unwrap();
    let renewal = store.renew("w", LEASE).await.unwrap();
    assert_eq!(renewal.renewed, [id]);
    assert_eq!(renewal.held, [Held { id, epoch: claim.epoch, attempt: 1, canceled: false }]);
    assert!(store.renew("other", LEASE).await.unwrap().held.is_empty());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.sweep().await.unwrap(), Default::default());
}

async fn a_crash_of_the_runner_counts(store: &Store) {
    let id = store.submit(job("x", 50)).await.unwrap();
    for _ in 0..2 {
        let claim = claim_one(store, "w", LEASE).await.unwrap();
        assert_eq!(store.crashed(&claim).await.unwrap().queued, 1);
    }
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(store.crashed(&claim).await.unwrap().ended, [claim.id]);
    assert_eq!(store.job(id).await.unwrap().unwrap().reason, Some(Reason::CrashLimit));
    let endings: Vec<_> = store.attempts(id).await.unwrap().iter().map(|attempt| attempt.ending).collect();
    assert_eq!(endings, [AttemptEnding::Crashed; 3]);
}

async fn many_submissions_get_ids_of_their_own(store: &Store) {
    let submissions: Vec<_> = (0..500)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { (number, store.submit(job(&format!("n{number}"), 50)).await.unwrap()) })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for submission in submissions {
        let (number, id) = submission.await.unwrap();
        assert!(ids.insert(id), "id {id} was given twice");
        assert_eq!(store.job(id).await.unwrap().unwrap().name, format!("n{number}"), "id {id} is another's");
    }
}

async fn many_claimers_get_each_job_once(store: &Store) {
    for _ in 0..200 {
        store.submit(job("x", 50)).await.unwrap();
    }
    let claimers: Vec<_> = (0..8)
        .map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                let mut held = claim_one(&store, &format!("w{worker}"), LEASE).await;
                while let Some(claim) = held.take() {
                    mine.push(claim.id);
                    let next = store.finish(&claim, completed(1, b""), Some(by("w", LEASE))).await.unwrap();
                    held = next.expect("nobody else holds it").pop();
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    let count = all.len();
    assert_eq!((count, all.into_iter().collect::<BTreeSet<_>>().len()), (200, 200));
    assert_eq!(store.unfinished().await.unwrap(), 0);
}

async fn a_caller_that_goes_away_leaves_the_store_sound(store: &Store) {
    for micros in 0..200 {
        let submit = store.submit(job("x", 50));
        let read = store.job(1);
        drop(tokio::time::timeout(Duration::from_micros(micros), async { tokio::join!(submit, read) }).await);
    }
    let id = store.submit(job("last", 50)).await.unwrap();
    assert_eq!(store.job(id).await.unwrap().unwrap().name, "last");
}
