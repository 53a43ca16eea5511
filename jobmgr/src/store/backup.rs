//! A whole copy of a SQLite database while others use it.

use std::path::{Path, PathBuf};

use sqlx::{AnyConnection, Connection, Row};

use super::open::sqlite;
use super::{StoreError, filesystem};
use crate::config;

/// Copies the SQLite database of `config` to the new file `to`, for its owner alone: one moment's state, checked, and
/// on disk when this returns. Gives its size in bytes.
///
/// # Errors
/// When there is no such database, `to` is there already or can't be written, or the copy is not sound; then no file
/// is left. The text says which.
pub async fn backup(config: &config::Database, to: &Path) -> Result<u64, StoreError> {
    sqlx::any::install_default_drivers();
    let from = sqlite::file(&config.url())?;
    if !from.is_file() {
        return Err(StoreError::Unusable(format!("[Database] there is no database {} yet", from.display())));
    }
    let to = std::path::absolute(to).map_err(|error| failed(to, &error))?;
    let text = to.to_str().ok_or_else(|| failed(&to, &"its name is not UTF-8"))?;
    // The name is taken from the start, so that nobody else's file is overwritten at the end.
    filesystem::create_private(&to).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => failed(&to, &"it is there already; name a new file"),
        _ => failed(&to, &error),
    })?;
    let part = PathBuf::from(format!("{text}.part-{}", uuid::Uuid::new_v4().simple()));
    let copied = copy(&config.url(), &part)
        .await
        .and_then(|()| filesystem::rename_durably(&part, &to).map_err(|error| failed(&to, &error)));
    if copied.is_err() {
        drop(std::fs::remove_file(&part));
        drop(std::fs::remove_file(&to));
    }
    copied
}

fn failed(file: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("{} can't be made: {why}", file.display()))
}

async fn copy(from: &str, part: &Path) -> Result<(), StoreError> {
    let broken = |error: sqlx::Error| failed(part, &error);
    filesystem::create_private(part).map_err(|error| failed(part, &error))?;
    let mut connection = sqlite::connect(from).await?.1;
    // What is written is one state of the whole; others go on meanwhile.
    let vacuum = sqlx::query("vacuum into ?").bind(part.display().to_string()).execute(&mut connection).await;
    vacuum.map_err(broken)?;
    connection.close().await.map_err(broken)?;
    let mut copy = AnyConnection::connect(&sqlite::url(part, "ro")).await.map_err(broken)?;
    let found = sqlx::query("pragma integrity_check").fetch_all(&mut copy).await.map_err(broken)?;
    copy.close().await.map_err(broken)?;
    let said = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>().map_err(broken)?;
    if said == ["ok"] {
        return Ok(());
    }
    Err(failed(part, &format!("the copy is not sound: {}", said.join("; "))))
}
