//! Several workers: what each may claim, who is there, who does what.

use std::collections::BTreeMap;

use super::*;
use jobmgr::domain::gpu::Gpu;
use jobmgr::store::{Giving, Offer, Presence, Scope};

pub async fn all<F: Future<Output = Store>>(fresh: impl Fn() -> F) {
    a_worker_claims_what_it_has(&fresh().await).await;
    what_can_not_run_hides_nothing_behind_it(&fresh().await).await;
    the_cautious_leave_jobs_with_a_last_chance(&fresh().await).await;
    no_more_run_than_may(&fresh().await).await;
    no_more_run_than_may_with_many_claimers(&fresh().await).await;
    a_gpu_is_one_job_s(&fresh().await).await;
    workers_are_seen_and_forgotten(&fresh().await).await;
    jobspecs_are_published(&fresh().await).await;
    a_duty_is_one_worker_s(&fresh().await).await;
    the_queue_is_looked_through_in_pages(&fresh().await).await;
}

fn within(worker: &str, scope: Scope) -> Claiming {
    Claiming { scope: Arc::new(scope), ..by(worker, LEASE) }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn scope(only: &[&str]) -> Scope {
    Scope { names: Some(names(only)), ..Scope::default() }
}

async fn a_worker_claims_what_it_has(store: &Store) {
    let mut ids = Vec::new();
    for name in ["a", "b", "A", "ab", "c", "\u{e9}", "a b"] {
        ids.push(store.submit(job(name, 50)).await.unwrap());
    }
    let claims = store.claim(&within("w", scope(&["a", "\u{e9}", "z"])), 9).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [ids[0], ids[5]], "names are exact");
    assert!(store.claim(&within("w", scope(&[])), 9).await.unwrap().is_empty());
    let except = Scope { except: names(&["b", "c"]), ..Scope::default() };
    let claims = store.claim(&within("w", except), 9).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [ids[2], ids[3], ids[6]]);
    assert_eq!(store.claim(&by("w", LEASE), 9).await.unwrap().len(), 2);
}

async fn what_can_not_run_hides_nothing_behind_it(store: &Store) {
    for _ in 0..300 {
        store.submit(job("elsewhere", 0)).await.unwrap();
    }
    let id = store.submit(job("here", 100)).await.unwrap();
    let claims = store.claim(&within("w", scope(&["here"])), 2).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [id]);
}

async fn the_cautious_leave_jobs_with_a_last_chance(store: &Store) {
    let (bad, once) = (store.submit(job("a", 1)).await.unwrap(), store.submit(job("a", 2)).await.unwrap());
    let cautious = || within("w", Scope { cautious: true, ..scope(&["a"]) });
    for _ in 0..2 {
        let claim = store.claim(&cautious(), 1).await.unwrap().remove(0);
        assert_eq!((claim.id, claim.last_chance), (bad, false));
        assert_eq!(store.crashed(&claim).await.unwrap().queued, 1);
    }
    let other = store.claim(&cautious(), 9).await.unwrap();
    assert_eq!(other.iter().map(|claim| claim.id).collect::<Vec<_>>(), [once]);
    // One that is not run again anyhow has its last chance from the start, and is like any other.
    assert!(store.limit_crashes(&other[0], 1).await.unwrap());
    assert!(store.release(&other[0], Duration::ZERO, "not now").await.unwrap());
    let all_but = within("w", Scope { except: names(&["z"]), cautious: true, ..Scope::default() });
    assert_eq!(store.claim(&all_but, 9).await.unwrap()[0].id, once);
    let any = within("w", Scope { cautious: true, ..Scope::default() });
    assert!(store.claim(&any, 9).await.unwrap().is_empty());
    let last = store.claim(&by("w", LEASE), 9).await.unwrap().remove(0);
    assert_eq!((last.id, last.last_chance), (bad, true));
    assert_eq!(store.crashed(&last).await.unwrap().ended, [bad]);
}

