//! Encrypted connections to a server: asked for, checked, and refused in words that say which key it is about.

use std::process::Command;

use jobmgr::config::{Database, Tls};
use jobmgr::store::Store;

use crate::support::databases::{DatabaseServer, Disk, Kind};

/// A command that makes a key and a certificate for 127.0.0.1, which is its own authority.
fn make(folder: &str) -> String {
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=jobmgr-test \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:false \
         -keyout {folder}/server.key -out {folder}/server.crt 2> /dev/null && chmod 600 {folder}/server.key"
    )
}

/// Gives a PostgreSQL server a certificate of its own.
fn certify(server: &DatabaseServer) -> tempfile::NamedTempFile {
    let make = make(&server.sql("postgres", "show data_directory"));
    // As the server's own user, who alone may read the key.
    server.sql("postgres", &format!("copy (select 1) to program '{make}'"));
    server.sql("postgres", "alter system set ssl = on");
    server.sql("postgres", "select pg_reload_conf()");
    let certificate = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(certificate.path(), server.sql("postgres", "select pg_read_file('server.crt')")).unwrap();
    certificate
}

async fn open(database: &Database) -> Result<Store, String> {
    Store::open(database).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_and_checked_as_asked() {
    let Some(server) = Kind::Postgres.start(Disk::Fast) else { return };
    let with = |tls, ca: Option<&std::path::Path>| Database {
        url: Some(server.url("tests")),
        tls: Some(tls),
        ca_certificate: ca.map(Into::into),
        max_connections: 7,
        ..Database::default()
    };
    server.sql("postgres", "create database tests owner jobmgr");
    let refused = open(&with(Tls::Require, None)).await.err().expect("it has no certificate yet");
    assert!(refused.contains("[Database]") && refused.contains("TLS"), "{refused}");
    let certificate = certify(&server);
    let encrypted =
        "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and usename = 'jobmgr'";
    for (tls, ca) in [(Tls::Require, None), (Tls::Verify, Some(certificate.path()))] {
        let store = open(&with(tls, ca)).await.unwrap_or_else(|why| panic!("{tls:?}: {why}"));
        let job = super::rules::job("x", 50);
        assert!(store.job(store.submit(job).await.unwrap()).await.unwrap().is_some());
        assert_ne!(server.sql("postgres", encrypted), "0", "{tls:?}");
        store.close().await;
    }
    let refused = open(&with(Tls::Verify, None)).await.err().expect("nobody vouches for it");
    assert!(refused.contains("[Database]") && refused.to_lowercase().contains("certificate"), "{refused}");
    let plain = open(&with(Tls::Off, None)).await.expect("it serves both");
    assert!(!refused.contains("jobmgr-test@"), "no password: {refused}");
    plain.close().await;
}

/// The server may be asked for by another name than that in its certificate.
fn by_name(server: &DatabaseServer, host: &str, tls: Tls, ca: Option<&std::path::Path>) -> Database {
    Database {
        url: Some(server.url("tests").replace("127.0.0.1", host)),
        tls: Some(tls),
        ca_certificate: ca.map(Into::into),
        max_connections: 7,
        ..Database::default()
    }
}

async fn mysql_connections_are_encrypted_and_checked_as_asked(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    assert!(Command::new("sh").args(["-c", &make(&at)]).status().unwrap().success());
    let (key, certificate) = (format!("--ssl-key={at}/server.key"), folder.path().join("server.crt"));
    let options = [key, format!("--ssl-cert={}", certificate.display())];
    let Some(server) = kind.start_with(Disk::Fast, &[&options[0], &options[1]]) else { return };
    server.sql("mysql", "create database tests character set utf8mb4; alter user jobmgr@'%' require ssl");
    for (tls, ca) in [(Tls::Prefer, None), (Tls::Require, None), (Tls::Verify, Some(&*certificate))] {
        let store = open(&by_name(&server, "127.0.0.1", tls, ca)).await;
        let store = store.unwrap_or_else(|why| panic!("{kind:?}: {tls:?}: {why}"));
        let job = super::rules::job("x", 50);
        assert!(store.job(store.submit(job).await.unwrap()).await.unwrap().is_some());
        store.close().await;
    }
    // Nobody vouches for it; it is not who it should be; the server takes no other connections from this user.
    let refusals = [
        (by_name(&server, "127.0.0.1", Tls::Verify, None), "certificate"),
        (by_name(&server, "localhost", Tls::Verify, Some(&certificate)), "certificate"),
        (by_name(&server, "127.0.0.1", Tls::Off, None), "denied"),
    ];
    for (database, word) in refusals {
        let refused = open(&database).await.err().unwrap_or_else(|| panic!("{kind:?}: {database:?}"));
        assert!(refused.contains("[Database]") && refused.to_lowercase().contains(word), "{kind:?}: {refused}");
        assert!(!refused.contains("jobmgr-test@"), "no password: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_connections_are_encrypted_and_checked_as_asked() {
    mysql_connections_are_encrypted_and_checked_as_asked(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_connections_too() {
    mysql_connections_are_encrypted_and_checked_as_asked(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let Some(server) = Kind::MariaDb.shared() else { return };
    let database = Database { url: Some(server.fresh()), tls: Some(Tls::Require), ..Database::default() };
    let refused = open(&database).await.err().expect("it has no certificate");
    assert!(refused.contains("[Database]") && refused.contains("TLS"), "{refused}");
}
