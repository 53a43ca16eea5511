//! New jobs.

use sqlx::{AnyConnection, Row};

use super::dialect::{ROWS, Statements};
use super::writer::{Done, Op};
use crate::domain::job::NewJob;

/// Inserts every submission among `ops`, many rows to a statement.
pub(super) async fn all(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &mut [Done],
) -> Result<(), sqlx::Error> {
    let mut waiting: Vec<(usize, &NewJob)> = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        if let Op::Submit(job) = op {
            waiting.push((place, job));
        }
    }
    let mut rest = waiting.as_slice();
    for (rows, text) in ROWS.into_iter().zip(&statements.submit) {
        while rest.len() >= rows {
            let (now, later) = rest.split_at(rows);
            rest = later;
            let ids = insert(connection, text, now).await?;
            for ((place, _), id) in now.iter().zip(ids) {
                done[*place].id = id;
            }
        }
    }
    Ok(())
}

/// Gives the ids in the order of the rows: a statement numbers its rows one after the other, but may return them in
/// any order.
async fn insert(
    connection: &mut AnyConnection,
    text: &super::dialect::Text,
    jobs: &[(usize, &NewJob)],
) -> Result<Vec<i64>, sqlx::Error> {
    let mut query = sqlx::query(text);
    for (_, job) in jobs {
        let parameters = serde_json::to_string(&job.parameters).map_err(|error| sqlx::Error::Encode(error.into()))?;
        query = query.bind(job.priority).bind(job.name.clone()).bind(parameters).bind(job.user_id);
    }
    let rows = query.fetch_all(connection).await?;
    let mut ids = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}