async fn a_gpu_is_one_job_s(store: &Store) {
    for _ in 0..3 {
        store.submit(job("a", 50)).await.unwrap();
    }
    let (first, second) = (claim_one(store, "v", LEASE).await.unwrap(), claim_one(store, "w", LEASE).await.unwrap());
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let give = async |claim: &Claim, gpus: &[&str]| store.give_gpus(claim, ids(gpus)).await.unwrap();
    let gpus = async |claim: &Claim| store.job(claim.id).await.unwrap().unwrap().gpus;
    assert_eq!(give(&first, &["GPU-0", "GPU-1"]).await, Giving::Given);
    assert_eq!(give(&first, &["GPU-0", "GPU-1"]).await, Giving::Given, "once more is no harm");
    let in_use = Giving::InUse(ids(&["GPU-1"]));
    assert_eq!(give(&second, &["GPU-1", "GPU-2"]).await, in_use);
    assert_eq!((gpus(&first).await, gpus(&second).await), (ids(&["GPU-0", "GPU-1"]), ids(&[])), "all or none");
    assert_eq!(give(&second, &["GPU-2"]).await, Giving::Given);
    let mut given = store.given_gpus().await.unwrap();
    given.sort();
    assert_eq!(given, [("v".to_owned(), ids(&["GPU-0", "GPU-1"])), ("w".to_owned(), ids(&["GPU-2"]))]);
    // With the attempt they are free; the job tells what its last attempt had.
    assert!(store.finish(&first, completed(1, b""), None).await.unwrap().is_some());
    assert_eq!(gpus(&first).await, ids(&["GPU-0", "GPU-1"]));
    assert_eq!(give(&first, &["GPU-3"]).await, Giving::Lost);
    let third = claim_one(store, "v", LEASE).await.unwrap();
    assert_eq!(give(&third, &["GPU-1"]).await, Giving::Given);
    assert!(store.release(&second, Duration::ZERO, "not now").await.unwrap());
    assert_eq!(gpus(&second).await, ids(&[]));
    assert_eq!(store.given_gpus().await.unwrap(), [("v".to_owned(), ids(&["GPU-1"]))]);
    assert_eq!(give(&second, &["GPU-2"]).await, Giving::Lost);
}

fn two_of_a() -> Scope {
    Scope { limits: BTreeMap::from([("a".to_owned(), 2)]), ..Scope::default() }
}

async fn no_more_run_than_may(store: &Store) {
    for name in ["a", "a", "a", "b", "a"] {
        store.submit(job(name, 50)).await.unwrap();
    }
    let all = within("w", two_of_a());
    let claims = store.claim(&all, 9).await.unwrap();
    let claimed: Vec<_> = claims.iter().map(|claim| claim.name.as_str()).collect();
    assert_eq!(claimed, ["a", "a", "b"]);
    assert!(store.claim(&all, 9).await.unwrap().is_empty());
    let next = store.finish(&claims[0], completed(1, b""), Some(all.clone())).await.unwrap().unwrap();
    assert_eq!((next[0].name.as_str(), next[0].attempt), ("a", 1), "as if it was never claimed");
    assert!(store.claim(&all, 9).await.unwrap().is_empty());
}

