//! What can go wrong.

use sqlx::mysql::MySqlDatabaseError;

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

/// Codes that say "again": deadlock, serialization, lock wait, record changed (PostgreSQL: class 40 and 55P03; MySQL:
/// 1213, 1205, 1020, by their numbers; SQLite: the BUSY and LOCKED families).
const AGAIN: [&str; 12] = ["40001", "40P01", "55P03", "1213", "1205", "1020", "5", "6", "261", "517", "262", "518"];

/// Those of them that SQLite says before it does anything: BUSY, BUSY_RECOVERY.
const BUSY: [&str; 2] = ["5", "261"];

/// Codes after which a connection is of no use: the server ends, or ended it (PostgreSQL: 57P01..3, 57P05, 25P03, class
/// 08; MySQL: 1053, 1927, 4031).
const LOST: [&str; 9] = ["57P01", "57P02", "57P03", "57P05", "25P03", "08", "1053", "1927", "4031"];

/// Codes that say "later": full, read-only, too many connections, a statement that took too long (PostgreSQL: class 53,
/// 57014, 25006; MySQL: 1021, 1114, 1040, 1203, 1290, 1836, 3024, 1969, 3).
const LATER: [&str; 12] =
    ["53", "57014", "25006", "1021", "1114", "1040", "1203", "1290", "1836", "3024", "1969", "1026"];

/// The database's own code: SQLSTATE, MySQL's error number, SQLite's result code.
fn code(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(error) = error else { return None };
    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(mysql) => Some(mysql.number().to_string()),
        None => error.code().map(|code| code.into_owned()),
    }
}

/// Whether a code is among `codes`, of which those with two letters name PostgreSQL's classes.
fn among(code: &str, codes: &[&str]) -> bool {
    codes.iter().any(|known| *known == code || (known.len() == 2 && code.len() == 5 && code.starts_with(known)))
}

impl StoreError {
    /// Whether the whole transaction may be tried again at once.
    pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
        code(error).is_some_and(|code| among(&code, &AGAIN))
    }

    /// Whether another process writes to the SQLite file, so that nothing was done.
    pub(super) fn is_busy(error: &sqlx::Error) -> bool {
        code(error).is_some_and(|code| among(&code, &BUSY))
    }

    /// Whether the connection is lost.
    pub(super) fn is_lost(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
            error => code(error).is_some_and(|code| among(&code, &LOST)),
        }
    }

    /// What the metrics call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Failed(_) | StoreError::Unusable(_) => "failed",
        }
    }

    /// The database did not answer in time.
    pub(super) fn silent() -> Self {
        StoreError::Unavailable("it does not answer".into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let text = match &error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            _ => error.to_string(),
        };
        // SQLite's 10: I/O error, 13: disk full, 8: read-only, 14: can't open, each with extended codes above 8 bits.
        let file =
            |code: &str| code.parse::<i64>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 8 | 10 | 13 | 14));
        let later = |code: String| among(&code, &AGAIN) || among(&code, &LATER);
        let is_sqlite = |error: &sqlx::Error| match error {
            sqlx::Error::Database(database) => database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some(),
            _ => false,
        };
        let waits = match &error {
            sqlx::Error::PoolTimedOut => true,
            lost if StoreError::is_lost(lost) => true,
            other if is_sqlite(other) => code(other).is_some_and(|code| file(&code) || among(&code, &AGAIN)),
            other => code(other).is_some_and(later),
        };
        if waits { StoreError::Unavailable(text) } else { StoreError::Failed(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, LATER, LOST, among};

    #[test]
    fn classes_are_known_by_their_two_letters_and_numbers_are_not() {
        assert!(among("53100", &LATER) && among("53300", &LATER) && among("08006", &LOST));
        assert!(among("40P01", &AGAIN) && !among("40", &AGAIN));
        assert!(!among("530", &LATER) && !among("42P01", &LATER) && !among("10530", &LATER));
    }
}
