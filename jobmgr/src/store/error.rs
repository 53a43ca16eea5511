//! What can go wrong.

/// What can go wrong with the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is full, or is locked by somebody else: trying again may help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Its content or a statement is wrong.
    #[error("the database failed: {0}")]
    Failed(String),
    /// The configuration or the database can't serve.
    #[error("{0}")]
    Unusable(String),
}

/// SQLSTATEs and error numbers that say "again": deadlock, serialization, lock wait, record changed
/// (PostgreSQL: class 40; MySQL: 1213, 1205, 1020; SQLite: the BUSY and LOCKED families).
const AGAIN: [&str; 13] =
    ["40001", "40P01", "1213", "1205", "1020", "HY000/1205", "5", "6", "261", "517", "773", "262", "518"];

impl StoreError {
    /// Whether the whole transaction may be tried again at once.
    pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
        let sqlx::Error::Database(database) = error else { return false };
        database.code().is_some_and(|code| AGAIN.contains(&code.as_ref()))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => {
                StoreError::Unavailable(error.to_string())
            }
            // 10: I/O error, 13: disk full, 8: read-only, 14: can't open, each with extended codes above 8 bits.
            sqlx::Error::Database(database) => {
                let code = database.code().and_then(|code| code.parse::<i64>().ok());
                match code.map(|code| code & 0xff) {
                    Some(5 | 6 | 8 | 10 | 13 | 14) => StoreError::Unavailable(database.message().to_owned()),
                    _ => StoreError::Failed(database.message().to_owned()),
                }
            }
            _ => StoreError::Failed(error.to_string()),
        }
    }
}
