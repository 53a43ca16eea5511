//! The webhooks that jobs have of their own: there until the messages to them are made.

use sqlx::{AnyConnection, Row};

use super::super::dialect::{Dialect, ROWS, Text};
use super::super::statements::Statements;
use super::super::submit::pieces;
use super::super::{Store, StoreError};
use super::Outcome;
use crate::domain::job::JobId;
use crate::domain::submission::NewJob;
use crate::domain::webhook::OwnWebhook;

/// The statements of this file.
pub(in super::super) struct Texts {
    /// Per row: job, address, secret.
    add: [Text; 4],
    among: [Text; 4],
    drop: [Text; 4],
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let among =
            |before: &str| ROWS.map(|rows| text(&format!("{before} where job_id in ({})", vec!["?"; rows].join(", "))));
        Self {
            add: ROWS.map(|rows| {
                let rows = vec!["(?, ?, ?)"; rows].join(", ");
                text(&format!("insert into job_webhooks (job_id, url, secret) values {rows}"))
            }),
            among: among("select job_id, url, secret from job_webhooks"),
            drop: among("delete from job_webhooks"),
        }
    }
}

impl Store {
    /// Which of these jobs have a webhook of their own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn own_webhooks(&self, jobs: Vec<JobId>) -> Result<Vec<(JobId, OwnWebhook)>, StoreError> {
        self.read(move |connection, statements| {
            let jobs = jobs.clone();
            Box::pin(async move {
                let mut found = Vec::new();
                let mut rest = jobs.as_slice();
                for size in pieces(jobs.len()) {
                    let (now, later) = rest.split_at(ROWS[size]);
                    rest = later;
                    let query = statements.query(&statements.webhooks.own.among[size]);
                    let query = now.iter().fold(query, |query, id| query.bind(*id));
                    for row in query.fetch_all(&mut *connection).await? {
                        let own = OwnWebhook { url: row.try_get(1)?, secret: row.try_get(2)? };
                        found.push((row.try_get(0)?, own));
                    }
                }
                Ok(found)
            })
        })
        .await
    }
}

/// Writes the webhooks that jobs have of their own, many to a statement.
pub(in super::super) async fn add_own(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[&NewJob],
    ids: &[JobId],
) -> Outcome {
    let own: Vec<_> = jobs.iter().zip(ids).filter_map(|(job, id)| job.webhook.as_ref().map(|own| (*id, own))).collect();
    let mut rest = own.as_slice();
    for size in pieces(own.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let insert = statements.query(&statements.webhooks.own.add[size]);
        let insert = now
            .iter()
            .fold(insert, |insert, (id, own)| insert.bind(*id).bind(own.url.clone()).bind(own.secret.clone()));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Forgets the webhooks that these jobs have of their own: the messages to them are made.
pub(in super::super) async fn drop_own(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[JobId],
) -> Outcome {
    let mut rest = jobs;
    for size in pieces(jobs.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let drop = statements.query(&statements.webhooks.own.drop[size]);
        now.iter().fold(drop, |drop, id| drop.bind(*id)).execute(&mut *connection).await?;
    }
    Ok(())
}
