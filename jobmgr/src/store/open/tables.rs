//! Which tables a database has.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::Place;

/// The migrator's own table.
const MIGRATIONS: &str = "_sqlx_migrations";

/// Tables by name, each with its columns in small letters.
pub(super) struct Tables(BTreeMap<String, BTreeSet<String>>);

impl Tables {
    pub(super) async fn of(connection: &mut AnyConnection, place: &Place) -> Result<Self, sqlx::Error> {
        // Not prepared: behind a pooler what was prepared outside of a transaction may not be there.
        let rows = sqlx::raw_sql(place.dialect.columns()).fetch_all(connection).await?;
        let mut tables = BTreeMap::<String, BTreeSet<String>>::new();
        for row in rows {
            let (table, column): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            tables.entry(table).or_default().insert(column.to_lowercase());
        }
        Ok(Self(tables))
    }

    pub(super) fn has(&self, table: &str) -> bool {
        self.0.contains_key(table)
    }

    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        self.0.get(table).is_some_and(|columns| columns.contains(column))
    }

    /// Whether migrations were ever begun.
    pub(super) fn migrated(&self) -> bool {
        self.has(MIGRATIONS)
    }
}

/// A count, or another single number; 0 where there is none.
pub(super) async fn number(connection: &mut AnyConnection, text: String) -> Result<i64, sqlx::Error> {
    let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(connection).await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0))
}

/// The newest migration that was done.
pub(super) async fn version(connection: &mut AnyConnection, tables: &Tables) -> Result<i64, sqlx::Error> {
    if !tables.migrated() {
        return Ok(0);
    }
    number(connection, format!("select max(version) from {MIGRATIONS} where success = true")).await
}
