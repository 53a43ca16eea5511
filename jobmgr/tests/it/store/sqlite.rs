//! The rules on SQLite, and what only a file can get wrong.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jobmgr::config::Database;
use jobmgr::domain::job::{LogBody, Status};
use jobmgr::store::{Claiming, Inspection, Store};

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
    assert!(error.contains("version 99") && error.contains("knows version "), "{error}");
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

/// As the first version left it: its one migration noted by sqlx, and a job in each status.
const FIRST_VERSION: &str = r#"
import hashlib, sqlite3, sys
text = sys.argv[2]
c = sqlite3.connect(sys.argv[1])
c.executescript(text)
c.execute("create table _sqlx_migrations (version bigint primary key, description text not null, "
          "installed_on timestamp not null default current_timestamp, success boolean not null, "
          "checksum blob not null, execution_time bigint not null)")
c.execute("insert into _sqlx_migrations values (1, 'queue', current_timestamp, 1, ?, 1)",
          (hashlib.sha384(text.encode()).digest(),))
job = ("insert into jobs (id, status, priority, name, parameters, user_id, created_at, run_after, attempt, epoch, "
       "crashes, worker, lease_until, started_at, finished_at, stdout, artifact_count) "
       "values (?, ?, 50, 'a', ?, 1, 1000, 0, ?, ?, 0, ?, ?, ?, ?, ?, ?)")
c.execute(job, (1, "completed", '{"n":"1"}', 1, 1, "w", None, 2000, 3000, '{"written":3,"text":"out","size":3}', 1))
c.execute(job, (2, "queued", '{"n":"2"}', 0, 0, None, None, None, None, None, 0))
c.execute(job, (3, "started", '{"n":"3"}', 1, 1, "w", 4000, 2000, None, None, 0))
c.execute("insert into artifacts values (7, 1, 1, 'x.txt', 'text/plain', 3, 'u', 's', 'jobs/1/1/0', 2500)")
c.execute("insert into installation values ('id', 'abcdef01'), ('signing_key', 'secret')")
c.commit()
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_elsewhere_that_nobody_comes_for_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.db");
    let store = Store::open(&database(&file)).await.unwrap();
    let change = |statement: &str| {
        let script =
            format!("import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('{statement}')\nc.commit()");
        assert!(Command::new("python3").args(["-c", &script]).arg(&file).status().unwrap().success());
    };
    super::rules::nobody_comes(&store, change).await;
}

#[tokio::test]
async fn tables_of_the_first_version_are_brought_up_to_date_with_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.db");
    let tables = include_str!("../../../migrations/sqlite/0001_queue.sql");
    let made = Command::new("python3").args(["-c", FIRST_VERSION]).arg(&file).arg(tables).status().unwrap();
    assert!(made.success());
    let bytes = std::fs::read(&file).unwrap();
    let found = Store::inspect(&database(&file)).await.unwrap();
    assert!(matches!(found, Inspection::Old { found: 1, .. }), "{found:?}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "a look changes nothing");

    let store = Store::open(&database(&file)).await.unwrap();
    assert_eq!((store.installation(), store.signing_key()), ("abcdef01", &b"secret"[..]));
    let ended = store.job(1).await.unwrap().unwrap();
    let left = ended.ended.unwrap();
    assert_eq!((ended.status, ended.finished_ms), (Status::Completed, Some(3000)));
    assert_eq!((left.stdout.body, left.artifacts[0].id), (LogBody::Inline(b"out".to_vec()), 7));
    assert_eq!(store.sweep().await.unwrap().queued, 1, "the lease of the started one has run out");
    let claiming = Claiming { worker: "new".into(), lease: Duration::from_secs(9), scope: Arc::default() };
    let claims = store.claim(&claiming, 9).await.unwrap();
    let claims: Vec<_> = claims.iter().map(|claim| (claim.id, claim.attempt, claim.tries)).collect();
    assert_eq!(claims, [(2, 1, 0), (3, 2, 0)]);
    store.close().await;
    assert_eq!(Store::inspect(&database(&file)).await.unwrap(), Inspection::Current { unfinished: 2 });
}

#[tokio::test]
async fn a_look_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Store::inspect(&database(&dir.path().join("x.db"))).await.unwrap(), Inspection::Empty);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let nowhere = Store::inspect(&database(&dir.path().join("nowhere/x.db"))).await.unwrap_err().to_string();
    assert!(nowhere.contains("does not exist"), "{nowhere}");
}
