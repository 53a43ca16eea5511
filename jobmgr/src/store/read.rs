//! Jobs and artifacts for readers.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::statements::Statements;
use super::{StoreError, logs};
use crate::domain::job::{Artifact, Attempt, AttemptEnding, Ended, Job, JobId, Progress, Reason, Status};

/// The job with all that it left.
pub(super) async fn job(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
) -> Result<Option<Job>, StoreError> {
    let query = statements.query(&statements.job).bind(id);
    let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let mut job = listed(&row, id)?;
    if let Some(ended) = &mut job.ended {
        let artifacts = match row.try_get::<i64, _>("artifact_count")? {
            0 => Vec::new(),
            _ => artifacts_of(connection, statements, id).await?,
        };
        *ended = ended_from(&row, id, artifacts)?;
    }
    Ok(Some(job))
}

/// The columns of a job in lists.
pub(super) const LISTED: &str = "id, status, reason, priority, name, parameters, user_id, attempt, created_at, started_at, finished_at, cancel_at, \
     worker, progress, error, exit_code, signal_number, executor, run_after, labels, max_retries, retry_of, key_text, \
     gpus";

/// A job as lists have it: of its end only why it came.
pub(super) fn listed(row: &AnyRow, id: JobId) -> Result<Job, StoreError> {
    let broken = |column: &str, why: String| StoreError::Failed(format!("job {id}: {column}: {why}"));
    let word: String = row.try_get("status")?;
    let status = Status::from_word(&word).ok_or_else(|| broken("status", format!("'{word}' is no status")))?;
    let parameters: String = row.try_get("parameters")?;
    Ok(Job {
        id,
        status,
        reason: row.try_get::<Option<String>, _>("reason")?.and_then(|word| Reason::from_word(&word)),
        priority: row.try_get("priority")?,
        name: row.try_get("name")?,
        // What can't be read is shown as empty; the worker fails such a job with the reason.
        parameters: serde_json::from_str(&parameters).unwrap_or_default(),
        user_id: row.try_get("user_id")?,
        labels: row
            .try_get::<Option<String>, _>("labels")?
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        max_retries: row.try_get("max_retries")?,
        retry_of: row.try_get("retry_of")?,
        key: row.try_get("key_text")?,
        run_after_ms: row.try_get("run_after")?,
        attempt: row.try_get("attempt")?,
        created_ms: row.try_get("created_at")?,
        started_ms: row.try_get("started_at")?,
        finished_ms: row.try_get("finished_at")?,
        cancel_asked_ms: row.try_get("cancel_at")?,
        worker: row.try_get("worker")?,
        executor: executor(row.try_get("executor")?),
        gpus: super::gpus::from_column(row.try_get("gpus")?),
        progress: row.try_get::<Option<String>, _>("progress")?.and_then(|text| progress_from(&text)),
        ended: if status.is_terminal() { Some(reason_of_end(row)?) } else { None },
    })
}

pub(super) fn progress_from(text: &str) -> Option<Progress> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let message = value.get("message").and_then(|message| message.as_str()).unwrap_or_default();
    Some(Progress { percent: value.get("percent")?.as_f64()?, message: message.to_owned() })
}

fn reason_of_end(row: &AnyRow) -> Result<Ended, StoreError> {
    Ok(Ended {
        error: row.try_get("error")?,
        exit_code: row.try_get("exit_code")?,
        signal: row.try_get("signal_number")?,
        ..Ended::default()
    })
}

fn ended_from(row: &AnyRow, id: JobId, artifacts: Vec<Artifact>) -> Result<Ended, StoreError> {
    let broken = |column: &str, why: String| StoreError::Failed(format!("job {id}: {column}: {why}"));
    let notes = logs::notes_from_column(row.try_get("notes")?).map_err(|why| broken("notes", why))?;
    let output: Option<String> = row.try_get("output")?;
    Ok(Ended {
        stdout: logs::from_column(row.try_get("stdout")?).map_err(|why| broken("stdout", why))?,
        stderr: logs::from_column(row.try_get("stderr")?).map_err(|why| broken("stderr", why))?,
        output: output
            .map(|text| serde_json::from_str(&text).map_err(|error| broken("output", error.to_string())))
            .transpose()?,
        warnings: notes.warnings,
        artifacts,
        skipped: notes.skipped,
        executor_log: logs::from_column(notes.executor).map_err(|why| broken("notes", why))?,
        ..reason_of_end(row)?
    })
}

