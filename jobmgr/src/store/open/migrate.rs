//! Bringing tables up to date, once, whoever starts first.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Connection, Executor, Row, SqlSafeStr};

use super::Place;
use crate::store::StoreError;
use crate::store::dialect::Dialect;

/// Held while PostgreSQL's tables are changed; any number that nobody else uses.
const LOCK: i64 = 0x6a6f_626d_6772;

fn migrations(dialect: Dialect) -> Vec<Migration> {
    let files: &[(i64, &str, &'static str)] = match dialect {
        Dialect::Sqlite => &[
            (1, "queue", include_str!("../../../migrations/sqlite/0001_queue.sql")),
            (2, "workers", include_str!("../../../migrations/sqlite/0002_workers.sql")),
            (3, "executors", include_str!("../../../migrations/sqlite/0003_executors.sql")),
            (4, "submissions", include_str!("../../../migrations/sqlite/0004_submissions.sql")),
            (5, "inputs", include_str!("../../../migrations/sqlite/0005_inputs.sql")),
            (6, "events", include_str!("../../../migrations/sqlite/0006_events.sql")),
            (7, "tokens", include_str!("../../../migrations/sqlite/0007_tokens.sql")),
            (8, "webhooks", include_str!("../../../migrations/sqlite/0008_webhooks.sql")),
            (9, "traces", include_str!("../../../migrations/sqlite/0009_traces.sql")),
            (10, "gpus", include_str!("../../../migrations/sqlite/0010_gpus.sql")),
        ],
        Dialect::Postgres => &[
            (2, "queue", include_str!("../../../migrations/postgres/0002_queue.sql")),
            (3, "executors", include_str!("../../../migrations/postgres/0003_executors.sql")),
            (4, "submissions", include_str!("../../../migrations/postgres/0004_submissions.sql")),
            (5, "inputs", include_str!("../../../migrations/postgres/0005_inputs.sql")),
            (6, "events", include_str!("../../../migrations/postgres/0006_events.sql")),
            (7, "tokens", include_str!("../../../migrations/postgres/0007_tokens.sql")),
            (8, "webhooks", include_str!("../../../migrations/postgres/0008_webhooks.sql")),
            (9, "traces", include_str!("../../../migrations/postgres/0009_traces.sql")),
            (10, "gpus", include_str!("../../../migrations/postgres/0010_gpus.sql")),
        ],
        Dialect::Mysql => &[
            (2, "queue", include_str!("../../../migrations/mysql/0002_queue.sql")),
            (3, "executors", include_str!("../../../migrations/mysql/0003_executors.sql")),
            (4, "submissions", include_str!("../../../migrations/mysql/0004_submissions.sql")),
            (5, "inputs", include_str!("../../../migrations/mysql/0005_inputs.sql")),
            (6, "events", include_str!("../../../migrations/mysql/0006_events.sql")),
            (7, "tokens", include_str!("../../../migrations/mysql/0007_tokens.sql")),
            (8, "webhooks", include_str!("../../../migrations/mysql/0008_webhooks.sql")),
            (9, "traces", include_str!("../../../migrations/mysql/0009_traces.sql")),
            (10, "gpus", include_str!("../../../migrations/mysql/0010_gpus.sql")),
        ],
    };
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    files.iter().map(migration).collect()
}

/// Several processes may start at once: who comes second finds the work done when it tries again.
pub(super) async fn run(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        let error = match once(connection, place).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error {
            MigrateError::VersionMissing(found) => return Err(newer(place, found)),
            error if tries == 20 => return Err(place.unusable(&error)),
            // MySQL keeps what a migration did before it was cut short; done again, it goes on from there.
            MigrateError::Dirty(version) if place.dialect == Dialect::Mysql => {
                let forget = sqlx::query("delete from _sqlx_migrations where version = ? and success = false");
                forget.bind(version).execute(&mut *connection).await?;
            }
            _ => {}
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(20 * tries + fastrand::u64(0..20))).await;
    }
}

async fn once(connection: &mut AnyConnection, place: &Place) -> Result<(), MigrateError> {
    let mut migrator = Migrator::with_migrations(migrations(place.dialect));
    match place.dialect {
        Dialect::Sqlite => return migrator.run(&mut *connection).await,
        Dialect::Mysql => return locked(connection, migrator).await,
        Dialect::Postgres => {}
    }
    // A lock of the transaction, not of the session: behind a pooler the session may be another one next time.
    migrator.set_locking(false);
    let mut transaction = connection.begin().await?;
    let lock = sqlx::query("select 1 from (select pg_advisory_xact_lock($1)) as locked").bind(LOCK).persistent(false);
    lock.execute(&mut *transaction).await?;
    if place.pooled {
        // The migrator prepares statements by name, and this session may know those names from somebody before.
        transaction.execute(sqlx::raw_sql("deallocate all")).await?;
    }
    migrator.run(&mut *transaction).await?;
    if place.pooled {
        transaction.execute(sqlx::raw_sql("deallocate all")).await?;
    }
    Ok(transaction.commit().await?)
}

/// With a lock of our own: MariaDB does not wait for the migrator's, whose time is negative, and then who comes second
/// takes a migration that goes on for one that is done.
async fn locked(connection: &mut AnyConnection, mut migrator: Migrator) -> Result<(), MigrateError> {
    migrator.set_locking(false);
    let lock = "select cast(coalesce(get_lock(concat('jobmgr ', left(sha2(database(), 256), 32)), 60), 0) as signed)";
    if connection.fetch_one(sqlx::raw_sql(lock)).await?.try_get::<i64, _>(0)? != 1 {
        let why = "another process has been making the tables for a minute";
        return Err(MigrateError::Execute(sqlx::Error::Protocol(why.to_owned())));
    }
    let result = migrator.run(&mut *connection).await;
    connection.execute(sqlx::raw_sql("do release_lock(concat('jobmgr ', left(sha2(database(), 256), 32)))")).await?;
    result
}

/// The version that this jobmgr's tables have.
pub(super) fn newest(dialect: Dialect) -> i64 {
    migrations(dialect).last().map_or(0, |migration| migration.version)
}

pub(super) fn newer(place: &Place, found: i64) -> StoreError {
    let newest = newest(place.dialect);
    StoreError::Unusable(format!(
        "{} has tables of version {found}, made by a newer jobmgr; this one (jobmgr {}) knows version {newest}: start \
         the newer jobmgr, or name another database in [Database] URL",
        place.name,
        env!("CARGO_PKG_VERSION"),
    ))
}
