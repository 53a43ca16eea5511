//! The original's rows are copied in batches, each of which also notes how far it came, in one transaction. The row with
//! that note is locked meanwhile, so that two processes do different batches.

use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row};
use tracing::{info, warn};

use super::rows::{Copying, OddJob, Texts, odd_job};
use crate::store::StoreError;
use crate::store::statements::Statements;

/// The name in `installation` under which it is noted how far adoption has come.
pub(super) const PROGRESS: &str = "adoption";
/// What is noted when all is copied.
pub(super) const DONE: &str = "done";

/// Rows in a batch, of which each may have 64 KiB of parameters and of result.
const BATCH: i64 = 200;
/// How often a batch is tried that is in the way of another process, which has its own.
const TRIES: u32 = 50;
/// How often the log says how far it is.
const TELL: Duration = Duration::from_secs(5);

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    /// Jobs up to this id are there.
    Jobs(i64),
    /// All jobs, and artifacts up to this id.
    Artifacts(i64),
    Done,
}

impl Progress {
    fn read(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("artifacts", id)) => Progress::Artifacts(id.parse().unwrap_or(0)),
            Some((_, id)) => Progress::Jobs(id.parse().unwrap_or(0)),
            None => Progress::Done,
        }
    }

    fn text(self) -> String {
        match self {
            Progress::Jobs(id) => format!("jobs {id}"),
            Progress::Artifacts(id) => format!("artifacts {id}"),
            Progress::Done => DONE.to_owned(),
        }
    }
}

/// Copies what is not there yet.
pub(super) async fn all(connection: &mut AnyConnection, statements: &Statements, texts: &Texts) -> Outcome {
    for table in ["jobs", "artifacts"] {
        keep_ids_apart(connection, table).await?;
    }
    let begin = statements.query(&texts.begin).bind(PROGRESS.to_owned()).bind(Progress::Jobs(0).text());
    begin.execute(&mut *connection).await?;
    info!("adopting the rows of the original jobmgr");
    let (mut tries, mut told) = (0, Instant::now());
    loop {
        match batch(connection, statements, texts).await {
            Ok(Progress::Done) => break,
            Ok(progress) => {
                tries = 0;
                if told.elapsed() > TELL {
                    told = Instant::now();
                    info!("adopted up to {}", progress.text());
                }
            }
            Err(error) if tries < TRIES && StoreError::is_conflict(&error) => {
                connection.execute("rollback").await?;
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20 + fastrand::u64(0..20))).await;
            }
            Err(error) => return Err(error),
        }
    }
    info!("adopted; the original's tables are kept as original_...");
    Ok(())
}

/// New rows must not get ids that the original gave before, also to rows that it has deleted since.
async fn keep_ids_apart(connection: &mut AnyConnection, table: &str) -> Outcome {
    // The statistics of information_schema may be a day old.
    let text = format!("show create table original_{table}");
    let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *connection).await?;
    let made: String = row.try_get(1)?;
    let next = made.rsplit_once("AUTO_INCREMENT=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
    let Some(next) = next.and_then(|next| next.parse::<u64>().ok()) else { return Ok(()) };
    let text = format!("alter table {table} auto_increment = {next}");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text))).await.map(drop)
}

async fn batch(connection: &mut AnyConnection, statements: &Statements, texts: &Texts) -> Outcome<Progress> {
    connection.execute(sqlx::raw_sql(statements.dialect.begin())).await?;
    let row = statements.query(&texts.progress).bind(PROGRESS.to_owned()).fetch_one(&mut *connection).await?;
    let next = match Progress::read(&row.try_get::<String, _>(0)?) {
        Progress::Jobs(from) => match next(connection, statements, &texts.jobs, from).await? {
            Some(upto) => {
                jobs(connection, statements, texts, (from, upto)).await?;
                Progress::Jobs(upto)
            }
            None => Progress::Artifacts(0),
        },
        Progress::Artifacts(from) => match next(connection, statements, &texts.artifacts, from).await? {
            Some(upto) => {
                artifacts(connection, statements, texts, (from, upto)).await?;
                Progress::Artifacts(upto)
            }
            None => {
                tell_what_is_left(connection, statements, texts).await?;
                Progress::Done
            }
        },
        Progress::Done => Progress::Done,
    };
    let set = statements.query(&texts.set_progress).bind(next.text()).bind(PROGRESS.to_owned());
    set.execute(&mut *connection).await?;
    connection.execute("commit").await?;
    Ok(next)
}

/// The last id of the batch that comes after `from`.
async fn next(
    connection: &mut AnyConnection,
    statements: &Statements,
    copying: &Copying,
    from: i64,
) -> Outcome<Option<i64>> {
    statements.query(&copying.upto).bind(from).bind(BATCH).fetch_one(connection).await?.try_get(0)
}

async fn jobs(connection: &mut AnyConnection, statements: &Statements, texts: &Texts, of: (i64, i64)) -> Outcome {
    let rows = look_and_copy(connection, statements, &texts.jobs, of).await?;
    for row in rows {
        let Some(OddJob { id, why, parameters }) = odd_job(&row)? else { continue };
        if let Some(parameters) = parameters {
            let set = statements.query(&texts.set_parameters).bind(parameters).bind(id);
            set.execute(&mut *connection).await?;
        }
        for why in why {
            warn!(job = id, "{why}; the row as it was is in original_jobs, its result in original_results");
        }
    }
    Ok(())
}

async fn artifacts(connection: &mut AnyConnection, statements: &Statements, texts: &Texts, of: (i64, i64)) -> Outcome {
    for row in look_and_copy(connection, statements, &texts.artifacts, of).await? {
        let id: i64 = row.try_get(0)?;
        warn!(artifact = id, "something is missing or too long: the row as it was is in original_artifacts");
    }
    Ok(())
}

async fn look_and_copy(
    connection: &mut AnyConnection,
    statements: &Statements,
    copying: &Copying,
    (from, upto): (i64, i64),
) -> Outcome<Vec<sqlx::any::AnyRow>> {
    let (mut odd, mut copy) = (statements.query(&copying.odd), statements.query(&copying.copy));
    for _ in 0..copying.binds {
        odd = odd.bind(from).bind(upto);
        copy = copy.bind(from).bind(upto);
    }
    let rows = odd.fetch_all(&mut *connection).await?;
    copy.execute(connection).await?;
    Ok(rows)
}

/// Ids below 1, which the original never gives.
async fn tell_what_is_left(connection: &mut AnyConnection, statements: &Statements, texts: &Texts) -> Outcome {
    for (table, copying) in [("jobs", &texts.jobs), ("artifacts", &texts.artifacts)] {
        let rows = statements.query(&copying.left).fetch_all(&mut *connection).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<_>>()?;
        if !ids.is_empty() {
            warn!(?ids, "rows of original_{table} that were not adopted; these are the first of them");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn what_is_noted_is_read_again() {
        for progress in [Progress::Jobs(0), Progress::Jobs(17), Progress::Artifacts(3), Progress::Done] {
            assert_eq!(Progress::read(&progress.text()), progress);
        }
    }
}
