//! What `[Database]` names, as sqlx understands it, and that no password is shown.

use std::fmt::Debug;

use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::*;
use crate::config::tests::{load, problem};

/// The database of this section.
fn database(section: &str) -> Database {
    load(&format!("[Database]\n{section}"), &[]).unwrap_or_else(|problem| panic!("{section}: {problem}")).database
}

fn url(section: &str) -> String {
    database(section).url()
}

/// What is wrong in this section.
fn wrong(section: &str) -> String {
    problem(&format!("[Database]\n{section}"))
}

fn original(host: &str) -> String {
    format!("Host = '{host}'\nUsername = 'u'\nPassword = 'hunter2'\nDatabase = 'd'")
}

#[test]
fn files_of_sqlite() {
    let table = [
        ("", "sqlite:jobmgr.db"),
        ("URL = 'sqlite:x.db'", "sqlite:x.db"),
        ("URL = 'SQLite:x.db'", "sqlite:x.db"),
        ("URL = 'sqlite://x.db'", "sqlite:x.db"),
        ("URL = 'sqlite:///srv/x.db'", "sqlite:/srv/x.db"),
        ("URL = 'sqlite:/srv/100% #1?.db'", "sqlite:/srv/100% #1?.db"),
        ("MaxConnections = 2", "sqlite:jobmgr.db"),
    ];
    for (section, expected) in table {
        let database = database(section);
        assert_eq!((database.url().as_str(), database.describe().as_str()), (expected, expected), "{section}");
    }
}

#[test]
fn servers_by_url() {
    let table = [
        ("postgres://u:hunter2@h/d", "postgres://u:hunter2@h/d"),
        ("postgresql://u:hunter2@h:5433/d", "postgres://u:hunter2@h:5433/d"),
        ("POSTGRES://u@[::1]:5433/d", "postgres://u@[::1]:5433/d"),
        ("postgres://h/d", "postgres://h/d"),
        ("postgres://u@%2Frun%2Fpostgresql/d", "postgres://u@%2Frun%2Fpostgresql/d"),
        ("postgres:///d?host=/run/postgresql", "postgres:///d?host=/run/postgresql"),
        ("postgres://u@h?dbname=d&options[search_path]=x", "postgres://u@h?dbname=d&options[search_path]=x"),
        ("mysql://u:p%40%2F%23%25@h/d", "mysql://u:p%40%2F%23%25@h/d"),
        ("mariadb://u:hunter2@h:3307/d?ssl-mode=REQUIRED", "mysql://u:hunter2@h:3307/d?ssl-mode=REQUIRED"),
        ("mysql://u@localhost/d?socket=/run/my.sock", "mysql://u@localhost/d?socket=/run/my.sock"),
        ("postgres://h/d?sslmode=verify-ca&sslrootcert=x.pem", "postgres://h/d?sslmode=verify-ca&sslrootcert=x.pem"),
    ];
    for (given, expected) in table {
        assert_eq!(url(&format!("URL = '{given}'")), expected);
    }
}

