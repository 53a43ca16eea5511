//! Waiting writes share one transaction and one fsync.
//!
//! Whatever waits when a commit ends goes into the next one. A transaction that fails as a whole is undone, and each
//! of its writes is tried in one of its own, so that a failure does not undo its neighbours. SQLite has one writing
//! connection; servers have a few, and one more that renews leases, whatever the others wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Connection, Executor};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::chunks::Chunk;
use super::claim::{self, Claiming};
use super::dispatch::{self, Taken};
use super::statements::Statements;
use super::submit::Given;
use super::wake::Wake;
use super::{
    Renewal, StoreError, Submitted, Swept, attempts, audit, deliveries, events, finish, gpus, inputs, keep, script,
    submit, tokens, webhooks, workers,
};
use crate::auth::Token;
use crate::crash::{self, Point};
use crate::domain::job::{Claim, Failure, Finish, JobId, Progress, Reason};
use crate::domain::submission::{Key, NewJob};
use crate::domain::webhook::Due;
use crate::metrics;

/// At most this many writes share a transaction.
const BATCH: usize = 256;
/// How long another process's transaction on a file usually takes at most.
const BRIEFLY: Duration = Duration::from_millis(20);
/// How long a file may be written to by others before a transaction gives up.
const LOCKED: Duration = Duration::from_secs(30);
/// How often a transaction is tried that met another one.
const TRIES: u32 = 20;

/// A write.
pub(super) enum Op {
    Submit(NewJob),
    /// All or none; with a key, once.
    SubmitAll {
        jobs: Vec<NewJob>,
        key: Option<Key>,
    },
    Claim {
        claiming: Claiming,
        limit: u32,
    },
    Finish {
        claim: Claim,
        finish: Arc<Finish>,
        next: Option<Claiming>,
    },
    /// All that a worker holds.
    Renew {
        worker: String,
        lease: Duration,
    },
    Progress {
        id: JobId,
        epoch: i64,
        progress: Progress,
    },
    Release {
        claim: Claim,
        delay: Duration,
        why: String,
    },
    /// As a release; a job that runs elsewhere is left to whoever takes it over.
    Leave(Claim),
    Retry {
        claim: Claim,
        failure: Arc<Failure>,
        delay: Duration,
    },
    LimitCrashes {
        id: JobId,
        epoch: i64,
        limit: i64,
    },
    Cancel(JobId),
    Chunk(Chunk),
    Crashed {
        id: JobId,
        epoch: i64,
    },
    Sweep,
    Bury {
        worker: String,
    },
    FailQueued {
        ids: Vec<JobId>,
        reason: Reason,
        error: String,
    },
    Worker(workers::Write),
    Dispatch(dispatch::Write),
    /// Gives GPUs to an attempt.
    Gpus(Claim, Vec<String>),
    Keep(keep::Write),
    Token(tokens::Write),
    Audit(audit::Write),
    Input(inputs::Write),
    Webhook(webhooks::Write),
    Delivery(deliveries::Write),
    /// Closes the connection once everything before it is written.
    Close,
}

impl Op {
    /// Whether doing it again does no harm when nobody knows if it was done.
    fn is_repeatable(&self) -> bool {
        match self {
            Op::Webhook(write) => return write.is_repeatable(),
            Op::Delivery(write) => return write.is_repeatable(),
            _ => {}
        }
        !matches!(
            self,
            Op::Submit(_)
                | Op::SubmitAll { key: None, .. }
                | Op::Claim { .. }
                | Op::Chunk(_)
                | Op::Input(inputs::Write::Add(_))
                | Op::Dispatch(dispatch::Write::TakeOver { .. })
                | Op::Token(tokens::Write::Create(_) | tokens::Write::CreateFirst(_))
        )
    }

    /// Whether it keeps leases: it must not wait behind anything else.
    fn is_urgent(&self) -> bool {
        matches!(self, Op::Renew { .. } | Op::Worker(workers::Write::Heartbeat(..)))
    }
}

