//! The rules on every server: PostgreSQL, with and without a pooler, MariaDB in two settings, MySQL.

use jobmgr::config::Database;
use jobmgr::store::{Inspection, Store};

use crate::support::databases::Kind;

async fn keeps_the_rules(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    super::rules::all(|| async { open(&server.fresh()).await }).await;
}

async fn open(url: &str) -> Store {
    // Few, since each test keeps its stores.
    let config = Database { url: Some(url.to_owned()), max_connections: 7, ..Database::default() };
    Store::open(&config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_rules() {
    keeps_the_rules(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_behind_pgbouncer_keeps_the_rules() {
    keeps_the_rules(Kind::PgBouncer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_keeps_the_rules() {
    keeps_the_rules(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_with_snapshot_isolation_keeps_the_rules() {
    keeps_the_rules(Kind::MariaDbSnapshot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_rules() {
    keeps_the_rules(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_elsewhere_that_nobody_comes_for_is_given_up() {
    for kind in Kind::ALL {
        let Some(server) = kind.shared() else { continue };
        let url = server.fresh();
        let store = open(&url).await;
        let keeper = server.behind().unwrap_or(server);
        let change = |statement: &str| drop(keeper.sql(url.rsplit('/').next().unwrap(), statement));
        super::rules::nobody_comes(&store, change).await;
    }
}

/// A look changes nothing, and tells what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_makes_no_tables() {
    for kind in Kind::ALL {
        let Some(server) = kind.shared() else { continue };
        let url = server.fresh();
        let config = Database { url: Some(url.clone()), max_connections: 7, ..Database::default() };
        let look = || async { Store::inspect(&config).await.unwrap() };
        assert_eq!((look().await, look().await), (Inspection::Empty, Inspection::Empty), "{kind:?}");
        open(&url).await.close().await;
        assert_eq!(look().await, Inspection::Current { unfinished: 0 }, "{kind:?}");
        let keeper = server.behind().unwrap_or(server);
        let later = "insert into _sqlx_migrations values (99, 'later', now(), true, '', 1)";
        keeper.sql(url.rsplit('/').next().unwrap(), later);
        let error = Store::inspect(&config).await.unwrap_err().to_string();
        assert!(error.contains("version 99") && error.contains("newer jobmgr"), "{kind:?}: {error}");
    }
}

/// Whoever comes first makes the tables, and the others wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opened_by_many_at_once() {
    for kind in Kind::ALL {
        let Some(server) = kind.shared() else { continue };
        for _ in 0..3 {
            let config = Database { url: Some(server.fresh()), max_connections: 7, ..Database::default() };
            let mut keys = std::collections::BTreeSet::new();
            for store in futures_util::future::join_all((0..5).map(|_| Store::open(&config))).await {
                let store = store.unwrap();
                keys.insert((store.installation().to_owned(), store.signing_key().to_vec()));
                store.close().await;
            }
            assert_eq!(keys.len(), 1, "{kind:?}: everybody reads the same installation");
        }
    }
}
