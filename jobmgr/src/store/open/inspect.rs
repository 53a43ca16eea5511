//! A look at a database that changes nothing.

use sqlx::AnyConnection;

use super::tables::{Tables, number, version};
use super::{Place, adopt, migrate, server, sqlite};
use crate::config;
use crate::store::dialect::Dialect;
use crate::store::{Store, StoreError};

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// No tables, or no file even.
    Empty,
    /// Tables of this version.
    Current {
        /// How many jobs are queued or started.
        unfinished: i64,
    },
    /// Tables of an older version.
    Old {
        /// Theirs.
        found: i64,
        /// The one that [`Store::open`] brings them to.
        known: i64,
    },
    /// Tables of the original jobmgr, not or not wholly adopted.
    Original(Original),
}

/// What is in a database of the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Whether its adoption was begun.
    pub begun: bool,
    /// How many jobs there are.
    pub jobs: i64,
    /// How many of them are queued.
    pub queued: i64,
    /// How many of them were left started.
    pub started: i64,
    /// How many artifacts there are.
    pub artifacts: i64,
}

impl Store {
    /// Says what [`Store::open`] would find, and changes nothing.
    ///
    /// # Errors
    /// When it could not serve; the text says what to do.
    pub async fn inspect(config: &config::Database) -> Result<Inspection, StoreError> {
        sqlx::any::install_default_drivers();
        let url = config.url();
        let connected = match Dialect::of(&url) {
            Dialect::Sqlite => sqlite::look(&url).await?,
            dialect => Some(server::connect(dialect, url, config).await?),
        };
        let Some((place, mut connection)) = connected else { return Ok(Inspection::Empty) };
        if place.dialect == Dialect::Sqlite {
            sqlite::quick_check(&mut connection, &place).await?;
        }
        look(&mut connection, &place).await
    }
}

async fn look(connection: &mut AnyConnection, place: &Place) -> Result<Inspection, StoreError> {
    let failed = |error: sqlx::Error| place.unusable(&error);
    let tables = Tables::of(connection, place).await.map_err(failed)?;
    if let Some(original) = adopt::look(connection, place, &tables).await? {
        return Ok(Inspection::Original(original));
    }
    let known = migrate::newest(place.dialect);
    match version(connection, &tables).await.map_err(failed)? {
        0 => Ok(Inspection::Empty),
        found if found > known => Err(migrate::newer(place, found)),
        found if found < known => Ok(Inspection::Old { found, known }),
        _ => {
            let text = "select count(*) from jobs where status in ('queued', 'started')";
            let unfinished = number(connection, text.to_owned()).await.map_err(failed)?;
            Ok(Inspection::Current { unfinished })
        }
    }
}
