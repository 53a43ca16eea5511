//! Opening: connections, migrations, the installation's own values.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Connection, Row, SqlSafeStr};
use tokio::sync::Notify;

use super::dialect::{Dialect, Statements};
use super::writer::{Connector, Writer};
use super::{Shared, Store, StoreError, filesystem};
use crate::config;

/// Connections that only read.
const READERS: u32 = 4;
/// The oldest SQLite that keeps a WAL database whole when several processes use it.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// What belongs to this database as a whole.
pub(super) struct Installation {
    pub(super) id: String,
    pub(super) signing_key: Vec<u8>,
}

impl Store {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// When it can't serve; the text says what to do.
    pub async fn open(config: &config::Database) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let file = sqlite_file(config)?;
        filesystem::check(&file)?;
        let url = format!("sqlite:{}?mode=rwc", in_url(&file));
        let options = AnyConnectOptions::from_str(&url).map_err(|error| unusable(&file, &error))?;
        filesystem::make_private(&file)?;
        let statements = Arc::new(Statements::new(Dialect::Sqlite));
        let mut connection = connect(&options, statements.dialect).await.map_err(|error| unusable(&file, &error))?;
        check_version(&mut connection).await?;
        migrate(&mut connection, &file).await?;
        let installation = installation(&mut connection, &statements).await?;
        let work = Arc::new(Notify::new());
        let connector =
            Connector { options: options.clone(), statements: Arc::clone(&statements), work: Arc::clone(&work) };
        let readers = readers(options, statements.dialect).await?;
        let writer =
            Writer::start(connection, connector).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Store { shared: Arc::new(Shared { readers, statements, writer, work, installation }) })
    }
}

/// The file as sqlx reads it back from a URL.
fn in_url(file: &Path) -> String {
    let path = file.display().to_string();
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace('\\', "/")
}

fn unusable(file: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("[Database] the SQLite file {} can't be used: {error}", file.display()))
}

/// The file that `[Database] URL` names.
fn sqlite_file(config: &config::Database) -> Result<PathBuf, StoreError> {
    match config.url().strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(StoreError::Unusable(format!(
            "[Database] {}: this version serves SQLite, so set URL = \"sqlite:FILE\"",
            config.describe()
        ))),
    }
}

/// A connection with its session set.
pub(super) async fn connect(options: &AnyConnectOptions, dialect: Dialect) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    set_session(&mut connection, dialect).await?;
    Ok(connection)
}

/// SQLite refuses to change to WAL while another connection looks at the file, without waiting for it.
async fn set_session(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), sqlx::Error> {
    for statement in dialect.session() {
        let mut tries = 0;
        while let Err(error) = sqlx::query(*statement).execute(&mut *connection).await {
            tries += 1;
            if tries == 200 || !StoreError::is_conflict(&error) {
                return Err(error);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

async fn readers(options: AnyConnectOptions, dialect: Dialect) -> Result<sqlx::AnyPool, StoreError> {
    let pool = AnyPoolOptions::new()
        .max_connections(READERS)
        .min_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| Box::pin(set_session(connection, dialect)));
    Ok(pool.connect_with(options).await?)
}

async fn check_version(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let version: String = sqlx::query("select sqlite_version()").fetch_one(connection).await?.try_get(0)?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found >= OLDEST_SQLITE {
        return Ok(());
    }
    Err(StoreError::Unusable(format!("SQLite {version} can damage a database in WAL mode; 3.51.3 or newer is needed")))
}

fn migrations() -> Vec<Migration> {
    [(1, "queue", include_str!("../../migrations/sqlite/0001_queue.sql"))]
        .map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .into()
}

/// Two processes may start at once: who comes second finds the work done when it tries again.
async fn migrate(connection: &mut AnyConnection, file: &Path) -> Result<(), StoreError> {
    let migrations = migrations();
    let newest = migrations.last().map_or(0, |migration| migration.version);
    let migrator = Migrator::with_migrations(migrations);
    let mut tries = 0;
    loop {
        match migrator.run(&mut *connection).await {
            Ok(()) => return Ok(()),
            Err(MigrateError::VersionMissing(found)) => {
                return Err(StoreError::Unusable(format!(
                    "{} has tables of version {found}, made by a newer jobmgr; this one (jobmgr {}) knows version \
                     {newest}: start the newer jobmgr, or name another file in [Database] URL",
                    file.display(),
                    env!("CARGO_PKG_VERSION"),
                )));
            }
            Err(error) if tries == 5 => return Err(unusable(file, &error)),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50 * tries)).await;
            }
        }
    }
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
    for _ in 0..2 {
        let query = sqlx::query(&statements.installation).bind(name.to_owned());
        if let Some(row) = query.fetch_optional(&mut *connection).await? {
            return Ok(row.try_get(0)?);
        }
        let insert = sqlx::query(&statements.set_installation).bind(name.to_owned()).bind(make());
        drop(insert.execute(&mut *connection).await);
    }
    Err(StoreError::Failed(format!("the table installation does not keep '{name}'")))
}
