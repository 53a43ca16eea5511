//! Renew, finish, release, retry, cancel: each move of a job is one guarded UPDATE.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row};

use super::dialect::Text;
use super::finish::filled;
use super::statements::Statements;
use super::writer::{Done, Op};
use super::{
    Held, Renewal, audit, chunks, deliveries, dispatch, gpus, inputs, keep, logs, millis, submit, sweep, tokens,
    webhooks, workers,
};
use crate::domain::job::{AttemptEnding, Claim, Failure, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// Does `op`, unless it is a submission or a claim.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    op: &Op,
    done: &mut Done,
) -> Outcome {
    match op {
        Op::Submit(_) | Op::Claim { .. } | Op::Close => {}
        Op::SubmitAll { jobs, key } => {
            done.submitted = submit::together(connection, statements, jobs, key.as_ref()).await?;
        }
        Op::Finish { claim, finish, .. } => {
            super::finish::one(connection, statements, claim, finish, done).await?;
        }
        Op::Release { claim, delay, why } => {
            let query = statements.query(&statements.release).bind(millis(*delay));
            let end = (AttemptEnding::Released, Some(why.as_str()), None);
            go_back(connection, statements, claim, query, end, done).await?;
        }
        Op::Leave(claim) => {
            done.moved = held(connection, statements, &statements.leave, (claim.id, claim.epoch)).await?;
            if done.moved == 0 {
                let query = statements.query(&statements.release).bind(0_i64);
                let end = (AttemptEnding::Released, None, None);
                go_back(connection, statements, claim, query, end, done).await?;
            }
        }
        Op::Retry { claim, failure, delay } => {
            let query = statements.query(&statements.retry).bind(millis(*delay));
            let end = (AttemptEnding::Failed, None, Some(&**failure));
            go_back(connection, statements, claim, query, end, done).await?;
        }
        Op::Renew { worker, lease } => done.renewal = renew(connection, statements, worker, millis(*lease)).await?,
        Op::Progress { id, epoch, progress } => {
            let text = serde_json::json!({ "percent": progress.percent, "message": progress.message }).to_string();
            let query = statements.query(&statements.progress).bind(text).bind(*id).bind(*epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Op::LimitCrashes { id, epoch, limit } => {
            let query = statements.query(&statements.limit_crashes).bind(*limit).bind(*id).bind(*epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Op::Cancel(id) => cancel(connection, statements, *id, done).await?,
        Op::Chunk(chunk) => done.moved = chunks::add(connection, statements, chunk).await?,
        Op::Crashed { .. } | Op::Sweep | Op::Bury { .. } | Op::FailQueued { .. } => {
            done.swept = sweep::apply(connection, statements, op, &mut done.requeued).await?;
            done.ended.extend(done.swept.ended.iter().chain(&done.swept.overdue));
        }
        Op::Dispatch(write) => dispatch::apply(connection, statements, write, done).await?,
        Op::Gpus(claim, ids) => gpus::give(connection, statements, claim, ids, done).await?,
        Op::Worker(write) => done.moved = workers::apply(connection, statements, write).await?,
        Op::Keep(write) => keep::apply(connection, statements, write, done).await?,
        Op::Input(write) => inputs::apply(connection, statements, write, done).await?,
        Op::Token(write) => tokens::apply(connection, statements, write, done).await?,
        Op::Audit(write) => done.moved = audit::apply(connection, statements, write).await?,
        Op::Webhook(write) => webhooks::apply(connection, statements, write, done).await?,
        Op::Delivery(write) => deliveries::apply(connection, statements, write, done).await?,
    }
    Ok(())
}

/// Renews all that the worker holds, except what is being written at this moment.
async fn renew(connection: &mut AnyConnection, statements: &Statements, worker: &str, lease: i64) -> Outcome<Renewal> {
    let rows = statements.query(&statements.renewable).bind(worker.to_owned()).fetch_all(&mut *connection).await?;
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<Vec<JobId>>>()?;
    for (size, ids) in filled(&ids) {
        let update = statements.query(&statements.renew[size]).bind(lease);
        ids.into_iter().fold(update, |update, id| update.bind(id)).execute(&mut *connection).await?;
    }
    let mut held = Vec::new();
    for row in statements.query(&statements.held).bind(worker.to_owned()).fetch_all(connection).await? {
        let canceled = row.try_get::<i64, _>(2)? != 0;
        held.push(Held { id: row.try_get(0)?, epoch: row.try_get(1)?, attempt: row.try_get(3)?, canceled });
    }
    Ok(Renewal { renewed: ids, held })
}

/// Whether the attempt was ended by this very claim before: the answer to that commit was lost.
pub(super) async fn was_ended(connection: &mut AnyConnection, statements: &Statements, claim: &Claim) -> Outcome<bool> {
    let query = statements.query(&statements.own_end).bind(claim.id).bind(claim.epoch);
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Back to the queue by `update`, which lacks the claim; or to the end, if that was asked for meanwhile.
async fn go_back(
    connection: &mut AnyConnection,
    statements: &Statements,
    claim: &Claim,
    update: Query<'_, Any, AnyArguments>,
    (ending, why, failure): (AttemptEnding, Option<&str>, Option<&Failure>),
    done: &mut Done,
) -> Outcome {
    done.moved = held(connection, statements, &statements.cancel_held, (claim.id, claim.epoch)).await?;
    if done.moved > 0 {
        done.ended.push(claim.id);
    } else {
        done.moved = update.bind(claim.id).bind(claim.epoch).execute(&mut *connection).await?.rows_affected();
        done.requeued.extend((done.moved > 0).then_some((claim.id, claim.attempt)));
    }
    if done.moved == 0 {
        done.moved = u64::from(was_ended(connection, statements, claim).await?);
        return Ok(());
    }
    chunks::drop_all(connection, statements, claim.id, None).await?;
    let (id, attempt, worker, started_ms) = (claim.id, claim.attempt, &*claim.worker, Some(claim.started_ms));
    let past = Past { id, attempt, worker, started_ms, why };
    note(connection, statements, &past, ending, failure).await
}

/// Runs a statement that needs nothing but the claim.
pub(super) async fn held(
    connection: &mut AnyConnection,
    statements: &Statements,
    text: &Text,
    (id, epoch): (JobId, i64),
) -> Outcome<u64> {
    Ok(statements.query(text).bind(id).bind(epoch).execute(connection).await?.rows_affected())
}

/// An attempt that is over.
pub(super) struct Past<'a> {
    pub(super) id: JobId,
    pub(super) attempt: i64,
    pub(super) worker: &'a str,
    pub(super) started_ms: Option<i64>,
    /// Why it was given up, where that was no failure of the job.
    pub(super) why: Option<&'a str>,
}

/// Writes down an attempt that did not end its job.
pub(super) async fn note(
    connection: &mut AnyConnection,
    statements: &Statements,
    past: &Past<'_>,
    ending: AttemptEnding,
    failure: Option<&Failure>,
) -> Outcome {
    let query = statements
        .query(&statements.end_attempt)
        .bind(past.id)
        .bind(past.attempt)
        .bind(ending.as_str())
        .bind(past.worker.to_owned())
        .bind(past.started_ms)
        .bind(failure.map(|failure| failure.reason.as_str()))
        .bind(failure.and_then(|failure| failure.error.clone()).or_else(|| past.why.map(str::to_owned)))
        .bind(failure.and_then(|failure| failure.exit_code))
        .bind(failure.and_then(|failure| failure.signal))
        .bind(failure.and_then(|failure| logs::to_column(&failure.stdout)))
        .bind(failure.and_then(|failure| logs::to_column(&failure.stderr)))
        .bind(past.id);
    query.execute(connection).await.map(drop)
}

/// Ends a queued job, or asks for the end of a started one. Between the two looks it may have moved on.
async fn cancel(connection: &mut AnyConnection, statements: &Statements, id: JobId, done: &mut Done) -> Outcome {
    for _ in 0..3 {
        for (text, ends) in [(&statements.cancel_queued, true), (&statements.cancel_started, false)] {
            done.moved = statements.query(text).bind(id).execute(&mut *connection).await?.rows_affected();
            if done.moved > 0 {
                done.ended.extend(ends.then_some(id));
                return Ok(());
            }
        }
    }
    Ok(())
}
