//! Who did what.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::statements::Statements;
use super::submit::pieces;
use super::writer::Op;
use super::{Store, StoreError, millis};
use crate::auth::{By, Entry};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How many old entries are removed in one transaction.
const OLD: i64 = 500;

/// What is written.
pub(super) enum Write {
    /// New entries.
    Add(Vec<Entry>),
    /// Some of the entries that are older than this go.
    Drop(Duration),
}

/// The statements of this file.
pub(super) struct Texts {
    add: [Text; 4],
    newest: Text,
    last_old: Text,
    drop_old: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let into = "insert into audit (done_at, user_id, token_id, token, address, action, target, outcome, request_id) \
                    values";
        Self {
            add: ROWS.map(|rows| text(&format!("{into} {}", vec!["({now}, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ")))),
            newest: text(
                "select done_at, user_id, token_id, token, address, action, target, outcome, request_id from audit \
                 where done_at > {now} - ? order by id desc limit ?",
            ),
            last_old: text(&format!(
                "select coalesce(max(id), 0) from (select id from audit where done_at < {{now}} - ? order by done_at \
                 limit {OLD}) as few"
            )),
            drop_old: text("delete from audit where id <= ? and done_at < {now} - ?"),
        }
    }
}

impl Store {
    /// Adds to the audit log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.shared.writer.write(Op::Audit(Write::Add(entries))).await.map(drop)
    }

    /// The audit log's newest entries of the last `since`, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audited(&self, since: Duration, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.read(move |connection, statements| {
            let query = statements.query(&statements.audit.newest).bind(millis(since)).bind(i64::from(limit));
            Box::pin(async move {
                let rows = query.fetch_all(connection).await?;
                Ok(rows.iter().map(entry).collect::<Outcome<_>>()?)
            })
        })
        .await
    }

    /// Removes some of the entries that are older than this; says how many it were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_audit(&self, age: Duration) -> Result<u64, StoreError> {
        self.shared.writer.write(Op::Audit(Write::Drop(age))).await.map(|done| done.moved)
    }
}

fn entry(row: &AnyRow) -> Outcome<Entry> {
    Ok(Entry {
        at_ms: row.try_get(0)?,
        by: By {
            user_id: row.try_get(1)?,
            token_id: row.try_get(2)?,
            token: row.try_get(3)?,
            address: row.try_get(4)?,
        },
        action: row.try_get(5)?,
        target: row.try_get(6)?,
        outcome: row.try_get(7)?,
        request_id: row.try_get(8)?,
    })
}

pub(super) async fn apply(connection: &mut AnyConnection, statements: &Statements, write: &Write) -> Outcome<u64> {
    match write {
        Write::Add(entries) => add(connection, statements, entries).await,
        Write::Drop(age) => {
            let query = statements.query(&statements.audit.last_old).bind(millis(*age));
            let last: i64 = query.fetch_one(&mut *connection).await?.try_get(0)?;
            let query = statements.query(&statements.audit.drop_old).bind(last).bind(millis(*age));
            Ok(query.execute(connection).await?.rows_affected())
        }
    }
}

async fn add(connection: &mut AnyConnection, statements: &Statements, entries: &[Entry]) -> Outcome<u64> {
    let mut rest = entries;
    for size in pieces(entries.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let mut query = statements.query(&statements.audit.add[size]);
        for Entry { by, action, target, outcome, request_id, .. } in now {
            query = query
                .bind(by.user_id)
                .bind(by.token_id)
                .bind(by.token.clone())
                .bind(by.address.clone())
                .bind(action.clone())
                .bind(target.clone())
                .bind(outcome.clone())
                .bind(request_id.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(entries.len() as u64)
}
