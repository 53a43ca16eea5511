//! The queue and everything that is remembered; the only room that names sqlx.
//!
//! One set of statements serves every database: `bigint`, `varchar` and `text` columns, times in Unix
//! milliseconds of the database's clock, flags as words, JSON as text. What differs is in `dialect` and in
//! `migrations/`. A state changes by one guarded UPDATE; a worker's writes carry the epoch of its claim, so that
//! one who lost its lease changes nothing.

/// Claim, renew, finish, release, sweep.
mod attempts;
/// What differs between databases: placeholders, clock, claim statement, session settings.
mod dialect;
/// What can go wrong.
mod error;
/// On which kind of file system a database file lies.
mod filesystem;
/// Output as it is kept in a column.
mod logs;
/// Opening: connections, migrations, the installation's own values.
mod open;
/// Jobs and artifacts for readers.
mod read;
/// Small transactions as one script.
mod script;
/// New jobs.
mod submit;
/// Waiting writes share one transaction and one fsync.
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use dialect::Statements;
pub use error::StoreError;
use writer::{Op, Writer};

use crate::domain::job::{Artifact, Claim, Finish, Job, JobId, NewJob, Progress};

/// A handle to the database; cheap to clone. A call may be dropped at any time: the work that it began goes on.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    readers: sqlx::AnyPool,
    statements: Arc<Statements>,
    writer: Writer,
    work: Arc<Notify>,
    installation: open::Installation,
}

/// What became of a sweep.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many jobs were queued again.
    pub queued: u64,
    /// The jobs that were ended.
    pub failed: Vec<JobId>,
}

impl Store {
    /// Queues a job; it is durable when this returns.
    ///
    /// # Errors
    /// When the database fails; the job is not queued then.
    pub async fn submit(&self, job: NewJob) -> Result<JobId, StoreError> {
        self.shared.writer.write(Op::Submit(job)).await.map(|done| done.id)
    }

    /// A job with all that it left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let shared = Arc::clone(&self.shared);
        spawned(async move { read::job(&shared.readers, &shared.statements, id).await }).await
    }

    /// One artifact.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifact(&self, id: i64) -> Result<Option<Artifact>, StoreError> {
        let shared = Arc::clone(&self.shared);
        spawned(async move { read::artifact(&shared.readers, &shared.statements, id).await }).await
    }

    /// Claims at most `limit` jobs for `worker`, best first. Each is held for `lease` from now.
    ///
    /// # Errors
    /// When the database fails; nothing is claimed then.
    pub async fn claim(&self, worker: &str, lease: Duration, limit: u32) -> Result<Vec<Claim>, StoreError> {
        let op = Op::Claim { worker: worker.to_owned(), lease, limit };
        self.shared.writer.write(op).await.map(|done| done.claims)
    }

    /// Ends an attempt, and claims the next job in the same transaction when `next` names a worker and a lease.
    /// `None`: the lease was lost before, and nothing has changed.
    ///
    /// # Errors
    /// When the database fails; nothing has changed then.
    pub async fn finish(
        &self,
        claim: &Claim,
        finish: Arc<Finish>,
        next: Option<(&str, Duration)>,
    ) -> Result<Option<Vec<Claim>>, StoreError> {
        let next = next.map(|(worker, lease)| (worker.to_owned(), lease));
        let done = self.shared.writer.write(Op::Finish { id: claim.id, epoch: claim.epoch, finish, next }).await?;
        Ok((done.moved > 0).then_some(done.claims))
    }

    /// Holds claims for another `lease`; gives the ids of those that are still held.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew(&self, claims: Vec<(JobId, i64)>, lease: Duration) -> Result<Vec<JobId>, StoreError> {
        self.shared.writer.write(Op::Renew { claims, lease }).await.map(|done| done.ids)
    }

    /// Notes how far a job is; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress(&self, claim: &Claim, progress: &Progress) -> Result<bool, StoreError> {
        let op = Op::Progress { id: claim.id, epoch: claim.epoch, progress: progress.clone() };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Gives a job back, to be run again after `delay`; does not count as a crash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, claim: &Claim, delay: Duration) -> Result<bool, StoreError> {
        let op = Op::Release { id: claim.id, epoch: claim.epoch, delay };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Gives back a job whose runner died: queued again, or ended once that happened `limit` times.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn crashed(&self, claim: &Claim, limit: i64) -> Result<Swept, StoreError> {
        let op = Op::Crashed { id: claim.id, epoch: claim.epoch, limit };
        self.shared.writer.write(op).await.map(|done| done.swept)
    }

    /// Takes back up to 100 jobs whose lease has run out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self, crash_limit: i64) -> Result<Swept, StoreError> {
        self.shared.writer.write(Op::Sweep { crash_limit }).await.map(|done| done.swept)
    }

    /// Takes back the jobs of a worker that is certainly dead, whatever their leases say.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury(&self, worker: &str, crash_limit: i64) -> Result<Swept, StoreError> {
        let op = Op::Bury { worker: worker.to_owned(), crash_limit };
        self.shared.writer.write(op).await.map(|done| done.swept)
    }

    /// How many jobs are in a status that is not terminal.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished(&self) -> Result<i64, StoreError> {
        let shared = Arc::clone(&self.shared);
        spawned(async move { read::unfinished(&shared.readers, &shared.statements).await }).await
    }

    /// Signals one waiter for every job that becomes runnable. A hint: it may be lost, so poll as well.
    pub fn work(&self) -> &Notify {
        &self.shared.work
    }

    /// The key that signs download URLs of the local store; made once per database.
    pub fn signing_key(&self) -> &[u8] {
        &self.shared.installation.signing_key
    }

    /// Names this installation; part of what executors call their jobs elsewhere.
    pub fn installation(&self) -> &str {
        &self.shared.installation.id
    }

    /// Writes what waits, and closes the connections, so that a SQLite database is one file again.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        let closing = spawned(async move {
            shared.readers.close().await;
            shared.writer.write(Op::Close).await
        });
        if let Err(error) = closing.await {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }

    /// Answers when the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.unfinished().await.map(drop)
    }
}

/// Runs `work` in a task of its own: a caller that is dropped leaves no connection in mid-statement behind.
async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
}
