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
    let mut keys = std::collections::BTreeSet::new();
    for store in futures_util::future::join_all((0..6).map(|_| Store::open(&config))).await {
        let store = store.unwrap();
        keys.insert((store.installation().to_owned(), store.signing_key().to_vec()));
    }
    assert_eq!(keys.len(), 1, "everybody reads the same installation");
}

/// It holds the key that signs addresses.
#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone_whatever_their_names() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let mut stores = Vec::new();
    for name in ["x.db", "50%20 #1?.db"] {
        let store = Store::open(&database(&dir.path().join(name))).await.unwrap();
        for ending in ["", "-wal", "-shm"] {
            let file = dir.path().join(format!("{name}{ending}"));
            let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.display());
        }
        // While it is open, all three files are there.
        stores.push(store);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6, "no file of another name");
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
    assert!(error.contains("version 99") && error.contains("knows version 2"), "{error}");
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
    // A URL may hold a password.
    let error = refused(&Database { url: Some("oracle:hunter2".into()), ..Database::default() }).await;
    assert!(!error.contains("hunter2") && error.contains("sqlite:FILE"), "{error}");
}
