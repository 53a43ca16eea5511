//! New jobs.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, Row};

use super::dialect::ROWS;
use super::statements::Statements;
use super::writer::{Done, Op};
use crate::domain::job::NewJob;

/// The submissions among `ops`, in their order.
pub(super) fn among(ops: &[Op]) -> Vec<&NewJob> {
    let new = ops.iter().filter_map(|op| if let Op::Submit(job) = op { Some(job) } else { None });
    new.collect()
}

/// Inserts every submission among `ops`, many rows to a statement.
pub(super) async fn all(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &mut [Done],
) -> Result<(), sqlx::Error> {
    let new = among(ops);
    let mut rest = new.as_slice();
    let mut given = Vec::with_capacity(new.len());
    for size in pieces(new.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let mut values = AnyArguments::default();
        bind(&mut values, now)?;
        let insert = statements.query_with(&statements.submit[size], values);
        if statements.dialect.returns_ids() {
            given.extend(ids(&insert.fetch_all(&mut *connection).await?)?);
        } else {
            let first = insert.execute(&mut *connection).await?.last_insert_id().ok_or(sqlx::Error::RowNotFound)?;
            // The server numbers the rows of one such INSERT one after the other.
            given.extend((first..).step_by(usize::try_from(statements.id_step).unwrap_or(1)).take(now.len()));
        }
    }
    let places = ops.iter().zip(done).filter(|(op, _)| matches!(op, Op::Submit(_)));
    for ((_, done), id) in places.zip(given) {
        done.id = id;
    }
    Ok(())
}

/// So many rows as statements of the sizes that there are: places in [`ROWS`], largest first.
pub(super) fn pieces(mut rows: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let size = ROWS.iter().position(|size| *size <= rows)?;
        rows -= ROWS[size];
        Some(size)
    })
}

/// Binds what statements for these jobs need.
pub(super) fn bind(values: &mut AnyArguments, jobs: &[&NewJob]) -> Result<(), sqlx::Error> {
    for job in jobs {
        let parameters = serde_json::to_string(&job.parameters).map_err(|error| sqlx::Error::Encode(error.into()))?;
        values.add(job.priority).map_err(sqlx::Error::Encode)?;
        values.add(job.name.clone()).map_err(sqlx::Error::Encode)?;
        values.add(parameters).map_err(sqlx::Error::Encode)?;
        values.add(job.user_id).map_err(sqlx::Error::Encode)?;
        values.add(job.queue_timeout.map(super::millis)).map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

/// The ids in the order of the rows: a statement numbers its rows one after the other, but may return them in any
/// order.
pub(super) fn ids(rows: &[AnyRow]) -> Result<Vec<i64>, sqlx::Error> {
    let mut ids = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}
