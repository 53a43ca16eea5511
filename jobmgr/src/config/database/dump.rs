//! How a server's own tool makes a backup of a database.

use std::path::Path;

use url::form_urlencoded::parse;

use super::{Database, MYSQL_PORT, Target};

/// The port of PostgreSQL.
const POSTGRES_PORT: u16 = 5432;

impl Database {
    /// A line for a shell that writes a backup to `file`, without a password; `None`: the database is a file itself.
    pub fn dump_command(&self, file: &Path) -> Option<String> {
        let Ok(Target::Server(url)) = self.target() else { return None };
        let is_postgres = url.scheme() == "postgres";
        let given = |names: &[&str]| {
            let mut pairs = url.query_pairs().filter(|(name, _)| names.contains(&&**name));
            pairs.next().map(|(_, value)| value.into_owned())
        };
        let own_host = url.host_str().filter(|host| !host.is_empty()).map(decoded);
        let host = given(&["host", "hostaddr"]).or(own_host).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = if is_postgres { POSTGRES_PORT } else { MYSQL_PORT };
        let port = given(&["port"]).unwrap_or_else(|| url.port().unwrap_or(port).to_string());
        let user = given(&["user"]).unwrap_or_else(|| decoded(url.username()));
        let name = given(&["dbname"]).unwrap_or_else(|| decoded(url.path().trim_start_matches('/')));
        let file = quoted(&file.to_string_lossy());
        let mut command = if is_postgres {
            format!("pg_dump --format=custom --file={file}")
        } else {
            "mariadb-dump --single-transaction".to_owned()
        };
        let socket = given(&["socket"]).unwrap_or_default();
        let port = if socket.is_empty() { port } else { String::new() };
        let user_flag = if is_postgres { "username" } else { "user" };
        for (flag, value) in [("host", host), ("port", port), ("socket", socket), (user_flag, user)] {
            if !value.is_empty() {
                command.push_str(&format!(" --{flag}={}", quoted(&value)));
            }
        }
        let password = if is_postgres { "" } else { " --password" };
        let to = if is_postgres { String::new() } else { format!(" > {file}") };
        Some(format!("{command}{password} {}{to}", quoted(&name)))
    }
}

/// A part of a URL as it is meant.
fn decoded(part: &str) -> String {
    // In forms a plus is a space; in URLs it is not.
    let form = format!("={}", part.replace('+', "%2B").replace('&', "%26"));
    parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@%+=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(url: &str) -> Option<String> {
        Database { url: Some(url.to_owned()), ..Database::default() }.dump_command(Path::new("my backup"))
    }

    #[test]
    fn a_server_is_named_without_its_password() {
        assert_eq!(
            dump("postgres://me:secret@db.example.org/jobs%20here?sslmode=require").unwrap(),
            "pg_dump --format=custom --file='my backup' --host=db.example.org --port=5432 --username=me 'jobs here'"
        );
        assert_eq!(
            dump("mysql://m%40e:secret@[::1]:3307/jobs").unwrap(),
            "mariadb-dump --single-transaction --host=::1 --port=3307 --user=m@e --password jobs > 'my backup'"
        );
        assert_eq!(
            dump("postgres:///jobs?host=/run/postgresql&user=me&password=secret").unwrap(),
            "pg_dump --format=custom --file='my backup' --host=/run/postgresql --port=5432 --username=me jobs"
        );
        assert_eq!(
            dump("mysql://me:secret@localhost/jobs?socket=/run/my.sock").unwrap(),
            "mariadb-dump --single-transaction --host=localhost --socket=/run/my.sock --user=me --password jobs > 'my backup'"
        );
        assert_eq!(dump("sqlite:x.db"), None);
    }

    #[test]
    fn the_keys_of_the_original_name_a_server_too() {
        let database = Database {
            host: Some("10.0.0.1".into()),
            username: Some("it's me".into()),
            password: Some("secret".into()),
            database: Some("jobs".into()),
            ..Database::default()
        };
        assert_eq!(
            database.dump_command(Path::new("b.sql")).unwrap(),
            r"mariadb-dump --single-transaction --host=10.0.0.1 --port=3306 --user='it'\''s me' --password jobs > b.sql"
        );
    }
}
