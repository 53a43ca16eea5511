//! The rules on every server: PostgreSQL, with and without a pooler, MariaDB in two settings, MySQL.

use jobmgr::config::Database;
use jobmgr::store::{Inspection, Store, StoreError};

use super::rules::{LEASE, claim_one, completed, job};
use crate::support::databases::{DatabaseServer, Kind};
use crate::support::server::eventually;

async fn keeps_the_rules(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    super::rules::all(|| async { open(&server.fresh()).await }).await;
}

pub async fn open(url: &str) -> Store {
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

/// The name of the database that a URL leads to.
pub fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap().split('?').next().unwrap()
}

async fn end_one(store: &Store) {
    let claim = claim_one(store, "w", LEASE).await.unwrap();
    store.finish(&claim, completed(1, b""), None).await.unwrap().unwrap();
}

/// Has the server know the table as it is when little is queued.
async fn make_statistics(server: &DatabaseServer, store: &Store, url: &str) {
    for _ in 0..20 {
        store.submit(job("x", 50)).await.unwrap();
        end_one(store).await;
    }
    server.sql(name(url), "vacuum analyze jobs");
}

/// Statistics from a time when little was queued must not make a claim read all that is queued now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_reads_what_it_claims() {
    const QUEUED: usize = 400;
    const CLAIMED: i64 = 40;
    let Some(server) = Kind::Postgres.shared() else { return };
    let url = server.fresh();
    let database = name(&url);
    let store = open(&url).await;
    make_statistics(server, &store, &url).await;
    store.submit_all(vec![job("x", 50); QUEUED]).await.unwrap();
    let read = "select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where relname = 'jobs' \
                and indexrelname like 'jobs_queued%'";
    let count = |sql: &str| server.sql(database, sql).trim().parse::<i64>().unwrap();
    let before = count(read);
    for _ in 0..CLAIMED {
        claim_one(&store, "w", LEASE).await.unwrap();
    }
    store.close().await;
    drop(store);
    // The sessions tell when they end, or have nothing to do for a while, one after the other.
    eventually("what was read is told", || count(read) - before >= CLAIMED);
    let read = count(read) - before;
    // While somebody writes to another database of the server, what was claimed stays in the index, and is passed over.
    let most = CLAIMED * (CLAIMED + 1);
    assert!(read < most, "{CLAIMED} claims have read {read} times one of {QUEUED} queued jobs");
}

/// What was started stays in an index until the server has cleaned up, which waits for transactions of other databases:
/// an end that looked for its job there would pass over all that has ended meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_reads_its_job_alone() {
    const ENDED: i64 = 300;
    let Some(server) = Kind::Postgres.shared() else { return };
    let (url, other) = (server.fresh(), server.fresh());
    let [database, other] = [&url, &other].map(|url| name(url));
    let store = open(&url).await;
    make_statistics(server, &store, &url).await;
    let count = |sql: &str| server.sql(database, sql).trim().parse::<i64>().unwrap();
    let (started, by_key) = (
        "select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where indexrelname = 'jobs_started'",
        "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes where indexrelname = 'jobs_pkey'",
    );
    let before = (count(started), count(by_key));
    std::thread::scope(|scope| {
        scope.spawn(|| server.sql(other, "begin; create table held (n int); select pg_sleep(6); rollback"));
        eventually("a transaction goes on elsewhere", || {
            count("select count(*) from pg_stat_activity where query like '%pg_sleep(6)%' and backend_xid is not null")
                > 0
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                store.submit_all(vec![job("x", 50); usize::try_from(ENDED).unwrap()]).await.unwrap();
                for _ in 0..ENDED {
                    end_one(&store).await;
                }
            });
        });
    });
    store.close().await;
    drop(store);
    eventually("what was read is told", || count(by_key) - before.1 >= ENDED);
    let read = count(started) - before.0;
    assert!(read <= 2 * ENDED, "{ENDED} ends have read {read} times one of those that were started");
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

/// How a server holds the table of jobs for a while, and who waits for what.
struct Held {
    lock: &'static str,
    /// How many hold it.
    holding: &'static str,
    waiting: &'static str,
}

const POSTGRES: Held = Held {
    lock: "begin; lock table jobs in access exclusive mode; select pg_sleep(20); commit",
    holding: "select count(*) from pg_stat_activity where datname = current_database() \
              and query like 'select pg_sleep(20)%'",
    waiting: "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
};
const MYSQL: Held = Held {
    lock: "lock tables jobs write; select sleep(20); unlock tables",
    holding: "select count(*) from information_schema.processlist where db = database() \
              and info like 'select sleep(20)%'",
    waiting: "select count(*) from information_schema.processlist where db = database() \
              and state like 'Waiting for table%'",
};

/// A statement that only reads, and whose reader has given up, is ended by the server too.
fn a_read_is_not_waited_for_forever(kind: Kind, held: &Held) {
    let Some(server) = kind.shared() else { return };
    let url = server.fresh();
    let name = url.rsplit('/').next().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = runtime.block_on(open(&url));
    let count = |question: &str| server.sql(name, question).parse::<u32>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.sql(name, held.lock));
        eventually("the table is locked", || count(held.holding) == 1);
        let reader = scope.spawn(|| runtime.block_on(store.job(1)));
        eventually("a reader waits for it", || count(held.waiting) == 1);
        let error = reader.join().unwrap().expect_err("nobody answers");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        eventually("the server does not wait any more", || count(held.waiting) == 0);
        assert_eq!(count(held.holding), 1, "{kind:?}: only when the table was free");
    });
    assert!(runtime.block_on(store.job(1)).unwrap().is_none());
    runtime.block_on(store.close());
}

#[test]
fn row_71_postgres_ends_a_read_that_nobody_waits_for() {
    a_read_is_not_waited_for_forever(Kind::Postgres, &POSTGRES);
}

#[test]
fn row_71_mariadb_ends_a_read_that_nobody_waits_for() {
    a_read_is_not_waited_for_forever(Kind::MariaDb, &MYSQL);
}

#[test]
fn row_71_mysql_ends_a_read_that_nobody_waits_for() {
    a_read_is_not_waited_for_forever(Kind::MySql, &MYSQL);
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
