//! The servers do what tests rely on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{DatabaseServer, Disk, Kind, PASSWORD, USER, programs};
use crate::support::server::PATIENCE;

/// The database of a URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// All that is promised, on a server of one's own.
fn keeps_its_promises(kind: Kind) {
    let Some(server) = kind.start(Disk::Fast) else { return };
    let (first, second) = (server.fresh(), server.fresh());
    assert_ne!(first, second);
    holds_rows(&server, name(&first));
    assert_eq!(server.sql(name(&second), "SELECT 1"), "1");
    assert!(server.try_sql(name(&second), "SELECT * FROM t").is_err(), "a fresh database has another one's table");
    lets_the_user_make_tables(&server, &second);
    waits_while_paused(&server, name(&first));
    keeps_its_data_when_killed(&server, name(&first));
    let (port, folder) = (server.port(), server.place.folder.clone());
    assert!(listens(port) && folder.exists());
    drop(server);
    assert!(!listens(port) && !folder.exists());
}

fn holds_rows(server: &DatabaseServer, database: &str) {
    server.sql(database, "CREATE TABLE t (id int, word varchar(9)); INSERT INTO t VALUES (1, '\u{1f980}'), (2, NULL)");
    assert_eq!(server.sql(database, "SELECT id, word FROM t ORDER BY id"), "1\t\u{1f980}\n2\tNULL");
}

/// By the URL, as the program itself comes.
fn lets_the_user_make_tables(server: &DatabaseServer, url: &str) {
    let statement = "CREATE TABLE mine (id int)";
    let mut client = Command::new(if server.kind.is_mysql() { "mariadb" } else { "psql" });
    if server.kind.is_mysql() {
        let port = server.port();
        client.args(["--no-defaults", "--host=127.0.0.1", &format!("--port={port}"), &format!("--user={USER}")]);
        client.args([&format!("--password={PASSWORD}"), name(url), "--execute", statement]);
    } else {
        client.args(["--no-psqlrc", url, "--command", statement]);
    }
    programs::run(&mut client).unwrap();
    assert_eq!(server.sql(name(url), "SELECT count(*) FROM mine"), "0");
}

/// Those who come, and those who are there.
fn waits_while_paused(server: &DatabaseServer, database: &str) {
    let (tell, comes) = mpsc::channel();
    let (mut guest, answers) = guest(server, database);
    let ask = || writeln!(guest.stdin.as_ref().unwrap(), "SELECT 1;").unwrap();
    ask();
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), "1");
    server.pause();
    std::thread::scope(|scope| {
        scope.spawn(move || tell.send(server.try_sql(database, "SELECT 1")));
        ask();
        let early = (comes.recv_timeout(Duration::from_millis(300)), answers.try_recv());
        server.resume();
        assert!(early.0.is_err() && early.1.is_err(), "answered while paused: {early:?}");
        assert_eq!(comes.recv_timeout(PATIENCE).unwrap(), Ok("1".to_owned()));
        assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), "1");
    });
    drop(guest.stdin.take());
    assert!(guest.wait().unwrap().success());
}

/// A client that stays connected, and the lines that it prints.
fn guest(server: &DatabaseServer, database: &str) -> (Child, mpsc::Receiver<String>) {
    let mut client = server.client().unwrap();
    if server.kind.is_mysql() {
        client.arg("--unbuffered");
    }
    let mut client = client.arg(database).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    (client, told)
}

fn keeps_its_data_when_killed(server: &DatabaseServer, database: &str) {
    server.sql(database, "INSERT INTO t VALUES (3, 'last')");
    server.kill();
    assert!(server.try_sql(database, "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.sql(database, "SELECT word FROM t WHERE id = 3"), "last");
}

#[test]
fn mariadb_keeps_its_promises() {
    keeps_its_promises(Kind::MariaDb);
}

#[test]
fn mariadb_with_snapshot_isolation_keeps_its_promises() {
    keeps_its_promises(Kind::MariaDbSnapshot);
}

#[test]
fn mysql_keeps_its_promises() {
    keeps_its_promises(Kind::MySql);
}

#[test]
fn postgres_keeps_its_promises() {
    keeps_its_promises(Kind::Postgres);
}

#[test]
fn pgbouncer_keeps_its_promises() {
    keeps_its_promises(Kind::PgBouncer);
}

#[test]
fn each_is_what_its_name_says() {
    for (kind, question, answer) in [
        (Kind::MariaDb, "SELECT @@innodb_snapshot_isolation, @@max_connections", "0\t500"),
        (Kind::MariaDbSnapshot, "SELECT @@innodb_snapshot_isolation, @@max_connections", "1\t500"),
        (Kind::MySql, "SELECT @@version LIKE '9.%', @@max_connections", "1\t500"),
        (Kind::Postgres, "SHOW max_connections", "300"),
        (Kind::PgBouncer, "SHOW max_connections", "300"),
    ] {
        let Some(server) = kind.shared() else { continue };
        assert_eq!(server.sql(name(&server.fresh()), question), answer, "{kind:?}");
    }
}

#[test]
fn durable_ones_wait_for_the_disk() {
    let mysql = "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@innodb_flush_method";
    for (kind, question, answer) in [
        (Kind::MariaDb, mysql, "1\t1\tO_DIRECT"),
        (Kind::MySql, mysql, "1\tON\tO_DIRECT"),
        (Kind::PgBouncer, "SHOW fsync; SHOW full_page_writes; SHOW synchronous_commit", "on\non\non"),
    ] {
        let Some(server) = kind.start(Disk::Durable) else { continue };
        let keeper = server.behind().unwrap_or(&server);
        assert_eq!(keeper.sql(kind.first_database(), question), answer, "{kind:?}");
    }
}
