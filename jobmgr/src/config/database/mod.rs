//! Which database `[Database]` names: a file of SQLite, or a server as sqlx takes it.
//!
//! No text here shows a URL that was given: it may hold a password.

use std::fs::File;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use url::Url;

use super::check::{Wrong, within};
use super::{Database, Tls};

mod dump;
#[cfg(test)]
mod tests;

/// The file when nothing is named.
const DEFAULT_FILE: &str = "jobmgr.db";

/// The port of MySQL and MariaDB.
const MYSQL_PORT: u16 = 3306;

/// What sqlx reads in the query of a PostgreSQL URL. It would pass over others, or log them.
const POSTGRES_QUERY: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// The same for MySQL, but for what a session needs to be right: its character set and time zone.
const MYSQL_QUERY: [&str; 10] = [
    "ssl-mode",
    "sslmode",
    "ssl-ca",
    "sslca",
    "ssl-cert",
    "sslcert",
    "ssl-key",
    "sslkey",
    "statement-cache-capacity",
    "socket",
];

/// The parameters of a query that `TLS` and `CACertificate` stand for.
const TLS_QUERY: [&str; 6] = ["sslmode", "ssl-mode", "sslrootcert", "ssl-root-cert", "ssl-ca", "sslca"];

/// What is named.
enum Target {
    /// A file of SQLite.
    File(String),
    /// A server, with all of the query; the scheme is `postgres` or `mysql`.
    Server(Url),
}

impl Database {
    /// The URL for sqlx: `postgres://...` or `mysql://...` with everything that is set here. Of SQLite it is `sqlite:`
    /// and the path of the file as it is, whatever characters it has.
    pub fn url(&self) -> String {
        match self.target() {
            Ok(Target::File(file)) => format!("sqlite:{file}"),
            Ok(Target::Server(url)) => url.into(),
            // What was loaded was checked.
            Err(_) => self.url.clone().unwrap_or_default(),
        }
    }

    /// Where things belong that go with this database: beside its file, or in the working directory.
    pub fn folder(&self) -> PathBuf {
        let file = self.url().strip_prefix("sqlite:").map(PathBuf::from);
        file.and_then(|file| file.parent().map(PathBuf::from)).unwrap_or_default()
    }

    /// The same for messages, without the password.
    pub fn describe(&self) -> String {
        match self.target() {
            Ok(Target::File(file)) => format!("sqlite:{file}"),
            Ok(Target::Server(url)) => without_password(url).into(),
            Err(_) => "a database that can't be used".to_owned(),
        }
    }

    fn target(&self) -> Result<Target, Wrong> {
        let target = match (&self.url, self.original_keys().first()) {
            (Some(_), Some((_, key))) => {
                let text = format!(
                    "'URL': '{key}' names a database too; remove URL, or Host, Username, Password and Database"
                );
                return Err(("Database.URL", text));
            }
            (None, Some(_)) => Target::Server(self.original()?),
            (None, None) => Target::File(DEFAULT_FILE.to_owned()),
            (Some(url), None) => from_url(url).map_err(|text| ("Database.URL", format!("'URL': {text}")))?,
        };
        match target {
            Target::File(file) => self.without_tls(file),
            Target::Server(url) => self.with_tls(url).map(Target::Server),
        }
    }

    /// The original's keys that are set: their paths and names.
    fn original_keys(&self) -> Vec<(&'static str, &'static str)> {
        let keys = [
            ("Database.Host", "Host", &self.host),
            ("Database.Username", "Username", &self.username),
            ("Database.Password", "Password", &self.password),
            ("Database.Database", "Database", &self.database),
        ];
        keys.into_iter().filter(|(_, _, value)| value.is_some()).map(|(path, key, _)| (path, key)).collect()
    }

