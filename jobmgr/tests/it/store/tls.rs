//! Encrypted connections to a server: asked for, checked, and refused in words that say which key it is about.

use jobmgr::config::{Database, Tls};
use jobmgr::store::Store;

use crate::support::databases::{DatabaseServer, Disk, Kind};

/// Gives the server a certificate of its own for 127.0.0.1; it is its own authority.
fn certify(server: &DatabaseServer) -> tempfile::NamedTempFile {
    let folder = server.sql("postgres", "show data_directory");
    let make = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=jobmgr-test \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:false \
         -keyout {folder}/server.key -out {folder}/server.crt 2> /dev/null && chmod 600 {folder}/server.key"
    );
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
