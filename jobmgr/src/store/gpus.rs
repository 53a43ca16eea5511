//! Which job has which GPUs: each is given to one job at a time, whoever works for the database.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, Row};

use super::claim::lock;
use super::dialect::{Dialect, Text};
use super::statements::{HELD, Statements};
use super::writer::{Done, Op};
use super::{Store, StoreError};
use crate::domain::job::{Claim, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// What became of GPUs that were to be given to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Giving {
    /// The job has them.
    Given,
    /// Other jobs have these of them; the job was given none.
    InUse(Vec<String>),
    /// The lease was lost.
    Lost,
}

/// The statements.
pub(super) struct Texts {
    give: Text,
    given: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            give: dialect.text(&format!("update jobs set gpus = ? {HELD}")),
            given: dialect
                .text("select id, coalesce(worker, ''), gpus from jobs where status = 'started' and gpus is not null"),
        }
    }
}

impl Store {
    /// Gives GPUs to an attempt, for as long as it is not over; all of these, or none of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_gpus(&self, claim: &Claim, ids: Vec<String>) -> Result<Giving, StoreError> {
        let done = self.shared.writer.write(Op::Gpus(claim.clone(), ids)).await?;
        Ok(match done {
            Done { in_use, .. } if !in_use.is_empty() => Giving::InUse(in_use),
            Done { moved: 0, .. } => Giving::Lost,
            _ => Giving::Given,
        })
    }

    /// The workers of jobs that have GPUs, and the ids of these; a job that nobody holds has an empty one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn given_gpus(&self) -> Result<Vec<(String, Vec<String>)>, StoreError> {
        let given = self.read(|connection, statements| {
            Box::pin(async move { given(connection, statements).await.map_err(StoreError::from) })
        });
        Ok(given.await?.into_iter().map(|(_, worker, ids)| (worker, ids)).collect())
    }
}

/// Who has which.
async fn given(connection: &mut AnyConnection, statements: &Statements) -> Outcome<Vec<(JobId, String, Vec<String>)>> {
    let rows = statements.query(&statements.gpus.given).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, from_column(row.try_get(2)?)))).collect()
}

/// Locks the names of all that are about to be given, in their order. Two workers of one machine may have chosen the same
/// GPU: whoever is second sees that the other has it.
pub(super) async fn lock_all(connection: &mut AnyConnection, statements: &Statements, ops: &[Op]) -> Outcome {
    let ids = ops.iter().flat_map(|op| if let Op::Gpus(_, ids) = op { &ids[..] } else { &[] });
    for id in ids.collect::<BTreeSet<_>>() {
        // No jobspec has such a name.
        lock(connection, statements, &format!("gpu/{id}")).await?;
    }
    Ok(())
}

/// Does the write; their names are locked.
pub(super) async fn give(
    connection: &mut AnyConnection,
    statements: &Statements,
    claim: &Claim,
    ids: &[String],
    done: &mut Done,
) -> Outcome {
    let others = given(connection, statements).await?.into_iter().filter(|(job, ..)| *job != claim.id);
    let in_use: BTreeSet<String> = others.flat_map(|(_, _, theirs)| theirs).collect();
    done.in_use = ids.iter().filter(|id| in_use.contains(*id)).cloned().collect();
    if done.in_use.is_empty() {
        let column = serde_json::to_string(ids).unwrap_or_default();
        let query = statements.query(&statements.gpus.give).bind(column).bind(claim.id).bind(claim.epoch);
        done.moved = query.execute(connection).await?.rows_affected();
    }
    Ok(())
}

/// Ids as they are stored.
pub(super) fn from_column(column: Option<String>) -> Vec<String> {
    column.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
