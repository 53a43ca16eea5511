//! The queue and everything that is remembered; the only room that names sqlx.
//!
//! One set of statements serves every database: `bigint`, `varchar` and `text` columns, times in Unix
//! milliseconds of the database's clock, flags as words, JSON as text. What differs is in `dialect` and in
//! `migrations/`. A state changes by one guarded UPDATE; a worker's writes carry the epoch of its claim, so that
//! one who lost its lease changes nothing.

/// Renew, finish, release, retry, cancel.
mod attempts;
/// Who did what.
mod audit;
/// A whole copy of a SQLite database.
mod backup;
/// What running jobs write, while they run.
mod chunks;
/// Claims: which jobs, and how many.
mod claim;
/// What is told to whom, and how it fares.
mod deliveries;
/// What differs between databases: placeholders, clock, claim statement, session settings.
mod dialect;
/// What executors of libraries were given.
mod dispatch;
/// What can go wrong.
mod error;
/// What became of jobs, change by change.
mod events;
/// Events as they come, read once for all who follow them.
mod feed;
/// On which kind of file system a database file lies.
mod filesystem;
/// The ends of jobs.
mod finish;
/// Which job has which GPUs.
mod gpus;
/// Files that clients uploaded, and the jobs that they were given to.
mod inputs;
/// What has been kept for long enough.
mod keep;
/// Pages of jobs.
mod list;
/// Output as it is kept in a column.
mod logs;
/// Who waits for what becomes of which job.
mod news;
/// Opening: connections, checks, migrations, the installation's own values.
mod open;
/// Where a reader of events stands.
mod position;
/// Jobs and artifacts for readers.
mod read;
/// Small transactions as one script.
mod script;
/// Every statement.
mod statements;
/// New jobs.
mod submit;
/// Jobs that are taken from a holder that died, and jobs that wait for what never comes.
mod sweep;
/// Who may call.
mod tokens;
/// Hints that there is something to do.
mod wake;
/// Who is told of what becomes of jobs.
mod webhooks;
/// The processes that serve this database.
mod workers;
/// Waiting writes share one transaction and one fsync.
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Executor};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

pub use backup::backup;
pub use chunks::{Chunk, EXECUTOR_LOG, LIVE, Live, Stream};
pub use claim::{Claiming, Scope};
pub use deliveries::AskedDeliveries;
pub use dispatch::{Dispatch, Leftover, Taken};
pub use error::StoreError;
pub use events::{Event, Events};
use feed::Feed;
pub use feed::{Following, Heard, Told, UnderWay};
pub use gpus::Giving;
pub use keep::{Aging, Dropped, HeldArtifacts, NamedKeys, PAGE};
pub use list::{Asked, Backlog, Counts, RATED};
pub use news::News;
pub use open::{Inspection, Original};
pub use position::{BadPosition, Position, Read, Step};
use statements::Statements;
pub use submit::{Given, Submitted};
use wake::Wake;
pub use workers::{Offer, Presence, Worker};
use writer::{Op, Writer};

use crate::domain::job::{Artifact, Attempt, Claim, Failure, Finish, Job, JobId, Log, Progress, Reason, Status};
use crate::metrics;

/// A failure that comes within this time is that of a connection which was closed before.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A handle to the database; cheap to clone. A call may be dropped at any time: the work that it began goes on.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    readers: sqlx::AnyPool,
    statements: Arc<Statements>,
    writer: Writer,
    wake: Arc<Wake>,
    feed: Arc<Feed>,
    installation: open::Installation,
}

/// What became of a sweep.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Swept {
    /// How many jobs were queued again.
    pub queued: u64,
    /// Jobs whose attempt was taken back and that were ended without a result.
    pub ended: Vec<JobId>,
    /// Queued jobs that were ended.
    pub overdue: Vec<JobId>,
}

