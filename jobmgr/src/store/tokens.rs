//! Who may call.
//!
//! A number in the table of the installation rises with each change, so that a process that holds all tokens in memory
//! sees with one small read whether they are still the same.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, Text};
use super::statements::Statements;
use super::writer::{Done, Op};
use super::{Store, StoreError};
use crate::auth::{Digest, NewToken, Token};
use crate::domain::submission::LOCAL_USER;

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// In the table of the installation: how often tokens were changed.
const VERSION: &str = "tokens_version";
/// The highest user's number that a token was made for.
const LAST_USER: &str = "last_user";

/// What is written about tokens.
pub(super) enum Write {
    /// A new one.
    Create(Box<NewToken>),
    /// The same, unless there are or were others.
    CreateFirst(Box<NewToken>),
    /// It holds no more.
    Revoke(i64),
    /// Somebody used it.
    Used(i64),
}

const COLUMNS: &str = "id, name, digest, user_id, scopes, max_queued, requests_per_minute, created_at, expires_at, \
                       revoked_at, used_at";

/// The statements of this file.
pub(super) struct Texts {
    version: Text,
    all: Text,
    by_digest: Text,
    known: Text,
    keep_number: Text,
    number: Text,
    set_number: Text,
    any: Text,
    highest_user: Text,
    highest_owner: Text,
    add: Text,
    revoke: Text,
    used: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        Self {
            version: text("select {now}, (select value from installation where name = ?)"),
            all: text(&format!("select {COLUMNS} from tokens order by id")),
            by_digest: text(&format!("select {COLUMNS} from tokens where digest = ?")),
            known: text("select id from tokens where live_name = ?"),
            keep_number: text(&dialect.insert_new("installation (name, value) values (?, '0')")),
            number: text("select value from installation where name = ?{lock}"),
            set_number: text("update installation set value = ? where name = ?"),
            any: text("select count(*) from tokens"),
            highest_user: text("select coalesce(max(user_id), 0) from tokens"),
            highest_owner: text("select coalesce(max(user_id), 0) from jobs"),
            add: text(
                "insert into tokens (name, live_name, digest, user_id, scopes, max_queued, requests_per_minute, \
                 created_at, expires_at) values (?, ?, ?, ?, ?, ?, ?, {now}, {now} + ?)",
            ),
            revoke: text("update tokens set revoked_at = {now}, live_name = null where id = ? and revoked_at is null"),
            used: text("update tokens set used_at = {now} where id = ?"),
        }
    }
}

impl Store {
    /// All tokens, those that hold no more too, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.tokens.all).fetch_all(connection).await?;
                rows.iter().map(token).collect()
            })
        })
        .await
    }

    /// A number that rises with each change of a token, and the time by the database's clock in Unix milliseconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens_version(&self) -> Result<(i64, i64), StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let query = statements.query(&statements.tokens.version).bind(VERSION);
                let row = query.fetch_one(connection).await?;
                let version: Option<String> = row.try_get(1)?;
                Ok((version.and_then(|text| text.parse().ok()).unwrap_or(0), row.try_get(0)?))
            })
        })
        .await
    }

    /// Makes a token; `None`: another one that is not revoked has its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_token(&self, token: NewToken) -> Result<Option<Token>, StoreError> {
        self.write_token(Write::Create(Box::new(token))).await.map(|done| done.token)
    }

    /// Makes a token where there never was one; `None`: there was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_first_token(&self, token: NewToken) -> Result<Option<Token>, StoreError> {
        self.write_token(Write::CreateFirst(Box::new(token))).await.map(|done| done.token)
    }

    /// Ends a token; `false`: there is none of this number that is not revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(&self, id: i64) -> Result<bool, StoreError> {
        self.write_token(Write::Revoke(id)).await.map(|done| done.moved > 0)
    }

    /// Notes that a token was used just now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_used(&self, id: i64) -> Result<(), StoreError> {
        self.write_token(Write::Used(id)).await.map(drop)
    }

    async fn write_token(&self, write: Write) -> Result<Done, StoreError> {
        self.shared.writer.write(Op::Token(write)).await
    }
}

