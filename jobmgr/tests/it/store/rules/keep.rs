//! What is kept, and what goes.

use super::*;
use jobmgr::store::{Aging, HeldArtifacts, PAGE};

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    jobs_age_once_they_have_ended(&fresh().await).await;
    all_jobs_are_looked_through_in_pages(&fresh().await).await;
    only_what_has_ended_is_dropped(&fresh().await).await;
    an_id_is_never_given_again(&fresh().await).await;
    artifacts_are_counted_and_dropped(&fresh().await).await;
    what_rows_name_is_known(&fresh().await).await;
}

fn artifact(job: i64, number: u64, size: u64) -> Artifact {
    Artifact {
        id: 0,
        job_id: job,
        name: format!("f{number}"),
        mime: "text/plain".into(),
        size,
        uuid: format!("uuid-{number}"),
        sha256: "00".repeat(32),
        key: format!("jobs/i/{job}/1/{number}"),
        created_ms: 0,
    }
}

/// A completed job with artifacts of these sizes.
async fn ended(store: &Store, sizes: &[u64]) -> i64 {
    let id = store.submit(job("x", 0)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert_eq!(claim.id, id);
    let mut finish = Arc::unwrap_or_clone(completed(claim.attempt, b"out"));
    finish.ended.artifacts = (0..).zip(sizes).map(|(number, size)| artifact(id, number, *size)).collect();
    store.finish(&claim, Arc::new(finish), None).await.unwrap().unwrap();
    id
}

async fn jobs_age_once_they_have_ended(store: &Store) {
    let done = ended(store, &[1, 2]).await;
    store.submit(job("started \u{e9}'", 0)).await.unwrap();
    claim_one(store, "w", LEASE).await.unwrap();
    let queued = store.submit(job("x", 0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let page = store.aging(0).await.unwrap();
    let seen: Vec<_> = page.iter().map(|job| (job.status.unwrap(), job.artifacts)).collect();
    assert_eq!(seen, [(Status::Completed, 2), (Status::Started, 0), (Status::Queued, 0)]);
    assert_eq!((page[0].id, page[1].name.as_str(), page[2].id), (done, "started \u{e9}'", queued));
    assert!((5..60_000).contains(&page[0].age_ms.unwrap()), "{page:?}");
    assert_eq!((page[1].age_ms, page[2].age_ms), (None, None));
}

async fn all_jobs_are_looked_through_in_pages(store: &Store) {
    let submitting: Vec<_> = (0..PAGE + 7)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.submit(job("x", 0)).await.unwrap() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for submitted in submitting {
        ids.insert(submitted.await.unwrap());
    }
    let first = store.aging(0).await.unwrap();
    let rest = store.aging(first[PAGE - 1].id).await.unwrap();
    assert_eq!((first.len(), rest.len()), (PAGE, 7));
    assert!(first.iter().chain(&rest).map(|job| job.id).eq(ids.iter().copied()), "by id, each once");
    assert_eq!(store.highest_id().await.unwrap(), *ids.last().unwrap());
    assert_eq!(store.aging(*ids.last().unwrap()).await.unwrap(), []);
    let standings = store.standings(ids.iter().copied().collect()).await.unwrap();
    assert!(standings.values().eq(vec![(Some(Status::Queued), 0); PAGE + 7].iter()));
}

async fn only_what_has_ended_is_dropped(store: &Store) {
    let done = ended(store, &[1]).await;
    let failed = store.submit(job("x", 0)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let finish = Finish { status: Status::Failed, reason: Some(Reason::ExitCode), ..(*completed(2, b"")).clone() };
    store.finish(&claim, Arc::new(finish), None).await.unwrap().unwrap();
    let canceled = store.submit(job("x", 0)).await.unwrap();
    store.cancel(canceled).await.unwrap();
    let stays = ended(store, &[3]).await;
    let started = store.submit(job("x", 0)).await.unwrap();
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.retry(&claim, failure(), GONE).await.unwrap());
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    assert!(store.chunk(chunk(&claim, 0, b"live")).await.unwrap());
    let queued = store.submit(job("x", 0)).await.unwrap();

    let all = vec![done, failed, canceled, started, queued, 999_999];
    assert_eq!(store.drop_jobs(all.clone()).await.unwrap().jobs, 3);
    assert_eq!(store.drop_jobs(all).await.unwrap().jobs, 0, "again does no harm");
    for gone in [done, failed, canceled] {
        assert!(store.job(gone).await.unwrap().is_none());
        assert_eq!(store.attempts(gone).await.unwrap(), []);
    }
    assert!(store.artifacts_of(vec![done, failed, canceled]).await.unwrap().is_empty());
    assert_eq!(store.job(stays).await.unwrap().unwrap().ended.unwrap().artifacts.len(), 1);
    assert_eq!(store.job(queued).await.unwrap().unwrap().status, Status::Queued);
    assert_eq!(store.status(started).await.unwrap(), Some((Status::Started, 2)));
    assert_eq!(store.attempts(started).await.unwrap().len(), 1, "its past is left");
    assert_eq!(store.live(started, 2, Stream::Stdout, 0).await.unwrap().bytes, b"live");
    store.finish(&claim, completed(2, b""), None).await.unwrap().expect("its worker does not notice");
}

/// An object of a job that is gone may be removed, since no later job will have its keys.
async fn an_id_is_never_given_again(store: &Store) {
    let first = ended(store, &[]).await;
    let last = ended(store, &[]).await;
    assert_eq!(store.drop_jobs(vec![last]).await.unwrap().jobs, 1);
    assert_eq!(store.highest_id().await.unwrap(), first);
    assert!(store.submit(job("x", 0)).await.unwrap() > last);
}

async fn artifacts_are_counted_and_dropped(store: &Store) {
    assert_eq!(store.all_artifacts().await.unwrap(), HeldArtifacts::default());
    let many: Vec<u64> = (0..PAGE as u64 + 3).collect();
    let (one, other) = (ended(store, &many).await, ended(store, &[1 << 40, 5]).await);
    let none = ended(store, &[]).await;
    let bytes = many.iter().sum();
    let held = store.artifacts_of(vec![one, other, none]).await.unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(held[&one], HeldArtifacts { count: many.len() as u64, bytes });
    assert_eq!(held[&other], HeldArtifacts { count: 2, bytes: (1 << 40) + 5 });
    let all = HeldArtifacts { count: many.len() as u64 + 2, bytes: bytes + (1 << 40) + 5 };
    assert_eq!(store.all_artifacts().await.unwrap(), all);

    let some = store.some_artifacts(one).await.unwrap();
    assert_eq!((some.len(), some[0].1.as_str()), (PAGE, format!("jobs/i/{one}/1/0").as_str()));
    store.drop_artifacts(some.into_iter().map(|(id, _)| id).collect()).await.unwrap();
    let rest = store.some_artifacts(one).await.unwrap();
    assert_eq!(rest.len(), 3);
    store.drop_artifacts(rest.into_iter().map(|(id, _)| id).collect()).await.unwrap();
    for _ in 0..2 {
        store.mention(one, "they were old").await.unwrap();
    }
    let ended = store.job(one).await.unwrap().unwrap().ended.unwrap();
    assert_eq!(ended.artifacts, []);
    assert_eq!(ended.warnings, ["a warning", "they were old"]);
    assert_eq!(
        (ended.skipped.len(), ended.stdout.body),
        (1, LogBody::Inline(b"out".to_vec())),
        "the rest is as it was"
    );
    let aging: Vec<Aging> = store.aging(0).await.unwrap();
    assert_eq!(aging.iter().map(|job| job.artifacts).collect::<Vec<_>>(), [0, 2, 0]);
    assert_eq!(store.job(other).await.unwrap().unwrap().ended.unwrap().artifacts.len(), 2);
}

async fn what_rows_name_is_known(store: &Store) {
    let id = store.submit(job("x", 0)).await.unwrap();
    let object = |key: &str| Log { written: 9_000_000, body: LogBody::Object { key: key.into(), size: 8_000_000 } };
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let past = Failure { stdout: object("past"), ..Arc::unwrap_or_clone(failure()) };
    assert!(store.retry(&claim, Arc::new(past), GONE).await.unwrap());
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    let mut finish = Arc::unwrap_or_clone(completed(2, &b"\0inline\n".repeat(5000)));
    finish.ended.stderr = object("large");
    finish.ended.artifacts = vec![artifact(id, 0, 1), artifact(id, 1, 1)];
    store.finish(&claim, Arc::new(finish), None).await.unwrap().unwrap();
    let keys = |artifacts| async move {
        let mut named = store.named_keys(vec![id, 999_999], artifacts).await.unwrap();
        assert_eq!(named.remove(&999_999), Some(Some(BTreeSet::new())));
        named.remove(&id).unwrap().unwrap().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(keys(false).await, ["large", "past"]);
    let artifacts = [format!("jobs/i/{id}/1/0"), format!("jobs/i/{id}/1/1")];
    assert_eq!(keys(true).await, [&artifacts[0], &artifacts[1], "large", "past"]);
    assert_eq!(store.standings(vec![id, 999_999]).await.unwrap(), [(id, (Some(Status::Completed), 2))].into());
}