/// What a renewal found.
#[derive(Debug, Default, Clone)]
pub struct Renewal {
    /// Whose lease is new.
    pub renewed: Vec<JobId>,
    /// All that the worker holds; what is not in `renewed` was being written just then.
    pub held: Vec<Held>,
}

/// A job that a worker holds, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The job.
    pub id: JobId,
    /// The claim's epoch.
    pub epoch: i64,
    /// Which run of the job this is.
    pub attempt: i64,
    /// Whether somebody asked for its end.
    pub canceled: bool,
}

/// What a request to cancel came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The job ends `canceled`; if it runs, its worker ends it.
    Asked,
    /// It had ended before.
    TooLate(Status),
    /// There is no such job.
    Unknown,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

impl Store {
    /// A job with all that it left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::job(connection, statements, id))).await
    }

    /// Where a job stands, and in which attempt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, id: JobId) -> Result<Option<(Status, i64)>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::status(connection, statements, id))).await
    }

    /// The attempts after which a job went on, the oldest first. The last attempt is in the job itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::attempts(connection, statements, id))).await
    }

    /// What the last attempt of a running job wrote, from byte `from` on, at most about a MiB at a time. Of what was
    /// written more than [`LIVE`] bytes ago, nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live(&self, id: JobId, attempt: i64, stream: Stream, from: u64) -> Result<Live, StoreError> {
        let which = (id, attempt);
        self.read(move |connection, statements| Box::pin(chunks::read(connection, statements, which, stream, from)))
            .await
    }

    /// The end of what the executor of an earlier or the running attempt said for itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn executor_log(&self, id: JobId, attempt: i64) -> Result<Log, StoreError> {
        self.read(move |connection, statements| Box::pin(chunks::executor_log(connection, statements, (id, attempt))))
            .await
    }

    /// Writes a piece of a running job's output; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chunk(&self, chunk: Chunk) -> Result<bool, StoreError> {
        self.shared.writer.write(Op::Chunk(chunk)).await.map(|done| done.moved > 0)
    }

    /// Whose a job is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner(&self, id: JobId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::owner(connection, statements, id))).await
    }

    /// How many jobs of a user are queued; of more than `most` only that they are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queued_of(&self, user_id: i64, most: u64) -> Result<u64, StoreError> {
        self.read(move |connection, statements| Box::pin(read::queued_of(connection, statements, user_id, most))).await
    }

    /// One artifact.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifact(&self, id: i64) -> Result<Option<Artifact>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::artifact(connection, statements, id))).await
    }

    /// Claims at most `limit` jobs, best first.
    ///
    /// # Errors
    /// When the database fails. Unless the answer to the commit was lost, nothing is claimed then.
    pub async fn claim(&self, claiming: &Claiming, limit: u32) -> Result<Vec<Claim>, StoreError> {
        let op = Op::Claim { claiming: claiming.clone(), limit };
        self.shared.writer.write(op).await.map(|done| done.claims)
    }

    /// Ends an attempt and its job, and claims the next job in the same transaction when `next` says for whom. A job
    /// whose end was asked for is canceled, whatever the finish says. `None`: the lease was lost before, and nothing
    /// has changed.
    ///
    /// # Errors
    /// When the database fails; unless the answer to the commit was lost, nothing has changed then. Doing it again
    /// does no harm.
    pub async fn finish(
        &self,
        claim: &Claim,
        finish: Arc<Finish>,
        next: Option<Claiming>,
    ) -> Result<Option<Vec<Claim>>, StoreError> {
        let done = self.shared.writer.write(Op::Finish { claim: claim.clone(), finish, next }).await?;
        Ok((done.moved > 0).then_some(done.claims))
    }

    /// Holds everything that `worker` has claimed for another `lease`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew(&self, worker: &str, lease: Duration) -> Result<Renewal, StoreError> {
        self.shared.writer.write(Op::Renew { worker: worker.to_owned(), lease }).await.map(|done| done.renewal)
    }

    /// The jobs of a worker whose end was asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn canceled(&self, worker: &str) -> Result<Vec<(JobId, i64)>, StoreError> {
        let worker = worker.to_owned();
        self.read(move |connection, statements| Box::pin(read::canceled(connection, statements, worker.clone()))).await
    }

    /// Notes how far a job is; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress(&self, claim: &Claim, progress: &Progress) -> Result<bool, StoreError> {
        let op = Op::Progress { id: claim.id, epoch: claim.epoch, progress: progress.clone() };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Gives a job back, to be run again after `delay`; does not count as a crash. `why` is told of the attempt. One
    /// whose end was asked for is canceled instead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, claim: &Claim, delay: Duration, why: &str) -> Result<bool, StoreError> {
        let op = Op::Release { claim: claim.clone(), delay, why: why.to_owned() };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Gives back a job that this worker holds without knowing: the answer to its claim was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_back(&self, worker: &str, held: Held) -> Result<bool, StoreError> {
        let claim = Claim {
            id: held.id,
            epoch: held.epoch,
            attempt: held.attempt,
            name: String::new(),
            parameters: Ok(BTreeMap::new()),
            tries: 0,
            max_retries: None,
            last_chance: false,
            started_ms: 0,
            created_ms: 0,
            run_after_ms: 0,
            trace_parent: None,
            worker: worker.to_owned(),
        };
        self.leave_job(&claim).await
    }

    /// Gives a job back whose lease this worker could not keep: queued again, or, where it runs elsewhere, left to
    /// whoever takes it over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_job(&self, claim: &Claim) -> Result<bool, StoreError> {
        self.shared.writer.write(Op::Leave(claim.clone())).await.map(|done| done.moved > 0)
    }

    /// Queues a job again that failed, to be run after `delay`; counts as one of its retries. One whose end was asked
    /// for is canceled instead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry(&self, claim: &Claim, failure: Arc<Failure>, delay: Duration) -> Result<bool, StoreError> {
        let op = Op::Retry { claim: claim.clone(), failure, delay };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Says how often the job may be running when its holder dies; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn limit_crashes(&self, claim: &Claim, limit: i64) -> Result<bool, StoreError> {
        let op = Op::LimitCrashes { id: claim.id, epoch: claim.epoch, limit };
        self.shared.writer.write(op).await.map(|done| done.moved > 0)
    }

    /// Gives back a job whose runner died: queued again, or ended once that happened too often.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn crashed(&self, claim: &Claim) -> Result<Swept, StoreError> {
        let op = Op::Crashed { id: claim.id, epoch: claim.epoch };
        self.shared.writer.write(op).await.map(|done| done.swept)
    }

    /// Ends a job on request. One that is queued ends at once; one that runs is ended by its worker.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel(&self, id: JobId) -> Result<Cancel, StoreError> {
        if self.shared.writer.write(Op::Cancel(id)).await?.moved > 0 {
            return Ok(Cancel::Asked);
        }
        Ok(self.status(id).await?.map_or(Cancel::Unknown, |(status, _)| Cancel::TooLate(status)))
    }

    /// Takes back up to 100 jobs whose lease has run out, and ends up to 100 that waited for too long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        self.shared.writer.write(Op::Sweep).await.map(|done| done.swept)
    }

    /// Takes back the jobs of a worker that is certainly dead, whatever their leases say.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury(&self, worker: &str) -> Result<Swept, StoreError> {
        self.shared.writer.write(Op::Bury { worker: worker.to_owned() }).await.map(|done| done.swept)
    }

    /// Ends jobs that are still queued; gives those that were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_queued(&self, ids: Vec<JobId>, reason: Reason, error: &str) -> Result<Vec<JobId>, StoreError> {
        let op = Op::FailQueued { ids, reason, error: error.to_owned() };
        self.shared.writer.write(op).await.map(|done| done.swept.overdue)
    }

    /// Queued jobs that have been there for at least `age`, in the order of claims, after the one with `after`'s
    /// priority and id; at most 1,000. Their ids, priorities and names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting(&self, after: (i64, JobId), age: Duration) -> Result<Vec<(JobId, i64, String)>, StoreError> {
        self.read(move |connection, statements| Box::pin(read::waiting(connection, statements, after, age))).await
    }

    /// How many jobs are in a status that is not terminal.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished(&self) -> Result<i64, StoreError> {
        self.read(|connection, statements| Box::pin(read::unfinished(connection, statements))).await
    }

    /// Signals one waiter for every job that becomes runnable. A hint: it may be lost, so poll as well.
    pub fn work(&self) -> &Notify {
        &self.shared.wake.work
    }

    /// Tells everybody who waits, at once, that jobs became runnable. A hint, as [`work`](Self::work).
    pub fn any_work(&self) -> &Notify {
        &self.shared.wake.any
    }

    /// Signals to so many who wait in this process that jobs may be runnable which they left to wait.
    pub fn look_again(&self, count: usize) {
        self.shared.wake.look_again(count as u64);
    }

    /// Tells of jobs whose end is asked for. A hint: it may be lost, so look at [`canceled`](Self::canceled) as well.
    pub fn cancels(&self) -> broadcast::Receiver<JobId> {
        self.shared.wake.canceled.subscribe()
    }

    /// Tells whenever a job changed, in this process or, on PostgreSQL, in another one. A hint, as [`work`](Self::work).
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.wake.changes.subscribe()
    }

    /// Waits until this process has written a message down that is to be sent. A hint, as [`work`](Self::work).
    pub async fn message(&self) {
        self.shared.wake.messages.notified().await;
    }

    /// Waits for news of a job. A hint: on other databases than PostgreSQL only what this process does is told, unless
    /// somebody [follows](Self::follow) the events.
    pub fn news_of(&self, id: JobId) -> News {
        self.shared.wake.news.of(id, self.shared.wake.is_told().then(|| self.follow()))
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
            shared.writer.close().await
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

    /// Reads in a task of its own: a caller that is dropped leaves no connection in mid-statement behind. Tried once
    /// more when the connection turns out to be lost; that is noticed at once, and who has waited for an answer in
    /// vain would only wait again.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut AnyConnection, &'c Statements) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        let shared = Arc::clone(&self.shared);
        spawned(async move {
            let begun = Instant::now();
            let read = match shared.read_once(&work).await {
                Err(StoreError::Unavailable(_)) if begun.elapsed() < AT_ONCE => shared.read_once(&work).await,
                result => result,
            };
            read.inspect_err(|error| metrics::database_error(error.kind()))
        })
        .await
    }
}

impl Shared {
    async fn read_once<T>(
        &self,
        work: impl for<'c> Fn(&'c mut AnyConnection, &'c Statements) -> BoxFuture<'c, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let patience = self.statements.dialect.patience();
        match tokio::time::timeout(patience, self.read_by(&mut connection, work)).await {
            // A connection after an error is not used again.
            Ok(Err(error)) => {
                drop(connection.detach());
                Err(error)
            }
            Ok(result) => result,
            Err(_) => {
                drop(connection.detach());
                Err(StoreError::silent())
            }
        }
    }

    /// Behind a pooler, what belongs together has to be in one transaction.
    async fn read_by<T>(
        &self,
        connection: &mut AnyConnection,
        work: impl for<'c> Fn(&'c mut AnyConnection, &'c Statements) -> BoxFuture<'c, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.statements.pooled {
            return work(connection, &self.statements).await;
        }
        connection.execute(sqlx::raw_sql(self.statements.dialect.begin_to_read())).await?;
        let result = work(connection, &self.statements).await?;
        connection.execute(sqlx::raw_sql("commit")).await?;
        Ok(result)
    }
}

/// Runs `work` in a task of its own.
async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
}
