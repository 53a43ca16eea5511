//! The rules on SQLite, and what only a file can get wrong.

use std::path::Path;
use std::process::Command;

use jobmgr::config::Database;
use jobmgr::store::Store;

fn database(file: &Path) -> Database {
    Database { url: Some(format!("sqlite:{}", file.display())), ..Database::default() }
}

async fn refused(config: &Database) -> String {
    match Store::open(config).await {
        Ok(_) => panic!("must not open"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_rules() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    super::rules::all(|| async {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Store::open(&database(&dir.path().join(format!("{number}.db")))).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opened_by_many_at_once_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = database(&dir.path().join("x.db"));
    let opens: Vec<_> = (0..6).map(|_| tokio::spawn({ let config = config.clone(); async move { Store::open(&config).await } })).collect();
    let mut keys = std::collections::BTreeSet::new();
    for open in opens {
        let store = open.await.unwrap().unwrap();
        keys.insert((store.installation().to_owned(), store.signing_key().to_vec()));
    }
    assert_eq!(keys.len(), 1, "everybody reads the same installation");
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.db");
    drop(Store::open(&database(&file)).await.unwrap());
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                  c.execute(\"insert into _sqlx_migrations values (99, 'later', current_timestamp, 1, x'00', 1)\"); \
                  c.commit()";
    assert!(Command::new("python3").args(["-c", script]).arg(&file).status().unwrap().success());
    let error = refused(&database(&file)).await;
    assert!(error.contains("version 99") && error.contains("knows version 1"), "{error}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.db");
    std::fs::write(&text, "this is not a database, but it is long enough to look like one".repeat(100)).unwrap();
    let error = refused(&database(&text)).await;
    assert!(error.contains("text.db") && error.contains("[Database]"), "{error}");
    let error = refused(&database(&dir.path().join("nowhere/x.db"))).await;
    assert!(error.contains("nowhere") && error.contains("does not exist"), "{error}");
    let error = refused(&Database { url: Some("oracle:x".into()), ..Database::default() }).await;
    assert!(error.contains("oracle:x") && error.contains("sqlite:FILE"), "{error}");
}