#[test]
fn urls_that_cannot_serve_are_refused() {
    let table = [
        ("hunter2", "is not a database's URL; use \"sqlite:FILE\", \"postgres://USER:PASSWORD@HOST/DATABASE\" or"),
        ("", "is not a database's URL"),
        ("jobmgr.db", "is not a database's URL"),
        ("oracle://u:hunter2@h/d", "is not a database's URL"),
        ("sqlite:", "names no file; use \"sqlite:jobmgr.db\""),
        ("sqlite:///", "names no file"),
        ("postgres:d", "has no // after its first colon; use \"postgres://USER:PASSWORD@HOST/DATABASE\""),
        ("mysql:u:hunter2@h/d", "has no // after its first colon; use \"mysql://"),
        ("postgres://u:hunter2/@h/d", "can't be read: invalid port number; in a password, / is written %2F"),
        ("postgres://u:hunter2?@h/d", "can't be read: invalid port number"),
        ("postgres://u:hunter2@/d", "can't be read: empty host"),
        ("postgres://u:7#hunter2@h/d", "has a '#'; in a password it is written %23"),
        ("mysql://u:7/hunter2@h/d", "has more than a name after the host; in a name or a"),
        ("postgres://u:7/hunter2@h", "has more than a name after the host"),
        ("postgres://u:7?hunter2=x@h/d", "has a '?' before an '@'; in a password they are written %3F and %40"),
        ("postgres://u:hunter2@h", "names no database; it ends in /DATABASE"),
        ("postgres://u:hunter2@h/", "names no database"),
        ("mysql://u:hunter2@h?dbname=d", "has the unknown parameter 'dbname'; known are ssl-mode, sslmode, ssl-ca"),
        ("mysql://u:hunter2@h/d?tls=true", "has the unknown parameter 'tls'"),
        ("mysql://u:hunter2@h/d?charset=latin1", "has the unknown parameter 'charset'"),
        ("postgres://u@h/d?pasword=hunter2", "has the unknown parameter 'pasword'"),
        ("postgres:///d", "names no host"),
        ("mysql:///d", "names no host"),
        ("mysql://h/d", "names no user; it begins with mysql://USER:PASSWORD@"),
    ];
    for (given, expected) in table {
        let problem = wrong(&format!("URL = '{given}'"));
        let expected = format!("config.toml, line 2, column 7: 'URL': {expected}");
        assert!(problem.starts_with(&expected) && !problem.contains('\n'), "{given}: {problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn servers_by_the_keys_of_the_original() {
    let table = [
        ("localhost", "mysql://u:hunter2@localhost:3306/d"),
        ("127.0.0.1", "mysql://u:hunter2@127.0.0.1:3306/d"),
        ("db_1.example-x.org:3307", "mysql://u:hunter2@db_1.example-x.org:3307/d"),
        ("[::1]", "mysql://u:hunter2@[::1]:3306/d"),
        ("[fe80::1]:65535", "mysql://u:hunter2@[fe80::1]:65535/d"),
    ];
    for (host, expected) in table {
        assert_eq!(url(&original(host)), expected);
    }
    // A user may have no password.
    assert_eq!(url("Host = 'h'\nUsername = 'u'\nDatabase = 'd'"), "mysql://u@h:3306/d");
    for host in [
        "::1",
        "h:",
        "h:0",
        "h:65536",
        "h:x",
        "h:+1",
        ":3306",
        "h:1:2",
        "[::1",
        "[h]",
        "[::1]3306",
        "a b",
        "h/d",
        "u@h",
        "mysql://u:hunter2@h",
        "/run/my.sock",
        "h%41",
    ] {
        let problem = wrong(&original(host));
        assert!(problem.starts_with("config.toml, line 2, column 8: 'Host': is not a host; use a name"), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn the_originals_keys_belong_together_and_not_to_a_url() {
    let table = [
        ("Host = 'h'\nUsername = 'u'", "line 2, column 8: key 'Database' is missing; [Database] needs all of Host,"),
        ("Host = 'h'\nDatabase = 'd'", "line 2, column 8: key 'Username' is missing"),
        ("Password = 'hunter2'", "line 2, column 12: key 'Host' is missing"),
        ("Host = ''\nUsername = 'u'\nDatabase = 'd'", "line 2, column 8: 'Host' is empty"),
        ("Host = 'h'\nUsername = ''\nDatabase = 'd'", "line 3, column 12: 'Username' is empty"),
        (
            "URL = 'sqlite:x.db'\nHost = 'h'",
            "line 2, column 7: 'URL': 'Host' names a database too; remove URL, or Host,",
        ),
        ("URL = 'mysql://u@h/d'\nPassword = 'hunter2'", "'URL': 'Password' names a database too"),
        ("MaxConnections = 1", "line 2, column 18: 'MaxConnections': must be 2 to 1000, and is 1"),
        ("MaxConnections = 1001", "'MaxConnections': must be 2 to 1000, and is 1001"),
    ];
    for (section, expected) in table {
        let problem = wrong(section);
        assert!(problem.contains(expected) && !problem.contains("hunter2"), "{section}: {problem}");
    }
}

/// Whatever stands in a name or a password, the server gets it as it is.
#[test]
fn names_and_passwords_arrive_as_they_are() {
    for text in ["p%41", "a/b@c:d#e?f&g=h", "[x] \"'%", "\u{e9}\u{20ac}", "100%", "+ +", "%2F"] {
        let given = |user: &str, password: &str, database: &str| Database {
            host: Some("h".into()),
            username: Some(user.into()),
            password: Some(password.into()),
            database: Some(database.into()),
            ..Default::default()
        };
        let names: MySqlConnectOptions = given(text, "p", text).url().parse().unwrap();
        assert_eq!((names.get_username(), names.get_database()), (text, Some(text)));
        let password: MySqlConnectOptions = given("u", text, "d").url().parse().unwrap();
        // sqlx shows no password but in a URL of its own.
        assert_eq!(password.to_url_lossy().password(), Some(encoded(text).as_str()), "{text}");
        let shown = given("u", text, "d").describe();
        assert_eq!(shown, "mysql://u@h:3306/d");
    }
}

fn shown(mode: impl Debug) -> String {
    format!("{mode:?}")
}

#[test]
fn tls_is_what_sqlx_takes_it_for() {
    let file = tempfile::NamedTempFile::with_suffix(" & ca.pem").unwrap();
    let ca = file.path().to_str().unwrap();
    let table = [
        ("", "Prefer", "Preferred"),
        ("TLS = 'off'", "Disable", "Disabled"),
        ("TLS = 'prefer'", "Prefer", "Preferred"),
        ("TLS = 'require'", "Require", "Required"),
        ("TLS = 'verify'", "VerifyFull", "VerifyIdentity"),
        (&format!("TLS = 'verify'\nCACertificate = '{ca}'"), "VerifyFull", "VerifyIdentity"),
    ];
    for (lines, postgres, mysql) in table {
        let given = url(&format!("URL = 'postgres://u@h/d?application_name=x'\n{lines}"));
        let options: PgConnectOptions = given.parse().unwrap();
        assert_eq!((shown(options.get_ssl_mode()).as_str(), options.get_application_name()), (postgres, Some("x")));
        assert_eq!(options.to_url_lossy().query_pairs().any(|(_, value)| value.contains(ca)), lines.contains(ca));
        for section in [original("h"), "URL = 'mysql://u@h/d'".to_owned()] {
            let options: MySqlConnectOptions = url(&format!("{section}\n{lines}")).parse().unwrap();
            assert_eq!(shown(options.get_ssl_mode()), mysql, "{section} {lines}");
            assert_eq!(options.to_url_lossy().query_pairs().any(|(_, value)| value.contains(ca)), lines.contains(ca));
        }
    }
}

#[test]
fn tls_that_cannot_serve_is_refused() {
    let server = |lines: &str| format!("URL = 'postgres://u:hunter2@h/d?sslmode=require'\n{lines}");
    let table = [
        (
            "TLS = 'verify'".to_owned(),
            "line 2, column 7: 'TLS': is for a server, and this is an SQLite file; remove it",
        ),
        ("URL = 'sqlite:x'\nTLS = 'off'".to_owned(), "line 3, column 7: 'TLS': is for a server"),
        ("CACertificate = 'x'".to_owned(), "'CACertificate': is for a server"),
        (server("TLS = 'require'"), "line 3, column 7: 'TLS': URL has 'sslmode', which says the same; remove one"),
        (server("CACertificate = 'x'"), "'CACertificate': URL has 'sslmode'"),
        ("URL = 'mysql://u@h/d?sslca=x'\nTLS = 'verify'".to_owned(), "'TLS': URL has 'sslca'"),
        (original("h") + "\nTLS = 'on'", "'TLS': unknown variant `on`, expected one of `off`, `prefer`, `require`"),
        (original("h") + "\nCACertificate = 'x'", "'CACertificate': is used only with TLS = \"verify\""),
        (original("h") + "\nTLS = 'require'\nCACertificate = 'x'", "'CACertificate': is used only with TLS"),
        (
            original("h") + "\nTLS = 'verify'\nCACertificate = '/nonexistent/ca.pem'",
            "line 7, column 17: 'CACertificate': /nonexistent/ca.pem can't be read: ",
        ),
    ];
    for (section, expected) in table {
        let problem = wrong(&section);
        assert!(problem.contains(expected) && !problem.contains("hunter2"), "{section}: {problem}");
    }
}

#[test]
fn descriptions_have_no_password() {
    let table = [
        ("postgres://u:hunter2@h/d", "postgres://u@h/d"),
        ("postgres://u:hunter2@h/d?password=hunter2", "postgres://u@h/d"),
        ("postgres://h/d?user=u&password=hunter2&sslmode=require", "postgres://h/d?user=u&sslmode=require"),
        ("mysql://u:hunter2@h:1/d?ssl-mode=REQUIRED", "mysql://u@h:1/d?ssl-mode=REQUIRED"),
    ];
    for (given, expected) in table {
        let database = database(&format!("URL = '{given}'"));
        assert_eq!(database.describe(), expected);
        assert!(database.url().contains("hunter2") && !shown(&database).contains("hunter2"));
    }
    // One that was never checked has nothing to show either.
    let unchecked = Database { url: Some("hunter2".into()), ..Default::default() };
    assert_eq!(unchecked.describe(), "a database that can't be used");
}