fn token(row: &AnyRow) -> Result<Token, StoreError> {
    let id: i64 = row.try_get("id")?;
    let broken = |column: &str| StoreError::Failed(format!("token {id}: {column} can't be read"));
    let (digest, scopes): (String, String) = (row.try_get("digest")?, row.try_get("scopes")?);
    let count =
        |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.and_then(|n| u64::try_from(n).ok()));
    Ok(Token {
        id,
        name: row.try_get("name")?,
        digest: Digest::from_hex(&digest).ok_or_else(|| broken("digest"))?,
        user_id: row.try_get("user_id")?,
        scopes: scopes.parse().map_err(|_| broken("scopes"))?,
        max_queued: count("max_queued")?,
        requests_per_minute: count("requests_per_minute")?,
        created_ms: row.try_get("created_at")?,
        expires_ms: row.try_get("expires_at")?,
        revoked_ms: row.try_get("revoked_at")?,
        used_ms: row.try_get("used_at")?,
    })
}

pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Result<(), sqlx::Error> {
    match write {
        Write::Create(new) => done.token = create(connection, statements, new, false).await?,
        Write::CreateFirst(new) => done.token = create(connection, statements, new, true).await?,
        Write::Revoke(id) => {
            let version = number(connection, statements, VERSION).await?;
            let query = statements.query(&statements.tokens.revoke).bind(*id);
            done.moved = query.execute(&mut *connection).await?.rows_affected();
            set_number(connection, statements, VERSION, version + 1).await?;
        }
        Write::Used(id) => {
            let query = statements.query(&statements.tokens.used).bind(*id);
            done.moved = query.execute(connection).await?.rows_affected();
        }
    }
    Ok(())
}

/// The lock on the version makes one after the other of those who make tokens at once.
async fn create(
    connection: &mut AnyConnection,
    statements: &Statements,
    new: &NewToken,
    first: bool,
) -> Outcome<Option<Token>> {
    let texts = &statements.tokens;
    let version = number(connection, statements, VERSION).await?;
    let known = statements.query(&texts.known).bind(new.name.clone()).fetch_optional(&mut *connection).await?;
    let others: i64 = statements.query(&texts.any).fetch_one(&mut *connection).await?.try_get(0)?;
    if known.is_some() || (first && others > 0) {
        return Ok(None);
    }
    let last = number(connection, statements, LAST_USER).await?;
    let user = match new.user_id {
        Some(user) => user,
        None => nobody_before(connection, statements, last).await?,
    };
    let insert = statements
        .query(&texts.add)
        .bind(new.name.clone())
        .bind(new.name.clone())
        .bind(new.digest.to_string())
        .bind(user)
        .bind(new.scopes.to_string())
        .bind(new.max_queued.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
        .bind(new.requests_per_minute.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
        .bind(new.lasts_ms);
    insert.execute(&mut *connection).await?;
    set_number(connection, statements, LAST_USER, last.max(user)).await?;
    set_number(connection, statements, VERSION, version + 1).await?;
    let row = statements.query(&texts.by_digest).bind(new.digest.to_string()).fetch_one(connection).await?;
    token(&row).map(Some).map_err(|error| sqlx::Error::Protocol(error.to_string()))
}

/// A user's number that no token and no job has, or had.
async fn nobody_before(connection: &mut AnyConnection, statements: &Statements, last: i64) -> Outcome<i64> {
    let mut highest = last.max(LOCAL_USER);
    for text in [&statements.tokens.highest_user, &statements.tokens.highest_owner] {
        highest = highest.max(statements.query(text).fetch_one(&mut *connection).await?.try_get(0)?);
    }
    Ok(highest.saturating_add(1))
}

/// A number of the installation, locked.
async fn number(connection: &mut AnyConnection, statements: &Statements, name: &'static str) -> Outcome<i64> {
    statements.query(&statements.tokens.keep_number).bind(name).execute(&mut *connection).await?;
    let row = statements.query(&statements.tokens.number).bind(name).fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(0)?.parse().unwrap_or(0))
}

async fn set_number(
    connection: &mut AnyConnection,
    statements: &Statements,
    name: &'static str,
    value: i64,
) -> Outcome {
    let query = statements.query(&statements.tokens.set_number).bind(value.to_string()).bind(name);
    query.execute(connection).await.map(drop)
}
