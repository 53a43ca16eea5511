//! Many claimers on one queue: each job is started once, in the order of priority and id, and nobody sees an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jobmgr::domain::job::{Ended, Finish, JobId, Log, Status};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::{Claiming, Scope, Store};
use serde_json::json;
use tokio::sync::Barrier;

use super::rows::{PATIENCE, Rows};
use super::{Database, elsewhere, on_each_database};
use crate::support::server::Home;

on_each_database!(each_is_started_once_in_order);

/// Stores, each with connections of its own, as processes have them.
const STORES: usize = 4;
/// Claimers on each of them.
const CLAIMERS: usize = 4;
/// One job in so many has a name of which only [`LIMIT`] may run at once.
const ONE_IN: u32 = 25;
const LIMIT: i64 = 3;
/// How often all of them claim such jobs at once.
const ROUNDS: usize = 10;

fn each_is_started_once_in_order(database: Database) {
    let Some(home) = database.home("[Worker]\nPoll = \"200ms\"\nConcurrency = 4") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let jobs = database.extent().of(300, 2_000, 10_000);
    let started = Instant::now();
    runtime.block_on(by_the_store(&home, jobs));
    println!("{database:?}: {jobs} jobs by the store in {:?}", started.elapsed());
    let started = Instant::now();
    by_processes(&home, database.extent().of(60, 200, 10_000));
    println!("{database:?}: by processes in {:?}", started.elapsed());
}

/// A started job: its place in the order, and the call that claimed it.
struct Start {
    place: (i64, JobId),
    limited: bool,
    asked: Instant,
    answered: Instant,
}

async fn by_the_store(home: &Home, jobs: u32) {
    let mut stores = Vec::new();
    for _ in 0..STORES {
        stores.push(home.store().await);
    }
    let priorities = submit(&stores[0], jobs).await;
    let left = Arc::new(Left { jobs: AtomicI64::new(jobs.into()), limited: AtomicI64::new(0) });
    let claimers = (0..STORES * CLAIMERS).map(|number| {
        let (store, left) = (stores[number % STORES].clone(), Arc::clone(&left));
        tokio::spawn(async move { work(&store, &format!("w{number}"), &left).await })
    });
    let claimers: Vec<_> = claimers.collect();
    let mut starts = Vec::new();
    for claimer in claimers {
        starts.extend(claimer.await.unwrap());
    }
    for start in &mut starts {
        start.place.0 = priorities[&start.place.1];
    }
    starts.sort_by_key(|start| start.place);
    let places: Vec<_> = starts.iter().map(|start| start.place).collect();
    let mut expected: Vec<_> = priorities.iter().map(|(id, priority)| (*priority, *id)).collect();
    expected.sort_unstable();
    assert!(places == expected, "not each job was started once: {} of {}", places.len(), expected.len());
    // Those of the limited name may have to let others pass.
    starts.retain(|start| !start.limited);
    check_order(&starts);
    never_more_than_may_run(&stores).await;
    assert_eq!(stores[0].unfinished().await.unwrap(), 0);
    for store in stores {
        store.close().await;
    }
}

/// All claimers ask in the same moment for jobs of a name of which none runs: each finds room, and one looks again.
async fn never_more_than_may_run(stores: &[Store]) {
    for round in 0..ROUNDS {
        let claimers = STORES * CLAIMERS;
        for _ in 0..claimers {
            stores[0].submit(NewJob { name: "limited".into(), ..NewJob::default() }).await.unwrap();
        }
        let barrier = Arc::new(Barrier::new(claimers));
        let claims = (0..claimers).map(|number| {
            let (store, barrier) = (stores[number % STORES].clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                store.claim(&claiming(&format!("w{number}")), 1).await.expect("no error reaches anyone")
            })
        });
        let mut held = Vec::new();
        for claim in claims.collect::<Vec<_>>() {
            held.extend(claim.await.unwrap());
        }
        let running = i64::try_from(held.len()).unwrap();
        assert!((1..=LIMIT).contains(&running), "round {round}: {running} run at once");
        let asked = Instant::now();
        let mut left = claimers;
        while left > 0 {
            assert!(asked.elapsed() < PATIENCE, "{left} jobs are left");
            match held.pop() {
                Some(claim) => {
                    stores[0].finish(&claim, nothing(), None).await.unwrap().expect("nobody else has it");
                    left -= 1;
                }
                None => held = stores[0].claim(&claiming("last"), 1).await.unwrap(),
            }
        }
    }
}

fn claiming(worker: &str) -> Claiming {
    let scope = Scope { limits: BTreeMap::from([("limited".to_owned(), LIMIT)]), ..Scope::default() };
    Claiming { worker: worker.into(), lease: Duration::from_secs(60), scope: Arc::new(scope) }
}

