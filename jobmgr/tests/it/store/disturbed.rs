//! Writes whose answer is lost, and writes that others are in the way of.

use jobmgr::domain::job::Status;
use jobmgr::store::StoreError;

use super::rules::{LEASE, claim_one, completed, job};
use super::servers::{name, open};
use crate::support::databases::Kind;
use crate::support::proxy::Proxy;
use crate::support::server::eventually;

const KINDS: [Kind; 3] = [Kind::Postgres, Kind::MariaDb, Kind::MySql];

/// What was asked for may have been done: a submission is not repeated then, and all else that does no harm is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_lost_is_done_once() {
    // What is said with MySQL can't be read on the way: it is encrypted.
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(server) = kind.shared() else { continue };
        let url = server.fresh();
        let proxy = Proxy::to(server.port(), true);
        let store = open(&url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()))).await;
        let count = |jobspec: &str| {
            let sql = format!("select count(*) from jobs where name = '{jobspec}'");
            server.sql(name(&url), &sql).trim().parse::<u32>().unwrap()
        };
        store.submit(job("before", 50)).await.unwrap();
        // As it is on the line: PostgreSQL ends a statement with a NUL, MySQL begins it with its kind.
        let commit = if kind == Kind::Postgres { "commit\0" } else { "\u{3}commit" };

        proxy.lose_the_answer_to(commit);
        let lost = store.submit(job("lost", 60)).await;
        assert!(matches!(lost, Err(StoreError::Unavailable(_))) && proxy.has_lost_it(), "{kind:?}: {lost:?}");
        eventually("it is there", || count("lost") > 0);
        store.submit(job("after", 70)).await.unwrap();
        assert_eq!((count("before"), count("lost"), count("after")), (1, 1, 1), "{kind:?}");

        let claim = claim_one(&store, "w", LEASE).await.unwrap();
        proxy.lose_the_answer_to(commit);
        let ended = store.finish(&claim, completed(1, b"once"), None).await;
        assert!(ended.unwrap().is_some() && proxy.has_lost_it(), "{kind:?}: it was its own end");
        assert_eq!(store.job(claim.id).await.unwrap().unwrap().status, Status::Completed);

        proxy.lose_the_answer_to(commit);
        assert!(store.claim(&super::rules::by("w", LEASE), 1).await.is_err() && proxy.has_lost_it(), "{kind:?}");
        let held = store.renew("w", LEASE).await.unwrap();
        assert_eq!(held.held.len(), 1, "{kind:?}: what nobody knows to have is found by a renewal");
        store.close().await;
    }
}

/// Longer than the server lets one wait: the write is tried again, and nobody is told.
#[test]
fn a_write_waits_for_who_is_in_its_way() {
    for kind in KINDS {
        let Some(server) = kind.shared() else { continue };
        let (sleep, asleep) = match kind {
            Kind::Postgres => {
                ("pg_sleep(7)", "select count(*) from pg_stat_activity where query like 'select pg_sleep(7)%'")
            }
            _ => ("sleep(7)", "select count(*) from information_schema.processlist where info like 'select sleep(7)%'"),
        };
        let url = server.fresh();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = runtime.block_on(open(&url));
        let id = runtime.block_on(store.submit(job("x", 50))).unwrap();
        std::thread::scope(|scope| {
            let held = format!("begin; select id from jobs where id = {id} for update; select {sleep}; commit");
            let database = name(&url).to_owned();
            scope.spawn(move || server.sql(&database, &held));
            let database = name(&url);
            eventually("the job is locked", || server.sql(database, asleep).trim() != "0");
            let canceled = runtime.block_on(store.cancel(id));
            assert_eq!(server.sql(database, asleep).trim(), "0", "{kind:?}: it was not in the way");
            canceled.unwrap();
        });
        assert_eq!(runtime.block_on(store.job(id)).unwrap().unwrap().status, Status::Canceled, "{kind:?}");
        runtime.block_on(store.close());
    }
}
