//! Waiting writes share one transaction and one fsync.
//!
//! Whatever waits when the last commit ends goes into the next one. A transaction that fails as a whole is undone,
//! and each of its writes is tried in one of its own, so that a failure does not undo its neighbours.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, Connection};
use tokio::sync::{Notify, mpsc, oneshot};

use super::dialect::Statements;
use super::{StoreError, Swept, attempts, script, submit};
use crate::domain::job::{Claim, Finish, JobId, NewJob, Progress};

/// At most this many writes share a transaction.
const BATCH: usize = 256;
/// How often a transaction is tried that met another one.
const TRIES: u32 = 20;

/// A write.
pub(super) enum Op {
    Submit(NewJob),
    Claim {
        worker: String,
        lease: Duration,
        limit: u32,
    },
    Finish {
        id: JobId,
        epoch: i64,
        finish: Arc<Finish>,
        next: Option<(String, Duration)>,
    },
    Renew {
        claims: Vec<(JobId, i64)>,
        lease: Duration,
    },
    Progress {
        id: JobId,
        epoch: i64,
        progress: Progress,
    },
    Release {
        id: JobId,
        epoch: i64,
        delay: Duration,
    },
    Crashed {
        id: JobId,
        epoch: i64,
        limit: i64,
    },
    Sweep {
        crash_limit: i64,
    },
    Bury {
        worker: String,
        crash_limit: i64,
    },
    /// Closes the connection once everything before it is written.
    Close,
}

/// What a write came to; each kind of write fills what it has.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The new job.
    pub(super) id: JobId,
    /// How many rows changed.
    pub(super) moved: u64,
    /// Jobs that are still held.
    pub(super) ids: Vec<JobId>,
    /// Jobs that were claimed.
    pub(super) claims: Vec<Claim>,
    /// Jobs that were taken back.
    pub(super) swept: Swept,
}

struct Request {
    op: Op,
    reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// The queue in front of the writing connection.
pub(super) struct Writer {
    inbox: mpsc::Sender<Request>,
}

/// Makes a new writing connection.
pub(super) struct Connector {
    pub(super) options: sqlx::any::AnyConnectOptions,
    pub(super) statements: Arc<Statements>,
    pub(super) work: Arc<Notify>,
}

impl Writer {
    /// Starts the thread that owns the writing connection.
    ///
    /// A thread, not a task: a write is a few short turns with the driver, and a thread that waits for each is woken in
    /// half the time that the scheduler takes to find a task.
    pub(super) fn start(connection: AnyConnection, connector: Connector) -> std::io::Result<Writer> {
        let (inbox, requests) = mpsc::channel(4 * BATCH);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || runtime.block_on(run(requests, Some(connection), connector)))?;
        Ok(Writer { inbox })
    }

    /// Has `op` written; durable when this returns.
    pub(super) async fn write(&self, op: Op) -> Result<Done, StoreError> {
        let gone = || StoreError::Failed("the writer has ended".into());
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Request { op, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn run(mut requests: mpsc::Receiver<Request>, mut connection: Option<AnyConnection>, connector: Connector) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let (ops, replies): (Vec<Op>, Vec<_>) = batch.drain(..).map(|request| (request.op, request.reply)).unzip();
        let results = commit_all(&mut connection, &connector, &ops).await;
        if ops.iter().any(|op| matches!(op, Op::Close)) {
            close(connection.take()).await;
        }
        let mut runnable = 0;
        for ((op, reply), result) in ops.iter().zip(replies).zip(results) {
            runnable += result.as_ref().map_or(0, |done| made_runnable(op, done));
            // A caller that is gone does not need its answer; what was written stays.
            drop(reply.send(result));
        }
        (0..runnable).for_each(|_| connector.work.notify_one());
    }
}

/// The last connection to a SQLite file moves its log into it.
async fn close(connection: Option<AnyConnection>) {
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(%error, "the database connection was not closed in order");
    }
}

fn made_runnable(op: &Op, done: &Done) -> u64 {
    match op {
        Op::Submit(_) => 1,
        Op::Release { delay, .. } if delay.is_zero() => done.moved,
        _ => done.swept.queued,
    }
}

/// All in one transaction, or else each in its own.
async fn commit_all(
    connection: &mut Option<AnyConnection>,
    connector: &Connector,
    ops: &[Op],
) -> Vec<Result<Done, StoreError>> {
    match commit(connection, connector, ops).await {
        Ok(done) => done.into_iter().map(Ok).collect(),
        Err(error) if ops.len() == 1 => vec![Err(error)],
        Err(_) => {
            let mut results = Vec::with_capacity(ops.len());
            for op in ops {
                let one = commit(connection, connector, std::slice::from_ref(op)).await;
                results.push(one.map(|mut done| done.swap_remove(0)));
            }
            results
        }
    }
}

/// One transaction, tried again while it meets others.
async fn commit(slot: &mut Option<AnyConnection>, connector: &Connector, ops: &[Op]) -> Result<Vec<Done>, StoreError> {
    let mut tries = 0;
    loop {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => super::open::connect(&connector.options, connector.statements.dialect).await?,
        };
        let error = match transaction(&mut connection, &connector.statements, ops).await {
            Ok(done) => {
                *slot = Some(connection);
                return Ok(done);
            }
            Err(error) => error,
        };
        // A connection whose transaction can't be undone is not used again.
        if sqlx::query("rollback").execute(&mut connection).await.is_ok() {
            *slot = Some(connection);
        }
        tries += 1;
        if !StoreError::is_conflict(&error) || tries == TRIES {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_millis(u64::from(tries) * 3 + u64::from(std::process::id() % 7))).await;
    }
}

async fn transaction(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
) -> Result<Vec<Done>, sqlx::Error> {
    if let Some(done) = script::run(connection, statements, ops).await {
        return done;
    }
    sqlx::query(statements.dialect.begin()).execute(&mut *connection).await?;
    let mut done: Vec<Done> = ops.iter().map(|_| Done::default()).collect();
    submit::all(connection, statements, ops, &mut done).await?;
    for (op, done) in ops.iter().zip(&mut done) {
        attempts::apply(connection, statements, op, done).await?;
    }
    sqlx::query("commit").execute(&mut *connection).await?;
    Ok(done)
}