/// What a write came to; each kind of write fills what it has.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What a new job was given.
    pub(super) given: Given,
    /// The number of whatever else is new.
    pub(super) id: JobId,
    /// What became of jobs that were submitted together.
    pub(super) submitted: Submitted,
    /// How many rows changed.
    pub(super) moved: u64,
    /// What is still held.
    pub(super) renewal: Renewal,
    /// Jobs that were claimed.
    pub(super) claims: Vec<Claim>,
    /// Jobs that were taken back.
    pub(super) swept: Swept,
    /// Jobs that were taken over.
    pub(super) taken: Vec<Taken>,
    /// The keys of objects that no row names any more.
    pub(super) keys: Vec<String>,
    /// Jobs that were queued again, each with its last attempt.
    pub(super) requeued: Vec<(JobId, i64)>,
    /// Jobs that this write ended.
    pub(super) ended: Vec<JobId>,
    /// A token that was made.
    pub(super) token: Option<Token>,
    /// Messages that were claimed.
    pub(super) due: Vec<Due>,
    /// The ids of GPUs that other jobs have.
    pub(super) in_use: Vec<String>,
}

struct Request {
    op: Op,
    reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// The queue in front of the writing connections.
pub(super) struct Writer {
    inbox: mpsc::Sender<Request>,
    /// Where there is a connection of its own for what is urgent.
    urgent: Option<mpsc::Sender<Request>>,
    lanes: usize,
}

/// Makes new writing connections.
pub(super) struct Connector {
    pub(super) options: sqlx::any::AnyConnectOptions,
    pub(super) statements: Arc<Statements>,
    pub(super) wake: Arc<Wake>,
}

type Inbox = Arc<Mutex<mpsc::Receiver<Request>>>;

impl Writer {
    /// Starts the threads that own the writing connections.
    ///
    /// Threads, not tasks: a write is a few short turns with the driver, and a thread that waits for each is woken in
    /// half the time that the scheduler takes to find a task.
    pub(super) fn start(connection: AnyConnection, connector: Connector) -> std::io::Result<Writer> {
        let connector = Arc::new(connector);
        let lanes = connector.statements.dialect.lanes();
        let (inbox, requests) = mpsc::channel(4 * BATCH);
        let requests = Arc::new(Mutex::new(requests));
        let mut connection = Some(connection);
        let own = lanes > 1;
        for _ in 0..lanes {
            lane("store-writer", Arc::clone(&requests), connection.take(), Arc::clone(&connector), own)?;
        }
        let urgent = if lanes > 1 {
            let (urgent, requests) = mpsc::channel(BATCH);
            lane("store-leases", Arc::new(Mutex::new(requests)), None, connector, own)?;
            Some(urgent)
        } else {
            None
        };
        Ok(Writer { inbox, urgent, lanes })
    }