/// Queues jobs of ten priorities; gives the priority of each.
async fn submit(store: &Store, jobs: u32) -> BTreeMap<JobId, i64> {
    let submitting = (0..jobs).map(|number| {
        let store = store.clone();
        let priority = fastrand::i64(0..10);
        let name = if number % ONE_IN == 0 { "limited" } else { "none" };
        let job = NewJob { name: name.into(), parameters: BTreeMap::new(), priority, ..NewJob::default() };
        tokio::spawn(async move { (store.submit(job).await.expect("no error reaches anyone"), priority) })
    });
    let mut priorities = BTreeMap::new();
    for submitted in submitting.collect::<Vec<_>>() {
        let (id, priority) = submitted.await.unwrap();
        priorities.insert(id, priority);
    }
    assert_eq!(priorities.len(), jobs as usize);
    priorities
}

/// What is still to be done.
struct Left {
    jobs: AtomicI64,
    /// How many of the limited name run now.
    limited: AtomicI64,
}

/// Claims and ends jobs until there are none.
async fn work(store: &Store, name: &str, left: &Left) -> Vec<Start> {
    let claiming = claiming(name);
    let mut starts = Vec::new();
    let mut claimed = Vec::new();
    let mut asked = Instant::now();
    while left.jobs.load(Ordering::Relaxed) > 0 {
        let Some(claim) = claimed.pop() else {
            // There may be jobs that have to wait for the end of others; and one of the other claimers may have failed.
            assert!(asked.elapsed() < PATIENCE, "{} jobs are left", left.jobs.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = Instant::now();
            claimed = store.claim(&claiming, 1).await.expect("no error reaches anyone");
            if !claimed.is_empty() {
                asked = now;
            }
            continue;
        };
        let limited = claim.name == "limited";
        // One that was too many was put back before anybody saw it, which its epoch alone tells.
        assert!(claim.attempt == 1 && (claim.epoch == 1 || limited), "{claim:?} was started before");
        starts.push(Start { place: (0, claim.id), limited, asked, answered: Instant::now() });
        if limited {
            let running = left.limited.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(running <= LIMIT, "{running} run at once");
            tokio::time::sleep(Duration::from_millis(2)).await;
            left.limited.fetch_sub(1, Ordering::SeqCst);
        }
        left.jobs.fetch_sub(1, Ordering::Relaxed);
        asked = Instant::now();
        let done = store.finish(&claim, nothing(), Some(claiming.clone())).await.expect("no error reaches anyone");
        claimed = done.expect("nobody else has it");
    }
    starts
}

/// The end of a job that did nothing.
fn nothing() -> Arc<Finish> {
    let ended = Ended {
        error: None,
        exit_code: Some(0),
        signal: None,
        stdout: Log::default(),
        stderr: Log::default(),
        output: None,
        warnings: Vec::new(),
        artifacts: Vec::new(),
        skipped: Vec::new(),
        executor_log: Log::default(),
    };
    Arc::new(Finish { status: Status::Completed, reason: None, attempt: 1, chunks: false, ended })
}

/// All jobs were runnable before the first claim. When a claim is answered, each better job is claimed too, or one of
/// the other claims that are on their way has it; so at most as many are left behind as there are other claimers.
/// `starts` are in the order of their places.
fn check_order(starts: &[Start]) {
    for (index, start) in starts.iter().enumerate() {
        let behind = starts[..index].iter().filter(|better| better.asked > start.answered).count();
        assert!(behind < STORES * CLAIMERS, "{behind} better jobs were left when {:?} was claimed", start.place);
    }
}

/// How long a claim takes at most from the moment that its row names, in milliseconds: the database may be busy.
const CLAIM_MS: i64 = 500;

/// Real processes, with as many claimers in all.
fn by_processes(home: &Home, jobs: u32) {
    home.spec("true", "Command = \"/bin/true\"");
    let api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let ids: Vec<JobId> = (0..jobs).map(|_| api.start("true", json!({}))).collect();
    let _workers = [0, 1, 2, 3].map(|machine| home.worker_by(elsewhere(home, machine)));
    let mut rows = Rows::of(home);
    rows.wait(&ids);
    let mut starts = Vec::new();
    for id in &ids {
        let job = rows.settled(*id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{job:?}");
        assert!(rows.attempts(*id).is_empty(), "{job:?}");
        starts.push(job.started_ms.unwrap());
    }
    for (index, start) in starts.iter().enumerate() {
        let behind = starts[..index].iter().filter(|earlier| **earlier > start + CLAIM_MS).count();
        assert!(behind < STORES * CLAIMERS, "{behind} earlier jobs were started after job {}", ids[index]);
    }
    for trouble in ["can't claim", "deadlock", "locked", "serializ", "ERROR"] {
        assert!(!home.log().contains(trouble), "{}", home.log());
    }
}
