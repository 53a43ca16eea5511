//! Who is told of what becomes of jobs.

/// The webhooks that jobs have of their own.
mod own;

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, Text};
use super::statements::Statements;
use super::writer::{Done, Op};
use super::{Store, StoreError, millis};
use crate::domain::webhook::{Change, Kind, NewWebhook, Wanted, Webhook};

pub(super) use own::{add_own, drop_own};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// What is written about webhooks.
pub(super) enum Write {
    /// A new one.
    Add(NewWebhook),
    /// Another form of one.
    Change(i64, Change),
    /// A new secret; the one before is used beside it for so long.
    Rotate(i64, String, Duration),
    /// The end of one, with its log.
    Remove(i64),
}

impl Write {
    /// See [`Op::is_repeatable`].
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, Write::Add(_) | Write::Rotate(..))
    }
}

/// The statements of this file.
pub(super) struct Texts {
    add: Text,
    change: Text,
    enable: Text,
    disable: Text,
    rotate: Text,
    remove: Text,
    forget_deliveries: Text,
    give_up: Text,
    all: Text,
    one: Text,
    any: Text,
    any_own: Text,
    own: own::Texts,
}

const SHOWN: &str = "select id, user_id, url, events, names, labels, state, why_disabled, created_at, \
                     case when previous_until > {now} then previous_until end, enabled_at from webhooks";

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let returning = if dialect.returns_ids() { " returning id" } else { "" };
        Self {
            add: text(&format!(
                "insert into webhooks (user_id, url, events, names, labels, secret, state, sequence, created_at, \
                 enabled_at) values (?, ?, ?, ?, ?, ?, 'enabled', 0, {{now}}, {{now}}){returning}"
            )),
            change: text(
                "update webhooks set url = coalesce(?, url), events = coalesce(?, events), \
                 names = coalesce(?, names), labels = coalesce(?, labels) where id = ?",
            ),
            enable: text(
                "update webhooks set state = 'enabled', why_disabled = null, enabled_at = {now} \
                 where id = ? and state <> 'enabled'",
            ),
            disable: text("update webhooks set state = 'disabled', why_disabled = ? where id = ?"),
            // From the left to the right, as one database understands it.
            rotate: text(
                "update webhooks set previous_secret = secret, previous_until = {now} + ?, secret = ? where id = ?",
            ),
            remove: text("delete from webhooks where id = ?"),
            forget_deliveries: text("delete from deliveries where webhook_id = ?"),
            give_up: text(
                "update deliveries set status = 'failed', error = ?, next_at = null, ended_at = {now} \
                 where webhook_id = ? and status = 'pending'",
            ),
            all: text(&format!("{SHOWN} order by id")),
            one: text(&format!("{SHOWN} where id = ?")),
            any: text("select id from webhooks where state = 'enabled' limit 1"),
            any_own: text("select job_id from job_webhooks limit 1"),
            own: own::Texts::new(dialect),
        }
    }
}

impl Store {
    /// Registers a webhook; gives its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_webhook(&self, webhook: NewWebhook) -> Result<i64, StoreError> {
        self.webhook_write(Write::Add(webhook)).await.map(|done| done.id)
    }

    /// Changes a webhook; `false`: there is none of this id. When it is disabled, what it waits for is given up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_webhook(&self, id: i64, change: Change) -> Result<bool, StoreError> {
        self.webhook_write(Write::Change(id, change)).await.map(|done| done.moved > 0)
    }

    /// Gives a webhook a new secret, which is encrypted; for `keep` its messages are signed with the one before, too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_webhook(&self, id: i64, secret: String, keep: Duration) -> Result<bool, StoreError> {
        self.webhook_write(Write::Rotate(id, secret, keep)).await.map(|done| done.moved > 0)
    }

    /// Removes a webhook, with its log and what it waits for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_webhook(&self, id: i64) -> Result<bool, StoreError> {
        self.webhook_write(Write::Remove(id)).await.map(|done| done.moved > 0)
    }

    async fn webhook_write(&self, write: Write) -> Result<Done, StoreError> {
        self.shared.writer.write(Op::Webhook(write)).await
    }

    /// All webhooks, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.webhooks.all).fetch_all(connection).await?;
                rows.iter().map(webhook).collect()
            })
        })
        .await
    }

    /// One webhook.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook(&self, id: i64) -> Result<Option<Webhook>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let query = statements.query(&statements.webhooks.one).bind(id);
                query.fetch_optional(connection).await?.as_ref().map(webhook).transpose()
            })
        })
        .await
    }

    /// Whether anybody is to be told of anything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_webhooks(&self) -> Result<bool, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let any = statements.query(&statements.webhooks.any).fetch_optional(&mut *connection).await?;
                if any.is_some() {
                    return Ok(true);
                }
                Ok(statements.query(&statements.webhooks.any_own).fetch_optional(connection).await?.is_some())
            })
        })
        .await
    }
}