    /// Has `op` written; durable when this returns.
    pub(super) async fn write(&self, op: Op) -> Result<Done, StoreError> {
        let gone = || StoreError::Failed("the writer has ended".into());
        let (reply, answer) = oneshot::channel();
        let inbox = self.urgent.as_ref().filter(|_| op.is_urgent()).unwrap_or(&self.inbox);
        inbox.send(Request { op, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Closes every connection, once what waits is written.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        for _ in 0..self.lanes {
            self.write(Op::Close).await?;
        }
        Ok(())
    }
}

/// `own`: whether the thread sees to its connection itself, as one to a server wants it: its answer is then heard by who
/// waits for it, and not by another thread first.
fn lane(
    name: &str,
    requests: Inbox,
    connection: Option<AnyConnection>,
    connector: Arc<Connector>,
    own: bool,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    if own {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread.spawn(move || runtime.block_on(run(requests, None, connector))).map(drop)
    } else {
        let runtime = tokio::runtime::Handle::current();
        thread.spawn(move || runtime.block_on(run(requests, connection, connector))).map(drop)
    }
}

async fn run(requests: Inbox, mut connection: Option<AnyConnection>, connector: Arc<Connector>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.lock().await.recv_many(&mut batch, BATCH).await > 0 {
        let (mut ops, mut replies): (Vec<Op>, Vec<_>) =
            batch.drain(..).map(|request| (request.op, request.reply)).unzip();
        let mut more = |ops: &mut Vec<Op>| {
            let Ok(mut requests) = requests.try_lock() else { return };
            while ops.len() < BATCH
                && let Ok(request) = requests.try_recv()
            {
                ops.push(request.op);
                replies.push(request.reply);
            }
        };
        let results = commit_all(&mut connection, &connector, &mut ops, &mut more).await;
        let closing = ops.iter().any(|op| matches!(op, Op::Close));
        if closing {
            close(connection.take()).await;
        }
        if ops.iter().zip(&results).any(|(op, result)| result.as_ref().is_ok_and(|done| events::some(op, done))) {
            connector.wake.changed();
        }
        if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
            metrics::database_error(error.kind());
        }
        for ((op, reply), result) in ops.iter().zip(replies).zip(results) {
            if let (Op::Finish { .. }, Ok(_)) = (op, &result) {
                crash::at(Point::AfterCommit);
            }
            if let Ok(done) = &result {
                signal(&connector.wake, op, done);
            }
            // A caller that is gone does not need its answer; what was written stays.
            drop(reply.send(result));
        }
        if closing {
            return;
        }
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

/// Tells of what others may wait for.
fn signal(wake: &Wake, op: &Op, done: &Done) {
    let new = match op {
        Op::Submit(_) => 1,
        Op::SubmitAll { .. } => done.submitted.new_ones(),
        _ => 0,
    };
    if new > 0 {
        metrics::submitted(new);
    }
    let runnable = match op {
        Op::Submit(_) | Op::SubmitAll { .. } => new,
        Op::Release { delay, .. } | Op::Retry { delay, .. } if delay.is_zero() => done.moved,
        Op::Leave(_) => done.moved,
        _ => done.swept.queued,
    };
    if runnable > 0 {
        wake.work(runnable);
    }
    match op {
        Op::Finish { claim, .. } => wake.news.tell(claim.id),
        Op::Cancel(id) => wake.news.tell(*id),
        _ => done.ended.iter().for_each(|id| wake.news.tell(*id)),
    }
    done.requeued.iter().for_each(|(id, _)| wake.news.tell(*id));
    done.claims.iter().for_each(|claim| wake.news.tell(claim.id));
    if let Op::Delivery(write) = op
        && write.makes_due()
        && done.moved > 0
    {
        wake.messages.notify_one();
    }
    if let Op::Cancel(id) = op
        && done.moved > 0
    {
        wake.cancel(*id);
    }
}

/// Why a transaction did not come to its end.
enum Broken {
    /// Nothing of it was done.
    Undone(StoreError),
    /// The answer to its commit was lost.
    Unknown(StoreError),
}

/// All in one transaction, or else each in its own. `more` adds what came while it was waited for the database.
async fn commit_all(
    connection: &mut Option<AnyConnection>,
    connector: &Connector,
    ops: &mut Vec<Op>,
    more: &mut dyn FnMut(&mut Vec<Op>),
) -> Vec<Result<Done, StoreError>> {
    let broken = match commit(connection, connector, ops, more).await {
        Ok(done) => return done.into_iter().map(Ok).collect(),
        Err(broken) => broken,
    };
    let mut results = Vec::with_capacity(ops.len());
    let alone = ops.len() == 1;
    for op in std::mem::take(ops) {
        let mut op = vec![op];
        let result = match &broken {
            // There is nobody to ask; each of them would wait for as long.
            Broken::Undone(error @ StoreError::Unavailable(_)) => Err(error.clone()),
            Broken::Undone(error) if alone => Err(error.clone()),
            Broken::Unknown(error) if !op[0].is_repeatable() => Err(error.clone()),
            Broken::Undone(_) | Broken::Unknown(_) => {
                let one = commit(connection, connector, &mut op, &mut |_| {}).await;
                one.map(|mut done| done.swap_remove(0))
                    .map_err(|(Broken::Undone(error) | Broken::Unknown(error))| error)
            }
        };
        results.push(result);
        ops.append(&mut op);
    }
    results
}

/// One transaction, tried again while it meets others, or when its connection was lost before the commit. Before it asks
/// a busy file again, `more` adds what else has come: whoever has to wait has more to write at once.
async fn commit(
    slot: &mut Option<AnyConnection>,
    connector: &Connector,
    ops: &mut Vec<Op>,
    more: &mut dyn FnMut(&mut Vec<Op>),
) -> Result<Vec<Done>, Broken> {
    let dialect = connector.statements.dialect;
    let mut tries = 0;
    let mut reconnected = false;
    let asked = Instant::now();
    loop {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                reconnected = true;
                let connected = super::open::connect_to_write(&connector.options, dialect).await;
                connected.map_err(|error| Broken::Undone(error.into()))?
            }
        };
        let mut committing = false;
        let work = transaction(&mut connection, &connector.statements, ops, &mut committing);
        let error = match tokio::time::timeout(dialect.patience(), work).await {
            Ok(Ok(done)) => {
                *slot = Some(connection);
                return Ok(done);
            }
            Ok(Err(error)) => error,
            // The connection may hang for hours yet; dropping it closes it.
            Err(_) if committing => return Err(Broken::Unknown(StoreError::silent())),
            Err(_) => return Err(Broken::Undone(StoreError::silent())),
        };
        if StoreError::is_lost(&error) {
            if committing {
                return Err(Broken::Unknown(error.into()));
            }
            if reconnected {
                return Err(Broken::Undone(error.into()));
            }
            continue;
        }
        if dialect.asks_for_its_lock() && StoreError::is_busy(&error) && asked.elapsed() < LOCKED {
            // Usually nothing has begun, and there is nothing to undo.
            drop(connection.execute("rollback").await);
            *slot = Some(connection);
            let pause = if asked.elapsed() < BRIEFLY { 50..300 } else { 1000..5000 };
            std::thread::sleep(Duration::from_micros(fastrand::u64(pause)));
            // Who comes late has to have time left.
            if asked.elapsed() < LOCKED / 2 {
                more(ops);
            }
            continue;
        }
        // A connection whose transaction can't be undone is not used again.
        let undo = tokio::time::timeout(dialect.patience(), connection.execute("rollback"));
        if matches!(undo.await, Ok(Ok(_))) {
            *slot = Some(connection);
        }
        tries += 1;
        if StoreError::is_conflict(&error) {
            metrics::conflict();
        }
        if !StoreError::is_conflict(&error) || tries == TRIES {
            return Err(Broken::Undone(error.into()));
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=4) * u64::from(tries))).await;
    }
}