async fn artifacts_of(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
) -> Result<Vec<Artifact>, StoreError> {
    let rows = statements.query(&statements.artifacts_of).bind(id).fetch_all(connection).await?;
    rows.iter().map(|row| artifact_from(row).map_err(StoreError::from)).collect()
}

/// One artifact.
pub(super) async fn artifact(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: i64,
) -> Result<Option<Artifact>, StoreError> {
    let row = statements.query(&statements.artifact).bind(id).fetch_optional(&mut *connection).await?;
    Ok(row.as_ref().map(artifact_from).transpose()?)
}

pub(super) fn artifact_from(row: &AnyRow) -> Result<Artifact, sqlx::Error> {
    Ok(Artifact {
        id: row.try_get("id")?,
        job_id: row.try_get("job_id")?,
        name: row.try_get("name")?,
        mime: row.try_get("mime")?,
        size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default(),
        uuid: row.try_get("uuid")?,
        sha256: row.try_get("sha256")?,
        key: row.try_get("object_key")?,
        created_ms: row.try_get("created_at")?,
    })
}

/// How many jobs are queued or started.
pub(super) async fn unfinished(connection: &mut AnyConnection, statements: &Statements) -> Result<i64, StoreError> {
    Ok(statements.query(&statements.unfinished).fetch_one(connection).await?.try_get(0)?)
}

/// Where the job stands, and in which attempt.
pub(super) async fn status(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
) -> Result<Option<(Status, i64)>, StoreError> {
    let query = statements.query(&statements.status).bind(id);
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let word: String = row.try_get(0)?;
    let status = Status::from_word(&word);
    let status = status.ok_or_else(|| StoreError::Failed(format!("job {id}: status: '{word}' is no status")))?;
    Ok(Some((status, row.try_get(1)?)))
}

/// Whose the job is.
pub(super) async fn owner(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
) -> Result<Option<i64>, StoreError> {
    let row = statements.query(&statements.owner).bind(id).fetch_optional(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// How many jobs of the user are queued, up to one more than `most`.
pub(super) async fn queued_of(
    connection: &mut AnyConnection,
    statements: &Statements,
    user_id: i64,
    most: u64,
) -> Result<u64, StoreError> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let row = statements.query(&statements.queued_of).bind(user_id).bind(limit).fetch_one(connection).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// The attempts that did not end the job.
pub(super) async fn attempts(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
) -> Result<Vec<Attempt>, StoreError> {
    let rows = statements.query(&statements.attempts).bind(id).fetch_all(connection).await?;
    rows.iter().map(|row| attempt_from(row, id)).collect()
}

/// Which library it ran with.
fn executor(column: Option<String>) -> Option<serde_json::Value> {
    column.and_then(|text| serde_json::from_str(&text).ok())
}

fn attempt_from(row: &AnyRow, id: JobId) -> Result<Attempt, StoreError> {
    let broken = |why: String| StoreError::Failed(format!("job {id}: attempts: {why}"));
    let word: String = row.try_get(1)?;
    let reason: Option<String> = row.try_get(5)?;
    Ok(Attempt {
        attempt: row.try_get(0)?,
        ending: AttemptEnding::from_word(&word).ok_or_else(|| broken(format!("'{word}' is no ending")))?,
        worker: row.try_get(2)?,
        started_ms: row.try_get(3)?,
        ended_ms: row.try_get(4)?,
        reason: reason.and_then(|word| Reason::from_word(&word)),
        error: row.try_get(6)?,
        exit_code: row.try_get(7)?,
        signal: row.try_get(8)?,
        stdout: logs::from_column(row.try_get(9)?).map_err(broken)?,
        stderr: logs::from_column(row.try_get(10)?).map_err(broken)?,
        executor: executor(row.try_get(11)?),
    })
}

/// The jobs of a worker whose end was asked for.
pub(super) async fn canceled(
    connection: &mut AnyConnection,
    statements: &Statements,
    worker: String,
) -> Result<Vec<(JobId, i64)>, StoreError> {
    let rows = statements.query(&statements.canceled_of).bind(worker).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Queued jobs in the order of claims.
pub(super) async fn waiting(
    connection: &mut AnyConnection,
    statements: &Statements,
    (priority, id): (i64, JobId),
    age: std::time::Duration,
) -> Result<Vec<(JobId, i64, String)>, StoreError> {
    let query = statements.query(&statements.waiting).bind(priority).bind(priority).bind(id).bind(super::millis(age));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}