fn webhook(row: &AnyRow) -> Result<Webhook, StoreError> {
    let id: i64 = row.try_get(0)?;
    let [events, names, labels, state]: [String; 4] =
        [row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?];
    let broken = |error: serde_json::Error| StoreError::Failed(format!("webhook {id}: {error}"));
    let words: Vec<String> = serde_json::from_str(&events).map_err(broken)?;
    let wanted = Wanted {
        events: words.iter().filter_map(|word| Kind::from_word(word)).collect(),
        names: serde_json::from_str(&names).map_err(broken)?,
        labels: serde_json::from_str(&labels).map_err(broken)?,
    };
    Ok(Webhook {
        id,
        user_id: row.try_get(1)?,
        url: row.try_get(2)?,
        wanted,
        enabled: state == "enabled",
        why_disabled: row.try_get(7)?,
        created_ms: row.try_get(8)?,
        previous_until_ms: row.try_get(9)?,
        enabled_ms: row.try_get(10)?,
    })
}

fn words(events: &[Kind]) -> String {
    let words: Vec<&str> = events.iter().map(|kind| kind.as_str()).collect();
    serde_json::json!(words).to_string()
}

pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Outcome {
    let texts = &statements.webhooks;
    match write {
        Write::Add(new) => done.id = add(connection, statements, new).await?,
        Write::Change(id, change) => done.moved = self::change(connection, statements, *id, change).await?,
        Write::Rotate(id, secret, keep) => {
            let rotate = statements.query(&texts.rotate).bind(millis(*keep)).bind(secret.clone()).bind(*id);
            done.moved = rotate.execute(connection).await?.rows_affected();
        }
        Write::Remove(id) => {
            done.moved = statements.query(&texts.remove).bind(*id).execute(&mut *connection).await?.rows_affected();
            statements.query(&texts.forget_deliveries).bind(*id).execute(connection).await?;
        }
    }
    Ok(())
}

async fn add(connection: &mut AnyConnection, statements: &Statements, new: &NewWebhook) -> Outcome<i64> {
    let query = statements
        .query(&statements.webhooks.add)
        .bind(new.user_id)
        .bind(new.url.clone())
        .bind(words(&new.wanted.events))
        .bind(serde_json::json!(new.wanted.names).to_string())
        .bind(serde_json::json!(new.wanted.labels).to_string())
        .bind(new.secret.clone());
    if statements.dialect.returns_ids() {
        return query.fetch_one(connection).await?.try_get(0);
    }
    query.execute(connection).await?.last_insert_id().ok_or(sqlx::Error::RowNotFound)
}

async fn change(connection: &mut AnyConnection, statements: &Statements, id: i64, change: &Change) -> Outcome<u64> {
    let query = statements
        .query(&statements.webhooks.change)
        .bind(change.url.clone())
        .bind(change.events.as_deref().map(words))
        .bind(change.names.as_ref().map(|names| serde_json::json!(names).to_string()))
        .bind(change.labels.as_ref().map(|labels| serde_json::json!(labels).to_string()))
        .bind(id);
    let moved = query.execute(&mut *connection).await?.rows_affected();
    match change.enabled.filter(|_| moved > 0) {
        Some(true) => {
            statements.query(&statements.webhooks.enable).bind(id).execute(connection).await?;
        }
        Some(false) => disable(connection, statements, id, None).await?,
        None => {}
    }
    Ok(moved)
}

/// Disables a webhook, and gives up what it waits for.
pub(super) async fn disable(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: i64,
    why: Option<&str>,
) -> Outcome {
    let texts = &statements.webhooks;
    let disable = statements.query(&texts.disable).bind(why.map(str::to_owned)).bind(id);
    disable.execute(&mut *connection).await?;
    let give_up = statements.query(&texts.give_up).bind("its webhook was disabled").bind(id);
    give_up.execute(connection).await.map(drop)
}
