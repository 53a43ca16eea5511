//! What is told of a server that can't serve: the section, what is wrong, and never the password.

use super::*;
use crate::support::databases::{Disk, PASSWORD, USER};
use crate::support::nobody;

/// `check` and `serve` refuse this database in these words.
fn assert_refused(url: &str, words: &[&str]) {
    std::thread::scope(|scope| {
        for (arguments, status) in
            [(&["check"][..], 1), (&["serve"], 2), (&["serve", "--no-worker"], 2), (&["worker"], 2)]
        {
            scope.spawn(move || {
                let (code, said) = run(url, arguments);
                assert_eq!(code, Some(status), "{arguments:?}: {said}");
                for word in words.iter().chain(&["[Database]"]) {
                    assert!(said.contains(word), "{arguments:?}: {word:?} is missing: {said}");
                }
                for secret in [PASSWORD, "not-the-password"] {
                    assert!(!said.contains(secret), "{arguments:?} shows the password: {said}");
                }
            });
        }
    });
}

fn refuses_who_it_does_not_know(kind: Kind, denied: &str, unknown: &str) {
    let Some(server) = kind.shared() else { return };
    let url = server.fresh();
    let place = format!("127.0.0.1:{}", server.port());
    std::thread::scope(|scope| {
        scope.spawn(|| assert_refused(&url.replace(PASSWORD, "not-the-password"), &[&place, denied]));
        scope.spawn(|| assert_refused(&server.url("nowhere"), &[&place, "nowhere", unknown]));
    });
}

#[test]
fn postgres_tells_of_a_wrong_password_and_an_unknown_database() {
    refuses_who_it_does_not_know(Kind::Postgres, "password authentication failed", "does not exist");
}

#[test]
fn pgbouncer_tells_of_a_wrong_password_and_an_unknown_database() {
    refuses_who_it_does_not_know(Kind::PgBouncer, "SASL authentication failed", "does not exist");
}

#[test]
fn mariadb_tells_of_a_wrong_password_and_an_unknown_database() {
    refuses_who_it_does_not_know(Kind::MariaDb, "Access denied for user", "Unknown database");
}

#[test]
fn mysql_tells_of_a_wrong_password_and_an_unknown_database() {
    refuses_who_it_does_not_know(Kind::MySql, "Access denied for user", "Unknown database");
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let nobody = nobody();
    let port = nobody.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        for scheme in ["postgres", "mysql"] {
            scope.spawn(move || {
                let url = format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}/jobs");
                assert_refused(&url, &[&format!("127.0.0.1:{port}"), "refused"]);
            });
        }
    });
}

#[test]
fn a_database_that_takes_no_writes_is_refused() {
    let Some(server) = Kind::Postgres.shared() else { return };
    let url = server.fresh();
    server.sql(name(&url), &format!("alter database {} set default_transaction_read_only = on", name(&url)));
    assert_refused(&url, &["takes no writes", "default_transaction_read_only"]);
    let before = server.fresh();
    assert_eq!(run(&before, &["check"]).0, Some(0));
    server.sql(name(&before), &format!("alter database {} set default_transaction_read_only = on", name(&before)));
    assert_refused(&before, &["takes no writes"]);
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let Some(server) = Kind::Postgres.shared() else { return };
    let database = "latin_one";
    let how = format!("owner {USER} encoding 'LATIN1' locale 'C' template template0");
    server.sql("postgres", &format!("create database {database} {how}"));
    assert_refused(&server.url(database), &["LATIN1", "encoding 'UTF8'"]);
}

/// Settings of a MariaDB as a whole, so that it is a server of its own.
#[test]
fn a_mariadb_that_is_set_so_that_it_can_not_serve_is_refused() {
    let Some(server) = Kind::MariaDb.start_with(Disk::Fast, &["--log-bin=log-bin"]) else { return };
    let url = server.fresh();
    server.sql("mysql", "set global binlog_format = 'STATEMENT'");
    assert_refused(&url, &["binlog_format is STATEMENT", "ROW"]);
    server.sql("mysql", "set global binlog_format = 'ROW'; set global max_allowed_packet = 1048576");
    assert_refused(&url, &["max_allowed_packet is 1048576", "4194304"]);
    server.sql("mysql", "set global max_allowed_packet = 16777216");
    // Somebody who is not above such a setting.
    let database = name(&url);
    server.sql(
        "mysql",
        &format!("create user plain@'%' identified by '{PASSWORD}'; grant all on {database}.* to plain@'%'"),
    );
    let plain = url.replace(&format!("//{USER}:"), "//plain:");
    server.sql("mysql", "set global read_only = 1");
    assert_refused(&plain, &["takes no writes", "read_only"]);
    server.sql("mysql", "set global read_only = 0");
    let home = Home::on(&plain, "");
    drop(home.serve());
    server.sql("mysql", "set global read_only = 1");
    assert_refused(&plain, &["takes no writes", "read_only"]);
}
