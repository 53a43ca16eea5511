//! A SQLite file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection, Executor, Row};

use super::{Place, READERS};
use crate::store::dialect::Dialect;
use crate::store::{StoreError, filesystem};

/// The oldest SQLite that keeps a WAL database whole when several processes use it.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// A connection to the file that a URL names, which is made where it is not there yet.
pub(in crate::store) async fn connect(url: &str) -> Result<(Place, AnyConnection), StoreError> {
    let file = file(url)?;
    filesystem::check(&file)?;
    let place = place(&file, "rwc");
    let options = place.options()?;
    filesystem::make_private(&file)?;
    let mut connection = super::connect(&options, place.dialect).await.map_err(|error| place.unusable(&error))?;
    check_version(&mut connection).await?;
    Ok((place, connection))
}

/// A connection that does not change the file; `None` where there is none.
pub(super) async fn look(url: &str) -> Result<Option<(Place, AnyConnection)>, StoreError> {
    let file = file(url)?;
    filesystem::check(&file)?;
    if !file.exists() {
        return filesystem::can_make(&file).map(|()| None);
    }
    // Not `ro`: who reads a database in WAL mode keeps files beside it, and only a writer removes them at the end.
    let place = place(&file, "rw");
    let looking = async {
        let mut connection = AnyConnection::connect_with(&AnyConnectOptions::from_str(&place.url)?).await?;
        connection.execute("pragma busy_timeout = 30000; pragma query_only = on").await?;
        Ok::<_, sqlx::Error>(connection)
    };
    let connection = looking.await.map_err(|error| place.unusable(&error))?;
    Ok(Some((place, connection)))
}

/// Reads the whole file, and says what is wrong with it.
pub(super) async fn quick_check(connection: &mut AnyConnection, place: &Place) -> Result<(), StoreError> {
    let found = sqlx::query("pragma quick_check(1)").fetch_one(connection).await;
    let found: String = found.and_then(|row| row.try_get(0)).map_err(|error| place.unusable(&error))?;
    if found == "ok" { Ok(()) } else { Err(place.unusable(&format!("it is damaged: {found}"))) }
}

fn place(file: &Path, mode: &str) -> Place {
    Place {
        dialect: Dialect::Sqlite,
        url: self::url(file, mode),
        name: file.display().to_string(),
        pooled: false,
        readers: READERS,
    }
}

/// The file as sqlx reads it back from a URL; `mode` as SQLite has it.
pub(in crate::store) fn url(file: &Path, mode: &str) -> String {
    let path = file.display().to_string();
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace('\\', "/");
    format!("sqlite:{path}?mode={mode}")
}

/// The file that a URL names.
pub(in crate::store) fn file(url: &str) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        // What it says instead may hold a password.
        _ => {
            let text = "[Database] URL: it has to be \"sqlite:FILE\", \"postgres://...\" or \"mysql://...\"";
            Err(StoreError::Unusable(text.to_owned()))
        }
    }
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
