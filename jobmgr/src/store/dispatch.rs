//! What executors of libraries were given: from before they begin it until they have cleaned up after it.
//!
//! A job of an executor that can recover is not queued again when its holder goes away: it runs somewhere, and another
//! holder takes it over, in the same attempt.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, Text};
use super::statements::{HELD, Statements};
use super::writer::{Done, Op};
use super::{Store, StoreError, millis};
use crate::domain::job::{Claim, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How long a job may be without a holder before it is given up, or canceled where that was asked for: nobody has its
/// executor any more.
pub const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);
/// The same where its end was asked for.
pub const ABANDONED_CANCELED: Duration = Duration::from_secs(60);

/// A job that is about to be given to an executor.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// By which name jobspecs select the executor.
    pub executor: String,
    /// Which library it is, as JSON.
    pub about: String,
    /// Whether it can be taken over.
    pub recovers: bool,
    /// What it is given, as JSON, where it is needed again to recover it or to clean up after it.
    pub job: Option<String>,
}

/// A job that runs elsewhere, and whose holder is gone.
#[derive(Debug)]
pub struct Taken {
    /// By which name jobspecs select its executor.
    pub executor: String,
    /// The right to go on with it.
    pub claim: Claim,
    /// What its executor was given, as JSON.
    pub job: String,
    /// What its executor wants to know again; `None`: it was not said.
    pub handle: Option<Vec<u8>>,
    /// What may be uploaded for it from elsewhere, and what was; as [`Store::keep_uploads`] was given it.
    pub uploads: Option<String>,
    /// How long ago the attempt began.
    pub age: Duration,
    /// Whether its end was asked for.
    pub canceled: bool,
    /// The ids of the GPUs that it was given.
    pub gpus: Vec<String>,
}

/// What an executor may have left behind.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// The job.
    pub id: JobId,
    /// Which run of the job it was.
    pub attempt: i64,
    /// By which name jobspecs select the executor.
    pub executor: String,
    /// What the executor was given, as JSON.
    pub job: String,
    /// The last handle that it kept.
    pub handle: Option<Vec<u8>>,
}

/// What is written about dispatches.
pub(super) enum Write {
    Begin(Claim, Box<Dispatch>),
    Handle(Claim, Vec<u8>),
    Uploads(Claim, String),
    Detach(Claim, Duration),
    TakeOver { executor: String, worker: String, lease: Duration, most: u32 },
    Clean(JobId, i64),
    ForgetOutput(JobId, i64),
}

/// The statements.
pub(super) struct Texts {
    begin: Text,
    add: Text,
    handle: Text,
    uploads: Text,
    detach: Text,
    orphaned: Text,
    take: Text,
    forget_output: Text,
    dispatch: Text,
    clean: Text,
    leftovers: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let keep = |column: &str| {
            text(&format!(
                "update dispatches set {column} = ? where job_id = ? and attempt = ? and exists (select 1 from jobs \
                 where jobs.id = dispatches.job_id and jobs.epoch = ? and {{status}} = 'started')"
            ))
        };
        Self {
            begin: text(&format!("update jobs set executor = ?, recover_by = ? {HELD}")),
            add: text(&dialect.insert_new("dispatches (job_id, attempt, executor, job) values (?, ?, ?, ?)")),
            handle: keep("handle"),
            uploads: keep("uploads"),
            detach: text(&format!("update jobs set worker = null, lease_until = {{now}} + ? {HELD}")),
            orphaned: text(
                "select id, epoch, attempt, name, parameters, tries, started_at, created_at, coalesce(cancel_at, 0), \
                 {now} - started_at, max_retries, trace_parent, gpus from jobs where status = 'started' and lease_until < {now} and recover_by = ? \
                 order by lease_until limit ?{skip}",
            ),
            take: text(&format!("update jobs set worker = ?, lease_until = {{now}} + ?, epoch = epoch + 1 {HELD}")),
            forget_output: text("delete from chunks where job_id = ? and attempt = ? and stream <> 'executor'"),
            dispatch: text("select job, handle, uploads from dispatches where job_id = ? and attempt = ?"),
            clean: text("delete from dispatches where job_id = ? and attempt = ?"),
            leftovers: text(
                "select job_id, attempt, executor, job, handle from dispatches where executor = ? and not exists \
                 (select 1 from jobs where jobs.id = dispatches.job_id and jobs.attempt = dispatches.attempt \
                 and jobs.status = 'started') order by job_id, attempt limit 100",
            ),
        }
    }
}

impl Store {
    /// Says which executor is given the job, before it is; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dispatch(&self, claim: &Claim, dispatch: Dispatch) -> Result<bool, StoreError> {
        self.dispatched(Write::Begin(claim.clone(), Box::new(dispatch))).await.map(|done| done.moved > 0)
    }

    /// Keeps what an executor wants to know again; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_handle(&self, claim: &Claim, handle: Vec<u8>) -> Result<bool, StoreError> {
        self.dispatched(Write::Handle(claim.clone(), handle)).await.map(|done| done.moved > 0)
    }

    /// Keeps what may be uploaded for a job from elsewhere, and what was; `false`: the lease was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_uploads(&self, claim: &Claim, uploads: String) -> Result<bool, StoreError> {
        self.dispatched(Write::Uploads(claim.clone(), uploads)).await.map(|done| done.moved > 0)
    }

    /// Leaves a job that goes on elsewhere to whoever takes it over, after `delay` at the earliest; `false`: the lease
    /// was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn detach(&self, claim: &Claim, delay: Duration) -> Result<bool, StoreError> {
        self.dispatched(Write::Detach(claim.clone(), delay)).await.map(|done| done.moved > 0)
    }

    /// Takes over at most `most` jobs of an executor whose holders are gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(
        &self,
        executor: &str,
        worker: &str,
        lease: Duration,
        most: u32,
    ) -> Result<Vec<Taken>, StoreError> {
        let write = Write::TakeOver { executor: executor.to_owned(), worker: worker.to_owned(), lease, most };
        self.dispatched(write).await.map(|done| done.taken)
    }

    /// Forgets the pieces of an attempt's output: it is written again from its beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_output(&self, claim: &Claim) -> Result<(), StoreError> {
        self.dispatched(Write::ForgetOutput(claim.id, claim.attempt)).await.map(drop)
    }

    /// Forgets what an executor has cleaned up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cleaned(&self, id: JobId, attempt: i64) -> Result<(), StoreError> {
        self.dispatched(Write::Clean(id, attempt)).await.map(drop)
    }

    /// What an executor has not cleaned up yet of attempts that are over; at most 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leftovers(&self, executor: &str) -> Result<Vec<Leftover>, StoreError> {
        let executor = executor.to_owned();
        self.read(move |connection, statements| Box::pin(leftovers(connection, statements, executor.clone()))).await
    }

    async fn dispatched(&self, write: Write) -> Result<Done, StoreError> {
        self.shared.writer.write(Op::Dispatch(write)).await
    }
}

