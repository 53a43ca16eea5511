//! Adoption: a MySQL database of the original jobmgr becomes one of this jobmgr, in place.
//!
//! The original's tables are renamed to `original_...`, ours are made, and its rows are copied in batches. Each step
//! can be found half done and is gone on with at the next start. Nothing of the original's is changed or removed.

/// Rows, in batches.
mod copy;
/// What a row becomes.
mod rows;

use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};
use tracing::info;

use self::rows::Texts;
use super::Place;
use super::inspect::Original;
use super::tables::{Tables, number};
use crate::store::StoreError;
use crate::store::dialect::Dialect;
use crate::store::statements::Statements;

/// The original's tables, and those of their columns that are read.
const TABLES: [(&str, &[&str]); 4] = [
    ("artifacts", &["id", "name", "mime", "size", "uuid", "created", "jobid"]),
    ("results", &["id", "data", "jobid"]),
    ("users", &[]),
    ("jobs", &["id", "status", "priority", "name", "parameters", "created", "started", "completed", "userid"]),
];

/// How often a database is looked at again that another process seems to be renaming just now.
const LOOKS: u64 = 5;

/// Where a database stands.
#[derive(Debug, PartialEq)]
enum Standing {
    /// It is not the original's.
    Ours,
    /// These tables have their old names.
    Named(Vec<&'static str>),
    /// All have their new names.
    Renamed,
}

fn renamed(table: &str) -> String {
    format!("original_{table}")
}

/// Whether a table, under this name, is the original's and not ours.
fn is_originals(tables: &Tables, table: &str, name: &str) -> bool {
    match table {
        "jobs" => tables.has_column(name, "userid") && !tables.has_column(name, "epoch"),
        "artifacts" => tables.has_column(name, "jobid") && !tables.has_column(name, "object_key"),
        "results" => tables.has_column(name, "jobid") && tables.has_column(name, "data"),
        _ => tables.has_column(name, "username"),
    }
}

fn standing(tables: &Tables) -> Result<Standing, String> {
    let here = |table: &str| is_originals(tables, table, table);
    let away = |table: &str| is_originals(tables, table, &renamed(table));
    if !here("jobs") && !away("jobs") {
        let strange = tables.has("jobs") && !tables.migrated();
        let why = "it has a table jobs that is neither this jobmgr's nor the original's; name another database";
        return if strange { Err(why.to_owned()) } else { Ok(Standing::Ours) };
    }
    if here("jobs") && tables.migrated() {
        let why = "it has a table jobs of the original jobmgr among those of this one; name another database, or \
                   remove from this one what does not belong to the original";
        return Err(why.to_owned());
    }
    for (table, columns) in TABLES {
        let name = if here(table) { table.to_owned() } else { renamed(table) };
        if here(table) && tables.has(&renamed(table)) {
            let new = renamed(table);
            return Err(format!("it has the original's table {table} and a table {new}, as which that is to be kept"));
        }
        if let Some(column) = columns.iter().find(|column| !tables.has_column(&name, column)) {
            return Err(format!(
                "it has some tables of the original jobmgr, but not the column {column} of its table {table}"
            ));
        }
    }
    let named: Vec<_> = TABLES.into_iter().map(|(table, _)| table).filter(|table| here(table)).collect();
    Ok(if named.is_empty() { Standing::Renamed } else { Standing::Named(named) })
}

/// Whether all of it was adopted before.
async fn is_done(connection: &mut AnyConnection, tables: &Tables) -> Result<bool, sqlx::Error> {
    if !tables.has("installation") {
        return Ok(false);
    }
    let text = format!("select value from installation where name = '{}'", copy::PROGRESS);
    let row = sqlx::query(AssertSqlSafe(text)).fetch_optional(connection).await?;
    row.map_or(Ok(false), |row| Ok(row.try_get::<String, _>(0)? == copy::DONE))
}

/// What there is to adopt; `None`: nothing.
pub(super) async fn look(
    connection: &mut AnyConnection,
    place: &Place,
    tables: &Tables,
) -> Result<Option<Original>, StoreError> {
    if place.dialect != Dialect::Mysql || is_done(connection, tables).await? {
        return Ok(None);
    }
    let named = match standing(tables).map_err(|why| place.unusable(&why))? {
        Standing::Ours => return Ok(None),
        Standing::Named(named) => named,
        Standing::Renamed => Vec::new(),
    };
    let name = |table: &'static str| if named.contains(&table) { table.to_owned() } else { renamed(table) };
    let (jobs, artifacts) = (name("jobs"), name("artifacts"));
    let mut count = async |of: String| number(connection, format!("select count(*) from {of}")).await;
    Ok(Some(Original {
        begun: TABLES.iter().any(|(table, _)| tables.has(&renamed(table))),
        queued: count(format!("{jobs} where status = 0")).await?,
        started: count(format!("{jobs} where status = 1")).await?,
        jobs: count(jobs).await?,
        artifacts: count(artifacts).await?,
    }))
}

/// Gives the original's tables other names, before ours are made. Renaming is one statement: who comes second finds
/// the tables renamed, and its own attempt fails, since the new names are taken.
pub(super) async fn make_room(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    if place.dialect != Dialect::Mysql {
        return Ok(());
    }
    for look in 1..=LOOKS {
        let last = look == LOOKS;
        let tables = Tables::of(connection, place).await?;
        // A table that another process is making may be listed before it is there.
        let standing = match is_done(connection, &tables).await {
            Ok(true) => return Ok(()),
            Ok(false) => standing(&tables),
            Err(error) if last || StoreError::is_lost(&error) => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        };
        match standing {
            Ok(Standing::Ours | Standing::Renamed) => return Ok(()),
            Ok(Standing::Named(named)) => match rename(connection, &named).await {
                Ok(()) => info!(tables = ?named, "the original's tables are now called original_..."),
                Err(error) if last || StoreError::is_conflict(&error) => return Err(cannot_rename(place, &error)),
                Err(_) => {}
            },
            Err(why) if last => return Err(place.unusable(&why)),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20 * look + fastrand::u64(0..20))).await;
    }
    Ok(())
}

async fn rename(connection: &mut AnyConnection, named: &[&str]) -> Result<(), sqlx::Error> {
    let each: Vec<_> = named.iter().map(|table| format!("{table} to {}", renamed(table))).collect();
    let text = format!("rename table {}", each.join(", "));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.map(drop)
}

fn cannot_rename(place: &Place, error: &sqlx::Error) -> StoreError {
    place.unusable(&format!(
        "its tables of the original jobmgr can't be renamed: {error}; stop the original, and give the user the rights \
         ALTER, DROP, CREATE and INSERT"
    ))
}

/// Copies the original's rows, once ours are there to take them.
pub(super) async fn take_over(
    connection: &mut AnyConnection,
    place: &Place,
    statements: &Statements,
) -> Result<(), StoreError> {
    if place.dialect != Dialect::Mysql {
        return Ok(());
    }
    let tables = Tables::of(connection, place).await?;
    let standing = standing(&tables).map_err(|why| place.unusable(&why))?;
    if standing != Standing::Renamed || is_done(connection, &tables).await? {
        return Ok(());
    }
    copy::all(connection, statements, &Texts::new(place.dialect)).await.map_err(|error| {
        place.unusable(&format!("adopting the original's rows failed: {error}; the next start goes on from there"))
    })
}
