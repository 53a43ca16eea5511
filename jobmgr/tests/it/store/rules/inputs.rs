//! Uploaded files, and the jobs that they are given to.

use std::time::Duration;

use jobmgr::domain::input::{InputId, NewInput};
use jobmgr::domain::job::JobId;
use jobmgr::domain::submission::{Key, NewJob};
use jobmgr::store::{Store, Submitted};

use super::job;

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_file_is_remembered(&fresh().await).await;
    a_file_stays_as_long_as_a_job_has_it(&fresh().await).await;
    a_file_that_is_not_there_is_given_to_nobody(&fresh().await).await;
    a_file_that_nobody_uses_becomes_old(&fresh().await).await;
    who_gives_and_who_removes_do_not_cross(&fresh().await).await;
}

fn file(key: &str, size: u64) -> NewInput {
    NewInput { user_id: 7, name: "é ü.csv".into(), size, sha256: "0".repeat(64), key: format!("inputs/i/{key}") }
}

async fn add(store: &Store, key: &str) -> InputId {
    store.add_input(file(key, 1)).await.unwrap()
}

fn with(inputs: &[InputId]) -> NewJob {
    NewJob { inputs: inputs.to_vec(), ..job("x", 50) }
}

async fn there(store: &Store, ids: &[InputId]) -> Vec<InputId> {
    store.inputs(ids.to_vec()).await.unwrap().into_iter().map(|input| input.id).collect()
}

async fn ended(store: &Store, job: NewJob) -> JobId {
    let id = store.submit(job).await.unwrap();
    store.cancel(id).await.unwrap();
    id
}

async fn a_file_is_remembered(store: &Store) {
    let large = 5 << 40;
    let id = store.add_input(file("a", large)).await.unwrap();
    let kept = store.inputs(vec![id, id + 1]).await.unwrap().remove(0);
    let NewInput { user_id, name, size, sha256, key } = file("a", large);
    assert_eq!((kept.id, kept.user_id, kept.name, kept.size), (id, user_id, name, size));
    assert_eq!((kept.sha256, kept.key.clone()), (sha256, key));
    assert!(kept.created_ms > 1_700_000_000_000);
    let second = add(store, "b").await;
    assert!(second > id);
    let known = store.known_inputs(vec![kept.key.clone(), "inputs/i/c".into()]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [kept.key]);
    // A key is one file's.
    assert!(store.add_input(file("a", 1)).await.is_err());
    assert_eq!(there(store, &(1..200).collect::<Vec<_>>()).await, [id, second]);
}

async fn a_file_stays_as_long_as_a_job_has_it(store: &Store) {
    let (one, two, free) = (add(store, "1").await, add(store, "2").await, add(store, "3").await);
    let first = ended(store, with(&[one, two, one])).await;
    let second = ended(store, with(&[one])).await;
    let of = |job| async move { store.inputs_of(job).await.unwrap().into_iter().map(|i| i.id).collect::<Vec<_>>() };
    assert_eq!((of(first).await, of(second).await), (vec![one, two], vec![one]));
    assert_eq!(store.drop_inputs(vec![one, two]).await.unwrap(), [] as [String; 0]);
    let dropped = store.drop_jobs(vec![first]).await.unwrap();
    assert_eq!((dropped.jobs, dropped.inputs), (1, vec!["inputs/i/2".to_owned()]));
    assert_eq!(there(store, &[one, two, free]).await, [one, free]);
    let dropped = store.drop_jobs(vec![first, second]).await.unwrap();
    assert_eq!((dropped.jobs, dropped.inputs), (1, vec!["inputs/i/1".to_owned()]));
    assert_eq!(there(store, &[one, two, free]).await, [free]);
    assert_eq!(store.drop_inputs(vec![free, one]).await.unwrap(), ["inputs/i/3"]);
    // What has not ended keeps what it has.
    let input = add(store, "4").await;
    let waits = store.submit(with(&[input])).await.unwrap();
    assert_eq!(store.drop_jobs(vec![waits]).await.unwrap(), jobmgr::store::Dropped::default());
    assert_eq!(there(store, &[input]).await, [input]);
}

async fn a_file_that_is_not_there_is_given_to_nobody(store: &Store) {
    let input = add(store, "1").await;
    let missing = input + 5;
    let jobs = vec![job("x", 50), with(&[input]), with(&[missing, input])];
    let before = store.unfinished().await.unwrap();
    assert_eq!(store.submit_together(jobs, None).await.unwrap(), Submitted::NoInput(vec![missing]));
    assert!(store.submit(with(&[missing])).await.is_err());
    // The key is not used up by that.
    let key = || Key::new(b"k", "d".into()).unwrap();
    let once = |inputs: &[InputId]| store.submit_once(with(inputs), key());
    assert_eq!(once(&[missing]).await.unwrap(), Submitted::NoInput(vec![missing]));
    assert_eq!(store.unfinished().await.unwrap(), before);
    let Submitted::New(ids) = once(&[input]).await.unwrap() else { panic!("it is new") };
    assert_eq!(once(&[input]).await.unwrap(), Submitted::Before(ids[0]));
}

async fn a_file_that_nobody_uses_becomes_old(store: &Store) {
    let (used, unused) = (add(store, "1").await, add(store, "2").await);
    store.submit(with(&[used])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let old = |age: u64| async move {
        let old = store.unused_inputs(Duration::from_millis(age)).await.unwrap();
        old.into_iter().map(|input| input.id).collect::<Vec<_>>()
    };
    assert_eq!((old(5).await, old(600_000).await), (vec![unused], vec![]));
}

/// Whoever comes first: the file goes and nobody has it, or a job has it and it stays.
async fn who_gives_and_who_removes_do_not_cross(store: &Store) {
    for round in 0..20 {
        let input = add(store, &format!("r{round}")).await;
        let other = ended(store, with(&[input])).await;
        let give = |store: Store| async move { store.submit_together(vec![with(&[input])], None).await.unwrap() };
        let remove = |store: Store| async move {
            let jobs = store.drop_jobs(vec![other]).await.unwrap().inputs;
            [jobs, store.drop_inputs(vec![input]).await.unwrap()].concat()
        };
        let giving: Vec<_> = (0..3).map(|_| tokio::spawn(give(store.clone()))).collect();
        let removed = tokio::spawn(remove(store.clone())).await.unwrap();
        let mut given = 0;
        for one in giving {
            given += usize::from(matches!(one.await.unwrap(), Submitted::New(_)));
        }
        let left = there(store, &[input]).await.len();
        let gone = usize::from(!removed.is_empty());
        assert_eq!(left + gone, 1, "{given} jobs have it");
        assert!(given == 0 || left == 1, "{given} jobs have a file that is gone");
    }
}
