//! Sessions are as they have to be, however the server is set.

use std::sync::atomic::{AtomicU32, Ordering};

use jobmgr::config::Database;
use jobmgr::domain::submission::NewJob;
use jobmgr::store::Store;

use super::*;
use crate::support::databases::{DatabaseServer, Disk};

/// A database that was made without a word about its characters.
fn plain(server: &DatabaseServer, number: u32) -> String {
    let database = format!("plain_{number}");
    server.sql("mysql", &format!("create database {database}"));
    server.url(&database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_keeps_the_rules_however_it_is_set() {
    let options = [
        "--transaction-isolation=REPEATABLE-READ",
        "--sql-mode=",
        "--character-set-server=latin1",
        "--collation-server=latin1_swedish_ci",
        "--default-time-zone=+05:30",
        "--innodb-lock-wait-timeout=1",
    ];
    let Some(server) = Kind::MariaDb.start_with(Disk::Fast, &options) else { return };
    let seen = server.sql("mysql", "select @@global.sql_mode, @@global.character_set_server, @@global.time_zone");
    assert_eq!(seen, "\tlatin1\t+05:30");
    let number = AtomicU32::new(0);
    let fresh = || async {
        let url = plain(&server, number.fetch_add(1, Ordering::Relaxed));
        let config = Database { url: Some(url), max_connections: 7, ..Database::default() };
        Store::open(&config).await.unwrap()
    };
    crate::store::rules::all(fresh).await;
    nothing_is_cut(&fresh().await).await;
}

/// What is too long for its column is an error.
async fn nothing_is_cut(store: &Store) {
    let job = |name: String| NewJob {
        name,
        parameters: [("text".to_owned(), "\u{1F980}".repeat(100_000))].into(),
        priority: 50,
        ..NewJob::default()
    };
    assert!(store.submit(job("n".repeat(1025))).await.is_err());
    let id = store.submit(job("\u{1F980}".repeat(255))).await.unwrap();
    let kept = store.job(id).await.unwrap().unwrap();
    assert_eq!((kept.name.chars().count(), kept.parameters["text"].chars().count()), (255, 100_000));
}
