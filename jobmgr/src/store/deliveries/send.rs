//! Claims of messages, and what became of them.

use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::super::dialect::{Dialect, Text};
use super::super::statements::Statements;
use super::super::{Store, StoreError, millis, webhooks};
use super::Outcome;
use crate::domain::webhook::{Attempted, Due, Kind, Next, Standing};

/// The statements of this file.
pub(in super::super) struct Texts {
    lane: Text,
    is_due: Text,
    due: Text,
    take: Text,
    receiver: Text,
    later: Text,
    end: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let settle = |what: &str| {
            text(&format!(
                "update deliveries set {what}, tries = tries + 1, answer_status = ?, error = ?, response = ?, \
                 took_ms = ? where id = ? and attempts = ? and status = 'pending'"
            ))
        };
        Self {
            lane: text("select min(lane) from deliveries where status = 'pending' and lane > ?"),
            is_due: text(
                "select id from deliveries where status = 'pending' and lane = ? and next_at <= {now} limit 1",
            ),
            due: text(
                "select id, attempts, tries, webhook_id, message_id, type, sequence, event_at, data, url, secret \
                 from deliveries where status = 'pending' and lane = ? and next_at <= {now} \
                 order by next_at, id limit ?{skip}",
            ),
            take: text("update deliveries set attempts = attempts + 1, next_at = {now} + ? where id = ?"),
            receiver: text(
                "select url, secret, case when previous_until > {now} then previous_secret end from webhooks \
                 where id = ? and state = 'enabled'",
            ),
            later: settle("next_at = {now} + ?"),
            end: settle("status = ?, next_at = null, ended_at = {now}"),
        }
    }
}

impl Store {
    /// The lanes in which something is to be sent now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_lanes(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let texts = &statements.deliveries.send;
                let (mut due, mut lane) = (Vec::new(), String::new());
                // From one to the next by the index, however much waits in each.
                loop {
                    let next = statements.query(&texts.lane).bind(lane.clone()).fetch_one(&mut *connection).await?;
                    let Some(next) = next.try_get::<Option<String>, _>(0)? else { return Ok(due) };
                    let is_due = statements.query(&texts.is_due).bind(next.clone());
                    if is_due.fetch_optional(&mut *connection).await?.is_some() {
                        due.push(next.clone());
                    }
                    lane = next;
                }
            })
        })
        .await
    }
}

pub(super) async fn claim(
    connection: &mut AnyConnection,
    statements: &Statements,
    lane: &str,
    limit: u32,
    lease: Duration,
) -> Outcome<Vec<Due>> {
    let texts = &statements.deliveries.send;
    let query = statements.query(&texts.due).bind(lane.to_owned()).bind(i64::from(limit));
    let mut claimed = Vec::new();
    for row in query.fetch_all(&mut *connection).await? {
        let kind: String = row.try_get(5)?;
        let mut due = Due {
            id: row.try_get(0)?,
            attempt: row.try_get::<i64, _>(1)? + 1,
            tries: row.try_get::<i64, _>(2)? + 1,
            webhook_id: row.try_get(3)?,
            url: row.try_get::<Option<String>, _>(9)?.unwrap_or_default(),
            secrets: row.try_get::<Option<String>, _>(10)?.into_iter().collect(),
            message_id: row.try_get(4)?,
            kind: Kind::from_word(&kind).ok_or_else(|| sqlx::Error::Decode(format!("no type: {kind}").into()))?,
            sequence: row.try_get(6)?,
            time_ms: row.try_get(7)?,
            data: row.try_get(8)?,
        };
        let take = statements.query(&texts.take).bind(millis(lease)).bind(due.id);
        take.execute(&mut *connection).await?;
        if due.webhook_id == 0 || address(connection, statements, &mut due).await? {
            claimed.push(due);
        } else {
            // It was written down when its webhook had just been disabled.
            let error = Some("its webhook is disabled".to_owned());
            let attempted = Attempted { error, ..Attempted::default() };
            settle(connection, statements, &due, &attempted, Next::GivenUp).await?;
        }
    }
    Ok(claimed)
}

/// Fills in where it goes; `false`: nowhere now.
async fn address(connection: &mut AnyConnection, statements: &Statements, due: &mut Due) -> Outcome<bool> {
    let receiver = statements.query(&statements.deliveries.send.receiver).bind(due.webhook_id);
    let Some(row) = receiver.fetch_optional(connection).await? else { return Ok(false) };
    due.url = row.try_get(0)?;
    due.secrets = vec![row.try_get(1)?];
    due.secrets.extend(row.try_get::<Option<String>, _>(2)?);
    Ok(true)
}

pub(super) async fn settle(
    connection: &mut AnyConnection,
    statements: &Statements,
    due: &Due,
    attempted: &Attempted,
    next: Next,
) -> Outcome<u64> {
    let texts = &statements.deliveries.send;
    let query = match next {
        Next::Again(pause) => statements.query(&texts.later).bind(millis(pause)),
        Next::Delivered => statements.query(&texts.end).bind(Standing::Delivered.as_str()),
        Next::GivenUp | Next::Gone => statements.query(&texts.end).bind(Standing::Failed.as_str()),
    };
    let query = query
        .bind(attempted.status)
        .bind(attempted.error.clone())
        .bind(attempted.response.clone())
        .bind(attempted.took_ms)
        .bind(due.id)
        .bind(due.attempt);
    let moved = query.execute(&mut *connection).await?.rows_affected();
    if next == Next::Gone && moved > 0 && due.webhook_id > 0 {
        let why = "its receiver answered 410 Gone";
        webhooks::disable(connection, statements, due.webhook_id, Some(why)).await?;
    }
    Ok(moved)
}
