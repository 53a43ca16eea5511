//! Jobs and artifacts for readers.

use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

use super::dialect::Statements;
use super::{StoreError, logs};
use crate::domain::job::{Artifact, Ended, Job, JobId, Progress, Reason, Status};

/// The job with all that it left.
pub(super) async fn job(readers: &AnyPool, statements: &Statements, id: JobId) -> Result<Option<Job>, StoreError> {
    let query = sqlx::query(&statements.job).bind(id);
    let Some(row) = query.fetch_optional(readers).await? else { return Ok(None) };
    let artifacts = match row.try_get::<i64, _>("artifact_count")? {
        0 => Vec::new(),
        _ => artifacts_of(readers, statements, id).await?,
    };
    job_from(&row, id, artifacts).map(Some)
}

fn job_from(row: &AnyRow, id: JobId, artifacts: Vec<Artifact>) -> Result<Job, StoreError> {
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
        attempt: row.try_get("attempt")?,
        created_ms: row.try_get("created_at")?,
        started_ms: row.try_get("started_at")?,
        finished_ms: row.try_get("finished_at")?,
        progress: row.try_get::<Option<String>, _>("progress")?.and_then(|text| progress_from(&text)),
        ended: if status.is_terminal() { Some(ended_from(row, artifacts, broken)?) } else { None },
    })
}

fn progress_from(text: &str) -> Option<Progress> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let message = value.get("message").and_then(|message| message.as_str()).unwrap_or_default();
    Some(Progress { percent: value.get("percent")?.as_f64()?, message: message.to_owned() })
}

fn ended_from(
    row: &AnyRow,
    artifacts: Vec<Artifact>,
    broken: impl Fn(&str, String) -> StoreError,
) -> Result<Ended, StoreError> {
    let notes = logs::notes_from_column(row.try_get("notes")?).map_err(|why| broken("notes", why))?;
    let output: Option<String> = row.try_get("output")?;
    Ok(Ended {
        error: row.try_get("error")?,
        exit_code: row.try_get("exit_code")?,
        signal: row.try_get("signal_number")?,
        stdout: logs::from_column(row.try_get("stdout")?).map_err(|why| broken("stdout", why))?,
        stderr: logs::from_column(row.try_get("stderr")?).map_err(|why| broken("stderr", why))?,
        output: output
            .map(|text| serde_json::from_str(&text).map_err(|error| broken("output", error.to_string())))
            .transpose()?,
        warnings: notes.0,
        artifacts,
        skipped: notes.1,
    })
}

async fn artifacts_of(readers: &AnyPool, statements: &Statements, id: JobId) -> Result<Vec<Artifact>, StoreError> {
    let rows = sqlx::query(&statements.artifacts_of).bind(id).fetch_all(readers).await?;
    rows.iter().map(|row| artifact_from(row).map_err(StoreError::from)).collect()
}

/// One artifact.
pub(super) async fn artifact(
    readers: &AnyPool,
    statements: &Statements,
    id: i64,
) -> Result<Option<Artifact>, StoreError> {
    let row = sqlx::query(&statements.artifact).bind(id).fetch_optional(readers).await?;
    Ok(row.as_ref().map(artifact_from).transpose()?)
}

fn artifact_from(row: &AnyRow) -> Result<Artifact, sqlx::Error> {
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
pub(super) async fn unfinished(readers: &AnyPool, statements: &Statements) -> Result<i64, StoreError> {
    Ok(sqlx::query(&statements.unfinished).fetch_one(readers).await?.try_get(0)?)
}