    /// The server of the original's keys.
    fn original(&self) -> Result<Url, Wrong> {
        let needed = |path: &'static str, value: &'static str, given: &Option<String>| match given {
            Some(text) if text.is_empty() => Err((path, format!("'{value}' is empty"))),
            Some(text) => Ok(text.clone()),
            None => {
                let path = self.original_keys().first().map_or("Database", |(path, _)| path);
                let text = format!(
                    "key '{value}' is missing; [Database] needs all of Host, Username, Database, or URL instead of them"
                );
                Err((path, text))
            }
        };
        let host = needed("Database.Host", "Host", &self.host)?;
        let user = needed("Database.Username", "Username", &self.username)?;
        let database = needed("Database.Database", "Database", &self.database)?;
        let not_a_host = || {
            let text = "'Host': is not a host; use a name or an address, with a port if it is not 3306, such as \
                        \"db.example.org\", \"127.0.0.1:3307\" or \"[::1]:3307\"";
            ("Database.Host", text.to_owned())
        };
        let (host, port) = host_and_port(&host).ok_or_else(not_a_host)?;
        let password = self.password.as_deref().map(|password| format!(":{}", encoded(password))).unwrap_or_default();
        let url = format!("mysql://{}{password}@{host}:{port}/{}", encoded(&user), encoded(&database));
        Url::parse(&url).map_err(|_| not_a_host())
    }

    /// `TLS` and `CACertificate` as sqlx has them in a URL.
    fn with_tls(&self, mut url: Url) -> Result<Url, Wrong> {
        let keys = [
            ("Database.TLS", "TLS", self.tls.is_some()),
            ("Database.CACertificate", "CACertificate", self.ca_certificate.is_some()),
        ];
        let Some((path, key, _)) = keys.into_iter().find(|(_, _, is_set)| *is_set) else { return Ok(url) };
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| TLS_QUERY.contains(&&**name)) {
            return Err((path, format!("'{key}': URL has '{name}', which says the same; remove one of them")));
        }
        if self.ca_certificate.is_some() && self.tls != Some(Tls::Verify) {
            let text = "'CACertificate': is used only with TLS = \"verify\"; set that, or remove CACertificate";
            return Err(("Database.CACertificate", text.to_owned()));
        }
        let is_postgres = url.scheme() == "postgres";
        let mode = match (self.tls, is_postgres) {
            (None, _) => return Ok(url),
            (Some(Tls::Off), true) => "disable",
            (Some(Tls::Prefer), true) => "prefer",
            (Some(Tls::Require), true) => "require",
            (Some(Tls::Verify), true) => "verify-full",
            (Some(Tls::Off), false) => "DISABLED",
            (Some(Tls::Prefer), false) => "PREFERRED",
            (Some(Tls::Require), false) => "REQUIRED",
            (Some(Tls::Verify), false) => "VERIFY_IDENTITY",
        };
        let (mode_key, ca_key) = if is_postgres { ("sslmode", "sslrootcert") } else { ("ssl-mode", "ssl-ca") };
        url.query_pairs_mut().append_pair(mode_key, mode);
        if let Some(file) = &self.ca_certificate {
            url.query_pairs_mut().append_pair(ca_key, &file.to_string_lossy());
        }
        Ok(url)
    }

    /// A file needs no TLS.
    fn without_tls(&self, file: String) -> Result<Target, Wrong> {
        let remedy = "is for a server, and this is an SQLite file; remove it";
        if self.tls.is_some() {
            return Err(("Database.TLS", format!("'TLS': {remedy}")));
        }
        if self.ca_certificate.is_some() {
            return Err(("Database.CACertificate", format!("'CACertificate': {remedy}")));
        }
        Ok(Target::File(file))
    }
}

/// The first value of `[Database]` that can't serve.
pub(super) fn check(database: &Database) -> Result<(), Wrong> {
    database.target()?;
    if let Some(file) = &database.ca_certificate {
        File::open(file).map_err(|error| {
            let text = format!("'CACertificate': {} can't be read: {error}", file.display());
            ("Database.CACertificate", text)
        })?;
    }
    within("Database.MaxConnections", database.max_connections.into(), 2..=1000)
}

