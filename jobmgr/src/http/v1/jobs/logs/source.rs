//! Which output is asked for, and where it is.

use super::super::super::problem::{Code, Problem};
use super::unavailable;
use crate::domain::job::{Job, JobId, Log, Status};
use crate::store::{Store, Stream};

/// What is asked for.
pub(in super::super) struct Asked {
    pub(in super::super) id: JobId,
    /// `None`: the last one.
    pub(in super::super) attempt: Option<i64>,
    pub(in super::super) stream: Stream,
}

/// Where it is.
pub(in super::super) enum Source {
    /// Of an attempt after which the job went on, or goes on.
    Kept { attempt: i64, log: Log },
    /// Of the last attempt of a job that has ended.
    Last { attempt: i64, log: Log },
    /// In pieces in the database.
    Running { attempt: i64 },
    /// The job has not started.
    Nothing,
}

/// Finds it.
pub(in super::super) async fn find(store: &Store, asked: &Asked) -> Result<Source, Problem> {
    let failed = |error| unavailable(asked.id, error);
    let job = store.job(asked.id).await.map_err(failed)?.ok_or_else(|| Problem::no_job(Some(asked.id)))?;
    let attempt = asked.attempt.unwrap_or(job.attempt);
    if attempt > job.attempt {
        let detail = format!("job {} has had {} attempts", job.id, job.attempt);
        return Err(Problem::new(Code::NotFound, detail));
    }
    let past = store.attempts(asked.id).await.map_err(failed)?;
    if let Some(past) = past.into_iter().find(|past| past.attempt == attempt) {
        let log = match asked.stream {
            Stream::Stdout => past.stdout,
            Stream::Stderr => past.stderr,
            Stream::Executor => store.executor_log(asked.id, attempt).await.map_err(failed)?,
        };
        let last = attempt == job.attempt && job.status.is_terminal();
        return Ok(if last { Source::Last { attempt, log } } else { Source::Kept { attempt, log } });
    }
    Ok(of_the_row(job, attempt, asked.stream))
}

/// What the job's own row tells.
fn of_the_row(job: Job, attempt: i64, stream: Stream) -> Source {
    if job.attempt == attempt && job.status == Status::Started {
        return Source::Running { attempt };
    }
    match job.ended {
        Some(ended) if job.attempt == attempt => {
            let log = match stream {
                Stream::Stdout => ended.stdout,
                Stream::Stderr => ended.stderr,
                Stream::Executor => ended.executor_log,
            };
            Source::Last { attempt, log }
        }
        _ if attempt == 0 => Source::Nothing,
        // Nothing was kept of it.
        _ => Source::Kept { attempt, log: Log::default() },
    }
}
