//! Pages of the log of messages.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Arguments, Row};

use super::super::dialect::{Dialect, Text};
use super::super::{Store, StoreError};
use crate::domain::job::JobId;
use crate::domain::webhook::{Attempted, Delivery, Kind, Standing};

/// Which messages are asked for: those of which all that is given is true.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedDeliveries {
    /// Those of this webhook; 0: of jobs' own.
    pub webhook: i64,
    /// Those about this job.
    pub job: Option<JobId>,
    /// How they fare.
    pub standing: Option<Standing>,
    /// Their ids are lower.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

const SHOWN: &str = "select id, webhook_id, message_id, job_id, type, sequence, event_at, status, attempts, next_at, \
                     answer_status, error, response, took_ms, ended_at from deliveries";

/// The statements of this file that are always the same.
pub(in super::super) struct Texts {
    one: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { one: dialect.text(&format!("{SHOWN} where id = ?")) }
    }
}

impl Store {
    /// The newest of the messages that are asked for, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deliveries(&self, asked: AskedDeliveries) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |connection, statements| {
            let asked = asked.clone();
            Box::pin(async move {
                let (template, values) = query(&asked)?;
                let text = statements.dialect.text(&template);
                let rows = statements.query_with(&text, values).fetch_all(connection).await?;
                rows.iter().map(delivery).collect()
            })
        })
        .await
    }

    /// One message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivery(&self, id: i64) -> Result<Option<Delivery>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let query = statements.query(&statements.deliveries.read.one).bind(id);
                query.fetch_optional(connection).await?.as_ref().map(delivery).transpose()
            })
        })
        .await
    }
}

/// A statement of what is asked for, and its values. Only words of our own are in its text.
fn query(asked: &AskedDeliveries) -> Result<(String, AnyArguments), sqlx::Error> {
    let mut values = AnyArguments::default();
    let mut text = format!("{SHOWN} where webhook_id = ?");
    values.add(asked.webhook).map_err(sqlx::Error::Encode)?;
    for (hold, value) in [(" and job_id = ?", asked.job), (" and id < ?", asked.before)] {
        if let Some(value) = value {
            text.push_str(hold);
            values.add(value).map_err(sqlx::Error::Encode)?;
        }
    }
    if let Some(standing) = asked.standing {
        text.push_str(" and status = ?");
        values.add(standing.as_str()).map_err(sqlx::Error::Encode)?;
    }
    values.add(i64::from(asked.limit)).map_err(sqlx::Error::Encode)?;
    text.push_str(" order by id desc limit ?");
    Ok((text, values))
}

fn delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let id: i64 = row.try_get(0)?;
    let [kind, standing]: [String; 2] = [row.try_get(4)?, row.try_get(7)?];
    let broken = |word: &str| StoreError::Failed(format!("delivery {id}: '{word}' is not known"));
    let last = Attempted {
        status: row.try_get(10)?,
        error: row.try_get(11)?,
        response: row.try_get(12)?,
        took_ms: row.try_get::<Option<i64>, _>(13)?.unwrap_or_default(),
    };
    Ok(Delivery {
        id,
        webhook_id: row.try_get(1)?,
        message_id: row.try_get(2)?,
        job_id: row.try_get(3)?,
        kind: Kind::from_word(&kind).ok_or_else(|| broken(&kind))?,
        sequence: row.try_get(5)?,
        time_ms: row.try_get(6)?,
        standing: Standing::from_word(&standing).ok_or_else(|| broken(&standing))?,
        attempts: row.try_get(8)?,
        next_ms: row.try_get(9)?,
        last: Some(last).filter(|last| last.status.is_some() || last.error.is_some()),
        ended_ms: row.try_get(14)?,
    })
}