async fn no_more_run_than_may_with_many_claimers(store: &Store) {
    for _ in 0..60 {
        store.submit(job("a", 50)).await.unwrap();
    }
    let running = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let claimers: Vec<_> = (0..8)
        .map(|worker| {
            let (store, running) = (store.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let mine = within(&format!("w{worker}"), two_of_a());
                while store.unfinished().await.unwrap() > 0 {
                    let Some(claim) = store.claim(&mine, 1).await.unwrap().pop() else { continue };
                    let now = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                    assert!(now <= 2, "{now} of them run");
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    store.finish(&claim, completed(1, b""), None).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    for claimer in claimers {
        claimer.await.unwrap();
    }
}

fn presence(id: &str) -> Presence {
    Presence {
        id: id.into(),
        name: "gpu-1".into(),
        host: "host".into(),
        version: "1".into(),
        slots: 4,
        labels: vec!["gpu".into(), "os=linux".into()],
        storage: "here".into(),
        state: "active".into(),
        gpus: vec![Gpu { id: "GPU-1".into(), name: "Model".into(), memory_bytes: 8 << 30 }],
    }
}

async fn workers_are_seen_and_forgotten(store: &Store) {
    store.heartbeat(presence("one"), LEASE).await.unwrap();
    store.heartbeat(presence("two"), GONE).await.unwrap();
    store.heartbeat(Presence { state: "draining".into(), ..presence("one") }, LEASE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let workers = store.workers().await.unwrap();
    let seen: Vec<_> = workers.iter().map(|one| (one.presence.id.as_str(), one.alive)).collect();
    assert_eq!(seen, [("one", true), ("two", false)]);
    assert_eq!(workers[0].presence, Presence { state: "draining".into(), ..presence("one") });
    assert!(workers[0].started_ms <= workers[0].heartbeat_ms);
    store.heartbeat(presence("one"), LEASE).await.unwrap();
    assert!(!store.drain_asked("one").await.unwrap() && !store.ask_to_drain("nobody").await.unwrap());
    assert!(store.ask_to_drain("one").await.unwrap() && store.ask_to_drain("one").await.unwrap());
    assert!(store.drain_asked("one").await.unwrap() && !store.drain_asked("two").await.unwrap());
    // What it says of itself next does not change that.
    store.heartbeat(presence("one"), LEASE).await.unwrap();
    assert_eq!(store.workers().await.unwrap()[0].presence.state, "draining");
    assert_eq!(store.forget_silent(LEASE).await.unwrap(), 0, "not yet");
    assert_eq!(store.forget_silent(GONE).await.unwrap(), 1);
    store.leave("one").await.unwrap();
    assert!(store.workers().await.unwrap().is_empty());
}

async fn jobspecs_are_published(store: &Store) {
    let offer = |name: &str, about: &str| Offer { name: name.into(), hash: "00".into(), about: about.into() };
    for (worker, lease) in [("one", LEASE), ("dead", GONE), ("two", LEASE)] {
        store.heartbeat(presence(worker), lease).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.publish("one", vec![offer("x", "old"), offer("y", "{}")]).await.unwrap();
    store.publish("dead", vec![offer("z", "{}")]).await.unwrap();
    store.publish("two", vec![offer("gone", "{}")]).await.unwrap();
    store.publish("two", vec![offer("x", "new")]).await.unwrap();
    let mut offered = store.offered().await.unwrap();
    offered.sort();
    assert_eq!(offered, ["x", "y"]);
    assert_eq!(store.offers().await.unwrap(), [offer("x", "new"), offer("y", "{}")]);
    store.leave("one").await.unwrap();
    assert_eq!(store.offered().await.unwrap(), ["x"]);
    let known: Vec<_> = store.known_offers().await.unwrap().into_iter().map(|offer| offer.name).collect();
    assert_eq!(known, ["x", "y", "z"], "what the gone had is remembered");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.forget_silent(GONE).await.unwrap(), 2, "the dead and the gone");
    assert_eq!(store.known_offers().await.unwrap().len(), 1);
}

async fn a_duty_is_one_worker_s(store: &Store) {
    assert!(store.take_duty("one", "clean", LEASE).await.unwrap());
    assert!(!store.take_duty("two", "clean", LEASE).await.unwrap());
    assert!(store.take_duty("one", "clean", GONE).await.unwrap(), "who has it may keep it");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(store.take_duty("two", "clean", LEASE).await.unwrap());
    assert!(store.take_duty("one", "other", LEASE).await.unwrap());
}

async fn the_queue_is_looked_through_in_pages(store: &Store) {
    let mut order = Vec::new();
    for priority in [50, 10, 50, 10] {
        order.push((priority, store.submit(job(&format!("n{priority}"), priority)).await.unwrap()));
    }
    order.sort_unstable();
    let page = store.waiting((i64::MIN, 0), GONE).await.unwrap();
    assert_eq!(page.iter().map(|(id, priority, _)| (*priority, *id)).collect::<Vec<_>>(), order);
    assert_eq!(page[0].2, "n10");
    assert_eq!(store.waiting(order[1], GONE).await.unwrap().len(), 2);
    assert!(store.waiting(order[3], GONE).await.unwrap().is_empty());
    assert!(store.waiting((i64::MIN, 0), LEASE).await.unwrap().is_empty(), "not yet that old");
    let failed = store.fail_queued(vec![page[0].0, 999], Reason::InvalidJob, "job does not exist").await.unwrap();
    assert_eq!(failed, [page[0].0]);
}