/// Does a write.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Outcome {
    let texts = &statements.dispatch;
    match write {
        Write::Begin(claim, dispatch) => {
            let recover_by = dispatch.recovers.then(|| dispatch.executor.clone());
            let query = statements.query(&texts.begin).bind(dispatch.about.clone()).bind(recover_by);
            let query = query.bind(claim.id).bind(claim.epoch);
            done.moved = query.execute(&mut *connection).await?.rows_affected();
            if let (1.., Some(job)) = (done.moved, &dispatch.job) {
                let query = statements.query(&texts.add).bind(claim.id).bind(claim.attempt);
                query.bind(dispatch.executor.clone()).bind(job.clone()).execute(connection).await?;
            }
        }
        Write::Handle(claim, handle) => {
            let query = statements.query(&texts.handle).bind(BASE64.encode(handle));
            let query = query.bind(claim.id).bind(claim.attempt).bind(claim.epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Write::Uploads(claim, uploads) => {
            let query = statements.query(&texts.uploads).bind(uploads.clone());
            let query = query.bind(claim.id).bind(claim.attempt).bind(claim.epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Write::Detach(claim, delay) => {
            let query = statements.query(&texts.detach).bind(millis(*delay)).bind(claim.id).bind(claim.epoch);
            done.moved = query.execute(connection).await?.rows_affected();
        }
        Write::TakeOver { executor, worker, lease, most } => {
            let query = statements.query(&texts.orphaned).bind(executor.clone()).bind(i64::from(*most));
            for row in query.fetch_all(&mut *connection).await? {
                done.taken.extend(take(connection, statements, &row, (executor, worker), *lease).await?);
            }
        }
        Write::ForgetOutput(id, attempt) => {
            let query = statements.query(&texts.forget_output).bind(*id).bind(*attempt);
            query.execute(connection).await?;
        }
        Write::Clean(id, attempt) => {
            let query = statements.query(&texts.clean).bind(*id).bind(*attempt);
            done.moved = query.execute(connection).await?.rows_affected();
        }
    }
    Ok(())
}

async fn take(
    connection: &mut AnyConnection,
    statements: &Statements,
    row: &sqlx::any::AnyRow,
    (executor, worker): (&str, &str),
    lease: Duration,
) -> Outcome<Option<Taken>> {
    let texts = &statements.dispatch;
    let (id, epoch, attempt): (JobId, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let query = statements.query(&texts.take).bind(worker.to_owned()).bind(millis(lease)).bind(id).bind(epoch);
    if query.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let dispatch = statements.query(&texts.dispatch).bind(id).bind(attempt).fetch_optional(connection).await?;
    let Some(dispatch) = dispatch else { return Ok(None) };
    let parameters: String = row.try_get(4)?;
    let claim = Claim {
        id,
        epoch: epoch + 1,
        attempt,
        name: row.try_get(3)?,
        parameters: serde_json::from_str(&parameters).map_err(|error| error.to_string()),
        tries: row.try_get(5)?,
        max_retries: row.try_get(10)?,
        last_chance: false,
        started_ms: row.try_get(6)?,
        created_ms: row.try_get(7)?,
        run_after_ms: 0,
        trace_parent: row.try_get(11)?,
        worker: worker.to_owned(),
    };
    Ok(Some(Taken {
        executor: executor.to_owned(),
        claim,
        job: dispatch.try_get(0)?,
        handle: handle(dispatch.try_get(1)?),
        uploads: dispatch.try_get(2)?,
        age: Duration::from_millis(u64::try_from(row.try_get::<i64, _>(9)?).unwrap_or_default()),
        canceled: row.try_get::<i64, _>(8)? != 0,
        gpus: super::gpus::from_column(row.try_get(12)?),
    }))
}

fn handle(column: Option<String>) -> Option<Vec<u8>> {
    column.and_then(|text| BASE64.decode(text).ok())
}

async fn leftovers(
    connection: &mut AnyConnection,
    statements: &Statements,
    executor: String,
) -> Result<Vec<Leftover>, StoreError> {
    let rows = statements.query(&statements.dispatch.leftovers).bind(executor).fetch_all(connection).await?;
    let leftover = |row: &sqlx::any::AnyRow| {
        Ok(Leftover {
            id: row.try_get(0)?,
            attempt: row.try_get(1)?,
            executor: row.try_get(2)?,
            job: row.try_get(3)?,
            handle: handle(row.try_get(4)?),
        })
    };
    rows.iter().map(leftover).collect::<Outcome<_>>().map_err(StoreError::from)
}
