//! Jobs that are taken from a holder that died, and jobs that wait for what never comes.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::attempts::{Past, held, note};
use super::dispatch::{ABANDONED, ABANDONED_CANCELED};
use super::statements::Statements;
use super::writer::Op;
use super::{Swept, chunks, millis};
use crate::domain::job::{AttemptEnding, JobId, Reason};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// Jobs that were queued again, each with its last attempt.
type Requeued = Vec<(JobId, i64)>;

/// Does `op`, one that takes jobs back or ends queued ones.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    op: &Op,
    requeued: &mut Requeued,
) -> Outcome<Swept> {
    match op {
        Op::Crashed { id, epoch } => {
            let rows =
                statements.query(&statements.one_held).bind(*id).bind(*epoch).fetch_all(&mut *connection).await?;
            take_back(connection, statements, rows, AttemptEnding::Crashed, requeued).await
        }
        Op::Bury { worker } => {
            statements.query(&statements.abandon).bind(worker.clone()).execute(&mut *connection).await?;
            let rows = statements.query(&statements.held_by).bind(worker.clone()).fetch_all(&mut *connection).await?;
            take_back(connection, statements, rows, AttemptEnding::Lost, requeued).await
        }
        Op::Sweep => {
            let query = statements.query(&statements.expired).bind(millis(ABANDONED)).bind(millis(ABANDONED_CANCELED));
            let rows = query.fetch_all(&mut *connection).await?;
            let mut swept = take_back(connection, statements, rows, AttemptEnding::Lost, requeued).await?;
            let rows = statements.query(&statements.overdue).fetch_all(&mut *connection).await?;
            let ids = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<Vec<JobId>>>()?;
            let why = "waited longer than its jobspec's QueueTimeout allows";
            swept.overdue = fail_queued(connection, statements, &ids, Reason::QueueTimeout, why).await?;
            Ok(swept)
        }
        Op::FailQueued { ids, reason, error } => {
            let overdue = fail_queued(connection, statements, ids, *reason, error).await?;
            Ok(Swept { overdue, ..Swept::default() })
        }
        _ => Ok(Swept::default()),
    }
}

/// Queues held jobs again whose holder died, or ends them: on request, or because it happened too often.
async fn take_back(
    connection: &mut AnyConnection,
    statements: &Statements,
    rows: Vec<AnyRow>,
    ending: AttemptEnding,
    requeued: &mut Requeued,
) -> Outcome<Swept> {
    let mut swept = Swept::default();
    for row in rows {
        let (id, epoch): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (crashes, limit): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        let worker = row.try_get::<Option<String>, _>(5)?.unwrap_or_default();
        let past = Past { id, attempt: row.try_get(4)?, worker: &worker, started_ms: row.try_get(6)?, why: None };
        if held(connection, statements, &statements.cancel_held, (id, epoch)).await? > 0 {
            swept.ended.push(id);
        } else if let Some(executor) = row.try_get::<Option<String>, _>(7)? {
            // It may still run there: another attempt would be a second one.
            let why =
                format!("nobody with its executor '{executor}' has come for it within a week; it is not run again");
            let query = statements.query(&statements.give_up).bind(Reason::WorkerLost.as_str()).bind(why);
            if query.bind(id).bind(epoch).execute(&mut *connection).await?.rows_affected() == 0 {
                continue;
            }
            swept.ended.push(id);
        } else if crashes + 1 >= limit {
            if give_up(connection, statements, (id, epoch), limit, ending).await? == 0 {
                continue;
            }
            swept.ended.push(id);
        } else if held(connection, statements, &statements.requeue, (id, epoch)).await? > 0 {
            swept.queued += 1;
            requeued.push((id, past.attempt));
        } else {
            continue;
        }
        chunks::drop_all(connection, statements, id, None).await?;
        note(connection, statements, &past, ending, None).await?;
    }
    Ok(swept)
}

async fn give_up(
    connection: &mut AnyConnection,
    statements: &Statements,
    (id, epoch): (JobId, i64),
    limit: i64,
    ending: AttemptEnding,
) -> Outcome<u64> {
    let who = if ending == AttemptEnding::Crashed { "runner" } else { "worker" };
    let (reason, why) = if limit > 1 {
        let why = format!("its {who} died while it ran this job, {limit} times in all; it is not run again");
        (Reason::CrashLimit, why)
    } else {
        (Reason::WorkerLost, format!("its {who} died while it ran this job; its jobspec says not to run it again"))
    };
    let query = statements.query(&statements.give_up).bind(reason.as_str()).bind(why).bind(id).bind(epoch);
    Ok(query.execute(connection).await?.rows_affected())
}

async fn fail_queued(
    connection: &mut AnyConnection,
    statements: &Statements,
    ids: &[JobId],
    reason: Reason,
    error: &str,
) -> Outcome<Vec<JobId>> {
    let mut failed = Vec::new();
    for id in ids {
        let query = statements.query(&statements.fail_queued).bind(reason.as_str()).bind(error.to_owned()).bind(*id);
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            failed.push(*id);
        }
    }
    Ok(failed)
}