/// What was done and is not committed yet.
fn inside(ops: &[Op], done: &[Done]) {
    for (op, done) in ops.iter().zip(done) {
        match op {
            Op::Finish { .. } => crash::at(Point::BeforeCommit),
            Op::Renew { .. } if !done.renewal.renewed.is_empty() => crash::at(Point::InRenewal),
            Op::Sweep if done.swept.queued > 0 => crash::at(Point::InSweep),
            Op::Release { .. } | Op::Leave(_) => crash::at(Point::InRelease),
            _ => {}
        }
        if !done.claims.is_empty() {
            crash::at(Point::InClaim);
        }
    }
}

async fn transaction(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    committing: &mut bool,
) -> Result<Vec<Done>, sqlx::Error> {
    if let Some(done) = script::run(connection, statements, ops).await {
        return done;
    }
    connection.execute(sqlx::raw_sql(statements.dialect.begin())).await?;
    let mut done: Vec<Done> = ops.iter().map(|_| Done::default()).collect();
    submit::all(connection, statements, ops, &mut done).await?;
    finish::together(connection, statements, ops, &mut done).await?;
    gpus::lock_all(connection, statements, ops).await?;
    for (op, done) in ops.iter().zip(&mut done) {
        attempts::apply(connection, statements, op, done).await?;
    }
    claim::all(connection, statements, ops, &mut done).await?;
    events::record(connection, statements, ops, &done).await?;
    inside(ops, &done);
    *committing = true;
    connection.execute(sqlx::raw_sql("commit")).await?;
    Ok(done)
}
