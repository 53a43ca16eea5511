//! What is told to whom, and how it fares.
//!
//! Messages are made from the events of jobs, in the transaction that notes how far the events have been read: none is
//! left out and none is made twice, whoever dies when. A message is claimed by moving the time on at which it is sent
//! next; who claimed it and dies has it sent again.

/// Pages of the log.
mod read;
/// Claims, and what became of them.
mod send;

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::statements::Statements;
use super::submit::pieces;
use super::writer::{Done, Op};
use super::{Position, Store, StoreError, millis, webhooks};
use crate::domain::webhook::{Attempted, Due, Message, Next};

pub use read::AskedDeliveries;

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// Under which name it is kept how far events have been read.
const READ: &str = "webhooks_read";

/// What is written about messages.
pub(super) enum Write {
    /// New ones, from events of which those up to a position had been read, and now up to another one.
    Note { from: String, to: String, messages: Vec<Message> },
    /// One of which no event tells.
    Tell(Message),
    /// Claims some of a lane, at most so many, for so long.
    Claim { lane: String, limit: u32, lease: Duration },
    /// What became of one.
    Settle { due: Box<Due>, attempted: Attempted, next: Next },
    /// Has one sent again, of this webhook.
    Again { webhook: i64, id: i64 },
    /// Forgets what ended so long ago.
    Forget(Duration),
}

impl Write {
    /// Whether something may be to be sent after it.
    pub(super) fn makes_due(&self) -> bool {
        matches!(self, Write::Note { .. } | Write::Tell(_) | Write::Again { .. })
    }

    /// See [`Op::is_repeatable`].
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, Write::Tell(_))
    }
}

/// The statements of this room.
pub(super) struct Texts {
    move_on: Text,
    count: Text,
    counted: Text,
    /// Per row what `insert` binds.
    add: [Text; 4],
    by_message: Text,
    old: Text,
    drop: [Text; 4],
    again: Text,
    send: send::Texts,
    read: read::Texts,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        Self {
            move_on: text("update installation set value = ? where name = ? and value = ?"),
            count: text("update webhooks set sequence = sequence + ? where id = ?"),
            counted: text("select sequence from webhooks where id = ?"),
            add: ROWS.map(|rows| {
                let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, 0, {now}, {now})";
                let rows = vec![row; rows].join(", ");
                text(&format!(
                    "insert into deliveries (webhook_id, lane, message_id, job_id, type, sequence, event_at, data, url, \
                     secret, status, attempts, tries, next_at, created_at) values {rows}"
                ))
            }),
            by_message: text("select id from deliveries where webhook_id = ? and message_id = ? order by id desc limit 1"),
            old: text(
                "select id from deliveries where status <> 'pending' and ended_at < {now} - ? \
                 order by ended_at limit 500{skip}",
            ),
            drop: ROWS.map(|rows| {
                text(&format!("delete from deliveries where id in ({})", vec!["?"; rows].join(", ")))
            }),
            again: text(
                "update deliveries set status = 'pending', tries = 0, next_at = {now}, ended_at = null \
                 where id = ? and webhook_id = ?",
            ),
            send: send::Texts::new(dialect),
            read: read::Texts::new(dialect),
        }
    }
}

impl Store {
    /// How far the events of jobs have been made into messages.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn made_into_messages(&self) -> Result<Position, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let query = statements.query(&statements.installation).bind(READ);
                let Some(row) = query.fetch_optional(connection).await? else { return Ok(Position::default()) };
                let text: String = row.try_get(0)?;
                text.parse().map_err(|_| StoreError::Failed(format!("the table installation: {READ}: '{text}'")))
            })
        })
        .await
    }

    /// Writes messages down, once: those of the events between two positions. `false`: another process did.
    ///
    /// # Errors
    /// When the database fails; doing it again does no harm.
    pub async fn note(&self, from: &Position, to: &Position, messages: Vec<Message>) -> Result<bool, StoreError> {
        let write = Write::Note { from: from.to_string(), to: to.to_string(), messages };
        self.delivery_write(write).await.map(|done| done.moved > 0)
    }

    /// Writes a message down of which no event tells; gives its delivery's id, or `None`: there is no such webhook.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(&self, message: Message) -> Result<Option<i64>, StoreError> {
        self.delivery_write(Write::Tell(message)).await.map(|done| (done.moved > 0).then_some(done.id))
    }

    /// Claims messages of a lane that are to be sent now, those that wait for the longest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_messages(&self, lane: &str, limit: u32, lease: Duration) -> Result<Vec<Due>, StoreError> {
        let write = Write::Claim { lane: lane.to_owned(), limit, lease };
        self.delivery_write(write).await.map(|done| done.due)
    }

    /// Notes what became of a message that was claimed; `false`: somebody else has claimed it since, or it is gone.
    ///
    /// # Errors
    /// When the database fails; doing it again does no harm.
    pub async fn settle(&self, due: Due, attempted: Attempted, next: Next) -> Result<bool, StoreError> {
        let write = Write::Settle { due: Box::new(due), attempted, next };
        self.delivery_write(write).await.map(|done| done.moved > 0)
    }

    /// Has a message sent again, whatever became of it; `false`: the webhook has no such delivery.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redeliver(&self, webhook: i64, id: i64) -> Result<bool, StoreError> {
        self.delivery_write(Write::Again { webhook, id }).await.map(|done| done.moved > 0)
    }

    /// Forgets up to 500 messages that ended so long ago; gives how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_deliveries(&self, age: Duration) -> Result<u64, StoreError> {
        self.delivery_write(Write::Forget(age)).await.map(|done| done.moved)
    }

    async fn delivery_write(&self, write: Write) -> Result<Done, StoreError> {
        self.shared.writer.write(Op::Delivery(write)).await
    }
}

pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Outcome {
    let texts = &statements.deliveries;
    match write {
        Write::Note { from, to, messages } => done.moved = note(connection, statements, from, to, messages).await?,
        Write::Tell(message) => {
            done.moved = insert(connection, statements, std::slice::from_ref(message)).await?;
            let find = statements.query(&texts.by_message).bind(message.webhook_id).bind(message.message_id.clone());
            if let Some(row) = find.fetch_optional(connection).await? {
                done.id = row.try_get(0)?;
            }
        }
        Write::Claim { lane, limit, lease } => {
            done.due = send::claim(connection, statements, lane, *limit, *lease).await?;
        }
        Write::Settle { due, attempted, next } => {
            done.moved = send::settle(connection, statements, due, attempted, *next).await?;
        }
        Write::Again { webhook, id } => {
            let again = statements.query(&texts.again).bind(*id).bind(*webhook);
            done.moved = again.execute(connection).await?.rows_affected();
        }
        Write::Forget(age) => done.moved = forget(connection, statements, *age).await?,
    }
    Ok(())
}

async fn note(
    connection: &mut AnyConnection,
    statements: &Statements,
    from: &str,
    to: &str,
    messages: &[Message],
) -> Outcome<u64> {
    if from == Position::default().to_string() {
        let begin = statements.query(&statements.set_installation).bind(READ).bind(from.to_owned());
        begin.execute(&mut *connection).await?;
    }
    let move_on = statements.query(&statements.deliveries.move_on).bind(to.to_owned()).bind(READ).bind(from.to_owned());
    let moved = move_on.execute(&mut *connection).await?.rows_affected();
    if moved > 0 {
        insert(connection, statements, messages).await?;
        let own: Vec<_> =
            messages.iter().filter(|message| message.own.is_some()).filter_map(|own| own.job_id).collect();
        webhooks::drop_own(connection, statements, &own).await?;
    }
    Ok(moved)
}

/// Gives how many there are now: a webhook that is gone gets none.
async fn insert(connection: &mut AnyConnection, statements: &Statements, messages: &[Message]) -> Outcome<u64> {
    let texts = &statements.deliveries;
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for message in messages {
        *counts.entry(message.webhook_id).or_default() += 1;
    }
    // The next number of each webhook that is there.
    let mut next: BTreeMap<i64, i64> = BTreeMap::new();
    for (webhook, count) in counts {
        let counting = statements.query(&texts.count).bind(count).bind(webhook);
        if webhook == 0 || counting.execute(&mut *connection).await?.rows_affected() > 0 {
            let last = statements.query(&texts.counted).bind(webhook).fetch_optional(&mut *connection).await?;
            let last: i64 = last.map_or(Ok(0), |row| row.try_get(0))?;
            next.insert(webhook, last - count + 1);
        }
    }
    let numbered: Vec<(&Message, i64)> = messages
        .iter()
        .filter_map(|message| {
            let number = next.get_mut(&message.webhook_id)?;
            *number += 1;
            // That of a job's own is the only one.
            Some((message, if message.own.is_some() { 1 } else { *number - 1 }))
        })
        .collect();
    let mut rest = numbered.as_slice();
    for size in pieces(numbered.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let mut query = statements.query(&texts.add[size]);
        for (message, sequence) in now {
            query = query
                .bind(message.webhook_id)
                .bind(message.lane.clone())
                .bind(message.message_id.clone())
                .bind(message.job_id)
                .bind(message.kind.as_str())
                .bind(*sequence)
                .bind(message.time_ms)
                .bind(message.data.clone())
                .bind(message.own.as_ref().map(|own| own.url.clone()))
                .bind(message.own.as_ref().and_then(|own| own.secret.clone()));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(numbered.len() as u64)
}

async fn forget(connection: &mut AnyConnection, statements: &Statements, age: Duration) -> Outcome<u64> {
    let texts = &statements.deliveries;
    let old = statements.query(&texts.old).bind(millis(age)).fetch_all(&mut *connection).await?;
    let ids = old.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Outcome<Vec<_>>>()?;
    let mut rest = ids.as_slice();
    for size in pieces(ids.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let drop = statements.query(&texts.drop[size]);
        now.iter().fold(drop, |drop, id| drop.bind(*id)).execute(&mut *connection).await?;
    }
    Ok(ids.len() as u64)
}
