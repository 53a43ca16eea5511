//! Claim, renew, finish, release, sweep: each move of a job is one guarded UPDATE.

use std::time::Duration;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, Row};

use super::dialect::{ROWS, Statements};
use super::writer::{Done, Op};
use super::{Swept, logs};
use crate::domain::job::{Artifact, Claim, Finish, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// Does `op`, unless it is a submission.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    op: &Op,
    done: &mut Done,
) -> Outcome {
    match op {
        Op::Submit(_) | Op::Close => {}
        Op::Claim { worker, lease, limit } => {
            done.claims = claim(connection, statements, worker, *lease, *limit).await?;
        }
        Op::Finish { id, epoch, finish, next } => {
            done.moved = self::finish(connection, statements, *id, *epoch, finish).await?;
            if let Some((worker, lease)) = next {
                done.claims = claim(connection, statements, worker, *lease, 1).await?;
            }
        }
        Op::Renew { claims, lease } => done.ids = renew(connection, statements, claims, *lease).await?,
        Op::Progress { id, epoch, progress } => {
            let text = serde_json::json!({ "percent": progress.percent, "message": progress.message }).to_string();
            let query = sqlx::query(&statements.progress).bind(text).bind(*id).bind(*epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Op::Release { id, epoch, delay } => {
            let query = sqlx::query(&statements.release).bind(millis(*delay)).bind(*id).bind(*epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Op::Crashed { id, epoch, limit } => {
            let held = sqlx::query(&statements.one_held).bind(*id).bind(*epoch);
            let held = held.fetch_all(&mut *connection).await?;
            done.swept = take_back(connection, statements, held, *limit, "runner").await?;
        }
        Op::Sweep { crash_limit } => {
            let expired = sqlx::query(&statements.expired).fetch_all(&mut *connection).await?;
            done.swept = take_back(connection, statements, expired, *crash_limit, "worker").await?;
        }
        Op::Bury { worker, crash_limit } => {
            let held = sqlx::query(&statements.held_by).bind(worker.clone());
            let held = held.fetch_all(&mut *connection).await?;
            done.swept = take_back(connection, statements, held, *crash_limit, "worker").await?;
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

async fn claim(
    connection: &mut AnyConnection,
    statements: &Statements,
    worker: &str,
    lease: Duration,
    limit: u32,
) -> Outcome<Vec<Claim>> {
    let mut values = AnyArguments::default();
    bind_claim(&mut values, worker, lease, limit)?;
    claims(sqlx::query_with(&statements.claim, values).fetch_all(connection).await?)
}

/// Binds what a claim needs.
pub(super) fn bind_claim(values: &mut AnyArguments, worker: &str, lease: Duration, limit: u32) -> Outcome {
    values.add(worker.to_owned()).map_err(sqlx::Error::Encode)?;
    values.add(millis(lease)).map_err(sqlx::Error::Encode)?;
    values.add(i64::from(limit)).map_err(sqlx::Error::Encode)
}

/// The claimed jobs, best first.
pub(super) fn claims(rows: Vec<AnyRow>) -> Outcome<Vec<Claim>> {
    let mut claims = Vec::with_capacity(rows.len());
    for row in rows {
        let parameters: String = row.try_get(5)?;
        let priority: i64 = row.try_get(3)?;
        let claim = Claim {
            id: row.try_get(0)?,
            epoch: row.try_get(1)?,
            attempt: row.try_get(2)?,
            name: row.try_get(4)?,
            parameters: serde_json::from_str(&parameters).map_err(|error| error.to_string()),
        };
        claims.push((priority, claim));
    }
    claims.sort_by_key(|(priority, claim)| (*priority, claim.id));
    Ok(claims.into_iter().map(|(_, claim)| claim).collect())
}

async fn renew(
    connection: &mut AnyConnection,
    statements: &Statements,
    claims: &[(JobId, i64)],
    lease: Duration,
) -> Outcome<Vec<JobId>> {
    let mut held = Vec::with_capacity(claims.len());
    for (id, epoch) in claims {
        let query = sqlx::query(&statements.renew).bind(millis(lease)).bind(*id).bind(*epoch);
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            held.push(*id);
        }
    }
    Ok(held)
}

async fn finish(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
    epoch: i64,
    finish: &Finish,
) -> Outcome<u64> {
    let mut values = AnyArguments::default();
    bind_finish(&mut values, id, epoch, finish)?;
    let moved = sqlx::query_with(&statements.finish, values).execute(&mut *connection).await?.rows_affected();
    if moved > 0 {
        insert_artifacts(connection, statements, id, finish.attempt, &finish.ended.artifacts).await?;
    }
    Ok(moved)
}

/// Binds what a finish needs.
pub(super) fn bind_finish(values: &mut AnyArguments, id: JobId, epoch: i64, finish: &Finish) -> Outcome {
    let ended = &finish.ended;
    let count = i64::try_from(ended.artifacts.len()).unwrap_or(i64::MAX);
    values.add(finish.status.as_str()).map_err(sqlx::Error::Encode)?;
    values.add(finish.reason.map(|reason| reason.as_str())).map_err(sqlx::Error::Encode)?;
    values.add(ended.error.clone()).map_err(sqlx::Error::Encode)?;
    values.add(ended.exit_code).map_err(sqlx::Error::Encode)?;
    values.add(ended.signal).map_err(sqlx::Error::Encode)?;
    values.add(logs::to_column(&ended.stdout)).map_err(sqlx::Error::Encode)?;
    values.add(logs::to_column(&ended.stderr)).map_err(sqlx::Error::Encode)?;
    values.add(ended.output.as_ref().map(ToString::to_string)).map_err(sqlx::Error::Encode)?;
    values.add(logs::notes_to_column(&ended.warnings, &ended.skipped)).map_err(sqlx::Error::Encode)?;
    values.add(count).map_err(sqlx::Error::Encode)?;
    values.add(id).map_err(sqlx::Error::Encode)?;
    values.add(epoch).map_err(sqlx::Error::Encode)
}

async fn insert_artifacts(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
    attempt: i64,
    artifacts: &[Artifact],
) -> Outcome {
    let mut rest = artifacts;
    for (rows, text) in ROWS.into_iter().zip(&statements.artifacts) {
        while rest.len() >= rows {
            let (now, later) = rest.split_at(rows);
            rest = later;
            let mut query = sqlx::query(text);
            for artifact in now {
                query = query
                    .bind(id)
                    .bind(attempt)
                    .bind(artifact.name.clone())
                    .bind(artifact.mime.clone())
                    .bind(i64::try_from(artifact.size).unwrap_or(i64::MAX))
                    .bind(artifact.uuid.clone())
                    .bind(artifact.sha256.clone())
                    .bind(artifact.key.clone());
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Queues held jobs again whose holder died, or ends those for which that happened `limit` times.
async fn take_back(
    connection: &mut AnyConnection,
    statements: &Statements,
    held: Vec<AnyRow>,
    limit: i64,
    who: &str,
) -> Outcome<Swept> {
    let mut swept = Swept::default();
    for row in held {
        let (id, epoch, crashes): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if crashes + 1 < limit {
            let query = sqlx::query(&statements.requeue).bind(id).bind(epoch);
            swept.queued += query.execute(&mut *connection).await?.rows_affected();
        } else {
            let error = format!("its {who} died while it ran this job, {} times in all; it is not run again", limit);
            let query = sqlx::query(&statements.give_up).bind(error).bind(id).bind(epoch);
            if query.execute(&mut *connection).await?.rows_affected() > 0 {
                swept.failed.push(id);
            }
        }
    }
    Ok(swept)
}