fn from_url(text: &str) -> Result<Target, String> {
    let not_one = || {
        "is not a database's URL; use \"sqlite:FILE\", \"postgres://USER:PASSWORD@HOST/DATABASE\" or \
         \"mysql://USER:PASSWORD@HOST/DATABASE\""
            .to_owned()
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(not_one)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => return file(rest),
        "postgres" | "postgresql" => "postgres",
        "mysql" | "mariadb" => "mysql",
        _ => return Err(not_one()),
    };
    if !rest.starts_with("//") {
        return Err(format!("has no // after its first colon; use \"{scheme}://USER:PASSWORD@HOST/DATABASE\""));
    }
    let url = Url::parse(&format!("{scheme}:{rest}")).map_err(|error| {
        format!("can't be read: {error}; in a password, / is written %2F, @ %40, # %23, ? %3F, : %3A and % %25")
    })?;
    server(&url).map(|()| Target::Server(url))
}

fn file(rest: &str) -> Result<Target, String> {
    let file = rest.strip_prefix("//").unwrap_or(rest);
    match file.trim_start_matches('/') {
        "" => Err("names no file; use \"sqlite:jobmgr.db\"".to_owned()),
        _ => Ok(Target::File(file.to_owned())),
    }
}

/// Whether a server's URL says all that a connection needs.
fn server(url: &Url) -> Result<(), String> {
    if url.fragment().is_some() {
        return Err("has a '#'; in a password it is written %23".to_owned());
    }
    let is_postgres = url.scheme() == "postgres";
    let known: &[&str] = if is_postgres { &POSTGRES_QUERY } else { &MYSQL_QUERY };
    let in_query = |names: &[&str]| url.query_pairs().any(|(name, _)| names.contains(&&*name));
    let is_known =
        |name: &str| known.contains(&name) || is_postgres && (name == "options" || name.starts_with("options["));
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| !is_known(name)) {
        // What follows a ? in a password is no name to show.
        if url.query().is_some_and(|query| query.contains('@')) {
            return Err("has a '?' before an '@'; in a password they are written %3F and %40".to_owned());
        }
        let known = known.join(", ");
        return Err(format!("has the unknown parameter '{}'; known are {known}", name.escape_debug()));
    }
    if url.host_str().is_none_or(str::is_empty) && !in_query(&["host", "hostaddr", "socket"]) {
        return Err("names no host".to_owned());
    }
    let path = url.path().trim_start_matches('/');
    if path.contains(['/', '@']) {
        return Err(
            "has more than a name after the host; in a name or a password, / is written %2F and @ is %40".to_owned()
        );
    }
    if path.is_empty() && !in_query(&["dbname"]) {
        return Err("names no database; it ends in /DATABASE".to_owned());
    }
    // PostgreSQL takes the system's user, as its own tools do; to MySQL nobody comes as root unawares.
    if !is_postgres && url.username().is_empty() {
        return Err("names no user; it begins with mysql://USER:PASSWORD@".to_owned());
    }
    Ok(())
}

/// `host`, `host:port` or the same with an IPv6 address in brackets.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), rest)
        }
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            (is_name.then(|| host.to_owned())?, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok().filter(|port| *port > 0)?,
        Some(_) => return None,
        None if rest.is_empty() => MYSQL_PORT,
        None => return None,
    };
    Some((host, port))
}

/// Text as a part of a URL; `Url` itself would take `%41` in a password for an `A`.
fn encoded(text: &str) -> String {
    let each = text.bytes().map(|b| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    });
    each.collect()
}

fn without_password(mut url: Url) -> Url {
    // It fails only where there is no host, and so no password either.
    let _ = url.set_password(None);
    let is_secret = |name: &str| name == "password";
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let others: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| !is_secret(name)).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    url
}
