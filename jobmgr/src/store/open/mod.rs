//! Opening: connections, checks, migrations, the installation's own values.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, Connection, Executor, Row};

use super::dialect::Dialect;
use super::feed::Feed;
use super::statements::Statements;
use super::wake::Wake;
use super::writer::{Connector, Writer};
use super::{Shared, Store, StoreError};
use crate::config;

/// Adoption of what the original jobmgr left.
mod adopt;
/// A look that changes nothing.
mod inspect;
/// Bringing tables up to date.
mod migrate;
/// PostgreSQL, MySQL, MariaDB: what must be true of a server.
mod server;
/// A file and its file system.
pub(super) mod sqlite;
/// Which tables there are.
mod tables;

pub use inspect::{Inspection, Original};

/// Connections that only read SQLite.
const READERS: u32 = 4;
/// Connections to a server that don't read: two that write, one for leases, one that tells, one that listens.
const OTHERS: u32 = 5;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What belongs to this database as a whole.
pub(super) struct Installation {
    pub(super) id: String,
    pub(super) signing_key: Vec<u8>,
}

/// Where the database is, and how it is spoken to.
pub(super) struct Place {
    dialect: Dialect,
    /// For sqlx.
    url: String,
    /// For messages.
    name: String,
    /// Between us and PostgreSQL is a pooler, which gives each transaction another session.
    pooled: bool,
    readers: u32,
}

impl Place {
    fn unusable(&self, error: &dyn std::fmt::Display) -> StoreError {
        let what = if self.dialect == Dialect::Sqlite { "the SQLite file " } else { "" };
        StoreError::Unusable(format!("[Database] {what}{} can't be used: {error}", self.name))
    }

    fn options(&self) -> Result<AnyConnectOptions, StoreError> {
        AnyConnectOptions::from_str(&self.url).map_err(|error| self.unusable(&error))
    }
}

impl Store {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// When it can't serve; the text says what to do.
    pub async fn open(config: &config::Database) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let url = config.url();
        let (place, mut connection) = match Dialect::of(&url) {
            Dialect::Sqlite => sqlite::connect(&url).await?,
            dialect => server::connect(dialect, url, config).await?,
        };
        adopt::make_room(&mut connection, &place).await?;
        migrate::run(&mut connection, &place).await?;
        let statements = Statements::new(place.dialect, place.pooled, server::id_step(&mut connection, &place).await?);
        adopt::take_over(&mut connection, &place, &statements).await?;
        let installation = installation(&mut connection, &statements).await?;
        let statements = Arc::new(statements);
        let wake = match place.dialect {
            Dialect::Postgres if !place.pooled => Wake::by_postgres(&place.url),
            _ => Wake::within(),
        };
        let options = place.options()?;
        let connector =
            Connector { options: options.clone(), statements: Arc::clone(&statements), wake: Arc::clone(&wake) };
        let readers = readers(options, &place).await?;
        set_session(&mut connection, place.dialect.session_to_write()).await?;
        let writer =
            Writer::start(connection, connector).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let feed = Feed::new();
        Ok(Store { shared: Arc::new(Shared { readers, statements, writer, wake, feed, installation }) })
    }
}

/// A connection with its session set.
pub(super) async fn connect(options: &AnyConnectOptions, dialect: Dialect) -> Result<AnyConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = AnyConnection::connect_with(options).await?;
        set_session(&mut connection, dialect.session()).await?;
        Ok(connection)
    };
    if dialect == Dialect::Sqlite {
        return connecting.await;
    }
    let late = || sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer"));
    tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(late()))
}

/// The same for a thread that writes.
pub(super) async fn connect_to_write(
    options: &AnyConnectOptions,
    dialect: Dialect,
) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = connect(options, dialect).await?;
    set_session(&mut connection, dialect.session_to_write()).await?;
    Ok(connection)
}

/// SQLite refuses to change to WAL while another connection looks at the file, without waiting for it.
async fn set_session(connection: &mut AnyConnection, statements: &'static [&'static str]) -> Result<(), sqlx::Error> {
    for statement in statements {
        let mut tries = 0;
        while let Err(error) = connection.execute(sqlx::raw_sql(*statement)).await {
            tries += 1;
            if tries == 200 || !StoreError::is_conflict(&error) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

async fn readers(options: AnyConnectOptions, place: &Place) -> Result<sqlx::AnyPool, StoreError> {
    let dialect = place.dialect;
    let to_read = if place.pooled { &[] } else { dialect.session_to_read() };
    // A server closes what is idle for long, by its session's own settings too; a file does not.
    let idle = (dialect != Dialect::Sqlite).then_some(Duration::from_secs(20));
    let pool = AnyPoolOptions::new()
        .max_connections(place.readers)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .idle_timeout(idle)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                set_session(connection, dialect.session()).await?;
                set_session(connection, to_read).await
            })
        });
    Ok(pool.connect_with(options).await?)
}

async fn installation(connection: &mut AnyConnection, statements: &Statements) -> Result<Installation, StoreError> {
    let id = remembered(connection, statements, "id", || uuid::Uuid::new_v4().simple().to_string()[..8].to_owned());
    let id = id.await?;
    let random = || format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let signing_key = remembered(connection, statements, "signing_key", random).await?.into_bytes();
    Ok(Installation { id, signing_key })
}

/// A value of the installation, made where it is not there yet; who inserts second reads the first one's.
async fn remembered(
    connection: &mut AnyConnection,
    statements: &Statements,
    name: &str,
    make: impl Fn() -> String,
) -> Result<String, StoreError> {
    for _ in 0..20 {
        connection.execute(sqlx::raw_sql(statements.dialect.begin())).await?;
        let row = statements.query(&statements.installation).bind(name.to_owned()).fetch_optional(&mut *connection);
        let row = row.await?;
        if row.is_none() {
            let insert = statements.query(&statements.set_installation).bind(name.to_owned()).bind(make());
            if let Err(error) = insert.execute(&mut *connection).await {
                connection.execute("rollback").await?;
                if StoreError::is_conflict(&error) {
                    continue;
                }
                return Err(error.into());
            }
        }
        connection.execute("commit").await?;
        if let Some(row) = row {
            return Ok(row.try_get(0)?);
        }
    }
    Err(StoreError::Failed(format!("the table installation does not keep '{name}'")))
}
