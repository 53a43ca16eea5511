//! PostgreSQL, MySQL and MariaDB servers: how they are reached, and what must be true of them.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Executor, Row};
use tokio::time::Instant;
use tracing::warn;

use super::{OTHERS, Place};
use crate::config;
use crate::store::StoreError;
use crate::store::dialect::Dialect;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a statement may need: parameters, output and inline logs in one row.
const LEAST_PACKET: u64 = 4 << 20;
/// A setting of the session that only arrives where no pooler is in between.
const DIRECT: &str = "jobmgr.direct";

pub(super) async fn connect(
    dialect: Dialect,
    url: String,
    config: &config::Database,
) -> Result<(Place, AnyConnection), StoreError> {
    let readers = config.max_connections.saturating_sub(OTHERS).max(2);
    let mut place = Place { dialect, url, name: config.describe(), pooled: false, readers };
    let until = Instant::now() + PATIENCE;
    loop {
        let connected = match dialect {
            Dialect::Postgres => reach_postgres(&mut place).await,
            _ => super::connect(&place.options()?, dialect).await,
        };
        let error = match connected {
            Ok(mut connection) => {
                match dialect {
                    Dialect::Postgres => check_postgres(&mut connection, &place).await?,
                    _ => check_mysql(&mut connection, &place).await?,
                }
                return Ok((place, connection));
            }
            Err(error) => error,
        };
        // A certificate that is refused now is refused later too.
        let comes = match &error {
            sqlx::Error::Tls(_) => false,
            sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
            other => StoreError::is_lost(other),
        };
        if !comes || Instant::now() > until {
            return Err(place.unusable(&in_words(&error)));
        }
        warn!("[Database] {} is not there yet: {error}", place.name);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn in_words(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        _ => error.to_string(),
    };
    if text.contains("extra_float_digits") {
        return format!("{text}; set ignore_startup_parameters = extra_float_digits in pgbouncer.ini");
    }
    text
}

/// Behind a pooler a statement that was prepared may be looked for in another session, so none is kept there; and what
/// is asked outside of a transaction is asked without preparing it.
async fn reach_postgres(place: &mut Place) -> Result<AnyConnection, sqlx::Error> {
    let with = |url: &str, parameter: &str| format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' });
    let direct = with(&place.url, &format!("options[{DIRECT}]=yes"));
    match super::connect(&AnyConnectOptions::from_str(&direct)?, place.dialect).await {
        Ok(mut connection) => {
            let text = format!("select current_setting('{DIRECT}', true)");
            let row = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).fetch_one(&mut connection).await?;
            if row.try_get::<Option<String>, _>(0)?.as_deref() == Some("yes") {
                return Ok(connection);
            }
        }
        Err(sqlx::Error::Database(error)) if error.message().contains("startup parameter: options") => {}
        Err(error) => return Err(error),
    }
    place.pooled = true;
    place.url = with(&place.url, "statement-cache-capacity=0");
    super::connect(&AnyConnectOptions::from_str(&place.url)?, place.dialect).await
}

async fn check_postgres(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    let text = "select current_setting('server_version_num'), current_setting('server_encoding'), \
                current_setting('fsync'), current_setting('synchronous_commit'), \
                current_setting('transaction_read_only')";
    let row = sqlx::raw_sql(text).fetch_one(connection).await?;
    let setting = |index: usize| row.try_get::<String, _>(index);
    let version: i64 = setting(0)?.parse().unwrap_or(0);
    if version < 120_000 {
        return Err(place.unusable(&"it is older than PostgreSQL 12"));
    }
    if setting(1)? != "UTF8" {
        let why = format!("its encoding is {}; make one with: create database NAME encoding 'UTF8'", setting(1)?);
        return Err(place.unusable(&why));
    }
    if setting(4)? == "on" {
        return Err(place.unusable(&"it takes no writes (a standby, or default_transaction_read_only)"));
    }
    for (index, name) in [(2, "fsync"), (3, "synchronous_commit")] {
        if setting(index)? == "off" {
            warn!("[Database] {name} is off: accepted jobs may be lost when the database's machine fails");
        }
    }
    Ok(())
}

async fn check_mysql(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    let version: String = sqlx::query("select version()").fetch_one(&mut *connection).await?.try_get(0)?;
    let oldest = if version.contains("MariaDB") { ("MariaDB", (10, 6)) } else { ("MySQL", (8, 0)) };
    if version_of(&version) < oldest.1 {
        let (name, (major, minor)) = oldest;
        return Err(
            place.unusable(&format!("it is {version}; {name} {major}.{minor} or newer is needed (SKIP LOCKED)"))
        );
    }
    let set = variables(connection).await?;
    let is = |name: &str, value: &str| set.get(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if is("log_bin", "ON") && is("binlog_format", "STATEMENT") {
        return Err(place.unusable(&"binlog_format is STATEMENT, which READ COMMITTED can't work with; set it to ROW"));
    }
    if is("read_only", "ON") && is("super_read_only", "ON") {
        return Err(place.unusable(&"it takes no writes (super_read_only is on)"));
    }
    if is("read_only", "ON") {
        // Some users are above it; a transaction is refused where this one is not.
        let begun = connection.execute(sqlx::raw_sql("start transaction read write")).await;
        begun.map_err(|_| place.unusable(&"it takes no writes (read_only is on)"))?;
        connection.execute(sqlx::raw_sql("rollback")).await?;
    }
    let packet: u64 = set.get("max_allowed_packet").and_then(|value| value.parse().ok()).unwrap_or(u64::MAX);
    if packet < LEAST_PACKET {
        let why = format!("max_allowed_packet is {packet} bytes; set it to {LEAST_PACKET} or more");
        return Err(place.unusable(&why));
    }
    if !is("innodb_flush_log_at_trx_commit", "1") {
        warn!(
            "[Database] innodb_flush_log_at_trx_commit is not 1: accepted jobs may be lost when the database's \
             machine fails"
        );
    }
    Ok(())
}

async fn variables(connection: &mut AnyConnection) -> Result<HashMap<String, String>, StoreError> {
    let text = "show variables where variable_name in ('log_bin', 'binlog_format', 'max_allowed_packet', 'read_only', \
                'super_read_only', 'innodb_flush_log_at_trx_commit', 'auto_increment_increment')";
    let rows = sqlx::query(text).fetch_all(connection).await?;
    let pairs = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(pairs.collect::<Result<_, sqlx::Error>>()?)
}

/// The first two numbers of a version.
fn version_of(text: &str) -> (u32, u32) {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// How far apart the ids of one INSERT's rows are: in a Galera cluster each node has numbers of its own.
pub(super) async fn id_step(connection: &mut AnyConnection, place: &Place) -> Result<i64, StoreError> {
    if place.dialect.returns_ids() {
        return Ok(1);
    }
    let set = variables(connection).await?;
    Ok(set.get("auto_increment_increment").and_then(|value| value.parse().ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version_of("10.11.19-MariaDB-0+deb12u1"), (10, 11));
        assert_eq!(version_of("8.0.36"), (8, 0));
        assert!(version_of("10.5.2-MariaDB") < (10, 6) && version_of("9.7.0") > (8, 0));
    }
}
