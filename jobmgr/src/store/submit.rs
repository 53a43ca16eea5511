//! New jobs.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::statements::Statements;
use super::writer::{Done, Op};
use super::{Store, StoreError, inputs, webhooks};
use crate::domain::input::InputId;
use crate::domain::job::JobId;
use crate::domain::submission::{Key, NewJob};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// What became of jobs that were submitted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// They are queued, in their order.
    New(Vec<JobId>),
    /// The same was submitted before, and this job came of it.
    Before(JobId),
    /// Something else was submitted with the same key, and this job came of it.
    Otherwise(JobId),
    /// None is queued: these uploaded files are not there.
    NoInput(Vec<InputId>),
}

/// What the database gave a new job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Given {
    /// Its number.
    pub id: JobId,
    /// When it was queued, in Unix milliseconds, where the database says so at once.
    pub created_ms: Option<i64>,
}

impl Default for Submitted {
    fn default() -> Self {
        Submitted::New(Vec::new())
    }
}

impl Submitted {
    /// How many jobs are queued now that were not before.
    pub(super) fn new_ones(&self) -> u64 {
        match self {
            Submitted::New(ids) => ids.len() as u64,
            Submitted::Before(_) | Submitted::Otherwise(_) | Submitted::NoInput(_) => 0,
        }
    }
}

/// The statements of this file, but for that which inserts jobs.
pub(super) struct Texts {
    /// Binds: user, key, digest. Does nothing where the user has this key.
    remember: Text,
    remembered: Text,
    became: Text,
    /// Per row: name, value, job.
    label: [Text; 4],
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let label =
            |rows| format!("insert into labels (name, value, job_id) values {}", vec!["(?, ?, ?)"; rows].join(", "));
        Self {
            remember: text(&dialect.insert_new("submissions (user_id, key_text, digest, job_id) values (?, ?, ?, 0)")),
            remembered: text("select digest, job_id from submissions where user_id = ? and key_text = ?"),
            became: text("update submissions set job_id = ? where user_id = ? and key_text = ?"),
            label: ROWS.map(|rows| text(&label(rows))),
        }
    }
}

impl Store {
    /// Queues a job; it is durable when this returns.
    ///
    /// # Errors
    /// When the database fails. Unless the answer to the commit was lost, the job is not queued then.
    pub async fn submit(&self, job: NewJob) -> Result<JobId, StoreError> {
        if job.inputs.is_empty() {
            return self.submit_alone(job).await.map(|given| given.id);
        }
        self.submit_all(vec![job]).await.map(|ids| ids.first().copied().unwrap_or_default())
    }

    /// Queues a job that is given no files, and tells what became of it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_alone(&self, job: NewJob) -> Result<Given, StoreError> {
        self.shared.writer.write(Op::Submit(job)).await.map(|done| done.given)
    }

    /// Queues all of these jobs, or none; they are durable when this returns.
    ///
    /// # Errors
    /// When the database fails. Unless the answer to the commit was lost, none is queued then.
    pub async fn submit_all(&self, jobs: Vec<NewJob>) -> Result<Vec<JobId>, StoreError> {
        match self.submit_together(jobs, None).await? {
            Submitted::New(ids) => Ok(ids),
            Submitted::Before(id) | Submitted::Otherwise(id) => Ok(vec![id]),
            Submitted::NoInput(ids) => Err(StoreError::Failed(format!("there are no uploaded files {ids:?}"))),
        }
    }

    /// Queues all of these jobs, or none: not if an uploaded file is missing, and with a key once, as long as the first
    /// job is kept.
    ///
    /// # Errors
    /// When the database fails. With a key, asking again does no harm.
    pub async fn submit_together(&self, jobs: Vec<NewJob>, key: Option<Key>) -> Result<Submitted, StoreError> {
        self.shared.writer.write(Op::SubmitAll { jobs, key }).await.map(|done| done.submitted)
    }

    /// Queues a job, once of all times that its user submits with this key, as long as the job is kept.
    ///
    /// # Errors
    /// When the database fails; asking again does no harm.
    pub async fn submit_once(&self, job: NewJob, key: Key) -> Result<Submitted, StoreError> {
        self.submit_together(vec![job], Some(key)).await
    }
}

/// The submissions among `ops`, in their order.
pub(super) fn among(ops: &[Op]) -> Vec<&NewJob> {
    let new = ops.iter().filter_map(|op| if let Op::Submit(job) = op { Some(job) } else { None });
    new.collect()
}

/// Inserts every submission among `ops`, many rows to a statement.
pub(super) async fn all(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &mut [Done],
) -> Outcome {
    let given = insert(connection, statements, &among(ops), None).await?;
    let places = ops.iter().zip(done).filter(|(op, _)| matches!(op, Op::Submit(_)));
    for ((_, done), given) in places.zip(given) {
        done.given = given;
    }
    Ok(())
}

/// Inserts all of them, unless the first one's user has submitted with this key before.
pub(super) async fn together(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[NewJob],
    key: Option<&Key>,
) -> Outcome<Submitted> {
    let texts = &statements.submissions;
    let user = jobs.first().map_or(0, |job| job.user_id);
    let missing = inputs::lock(connection, statements, jobs).await?;
    if !missing.is_empty() {
        return Ok(Submitted::NoInput(missing));
    }
    if let Some(Key { text, digest }) = key {
        let remember = statements.query(&texts.remember).bind(user).bind(text.clone()).bind(digest.clone());
        // Where somebody else is just doing the same, this waits for them.
        if remember.execute(&mut *connection).await?.rows_affected() == 0 {
            let known = statements.query(&texts.remembered).bind(user).bind(text.clone());
            let known = known.fetch_one(connection).await?;
            let (before, id): (String, JobId) = (known.try_get(0)?, known.try_get(1)?);
            return Ok(if before == *digest { Submitted::Before(id) } else { Submitted::Otherwise(id) });
        }
    }
    let given = insert(connection, statements, &jobs.iter().collect::<Vec<_>>(), key).await?;
    let ids: Vec<JobId> = given.into_iter().map(|given| given.id).collect();
    inputs::give(connection, statements, jobs, &ids).await?;
    if let (Some(key), Some(id)) = (key, ids.first()) {
        let became = statements.query(&texts.became).bind(*id).bind(user).bind(key.text.clone());
        became.execute(connection).await?;
    }
    Ok(Submitted::New(ids))
}

async fn insert(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[&NewJob],
    key: Option<&Key>,
) -> Outcome<Vec<Given>> {
    let mut rest = jobs;
    let mut all = Vec::with_capacity(jobs.len());
    for size in pieces(jobs.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let mut values = AnyArguments::default();
        bind(&mut values, now, key)?;
        let insert = statements.query_with(&statements.submit[size], values);
        if statements.dialect.returns_ids() {
            all.extend(given(&insert.fetch_all(&mut *connection).await?)?);
        } else {
            let first = insert.execute(&mut *connection).await?.last_insert_id().ok_or(sqlx::Error::RowNotFound)?;
            // The server numbers the rows of one such INSERT one after the other.
            let ids = (first..).step_by(usize::try_from(statements.id_step).unwrap_or(1)).take(now.len());
            all.extend(ids.map(|id| Given { id, created_ms: None }));
        }
    }
    let ids: Vec<JobId> = all.iter().map(|given| given.id).collect();
    label(connection, statements, jobs, &ids).await?;
    webhooks::add_own(connection, statements, jobs, &ids).await?;
    Ok(all)
}

/// Writes their labels, many to a statement.
async fn label(connection: &mut AnyConnection, statements: &Statements, jobs: &[&NewJob], ids: &[JobId]) -> Outcome {
    let pairs = jobs.iter().zip(ids);
    let labels: Vec<_> =
        pairs.flat_map(|(job, id)| job.labels.iter().map(move |(name, value)| (name, value, *id))).collect();
    let mut rest = labels.as_slice();
    for size in pieces(labels.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let insert = statements.query(&statements.submissions.label[size]);
        let insert = now
            .iter()
            .fold(insert, |insert, (name, value, id)| insert.bind((*name).clone()).bind((*value).clone()).bind(*id));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// So many rows as statements of the sizes that there are: places in [`ROWS`], largest first.
pub(super) fn pieces(mut rows: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let size = ROWS.iter().position(|size| *size <= rows)?;
        rows -= ROWS[size];
        Some(size)
    })
}

/// Binds what statements for these jobs need.
pub(super) fn bind(values: &mut AnyArguments, jobs: &[&NewJob], key: Option<&Key>) -> Outcome {
    let encoded = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    for job in jobs {
        let labels = (!job.labels.is_empty()).then(|| serde_json::to_string(&job.labels)).transpose();
        values.add(job.priority).map_err(sqlx::Error::Encode)?;
        values.add(job.name.clone()).map_err(sqlx::Error::Encode)?;
        values.add(serde_json::to_string(&job.parameters).map_err(encoded)?).map_err(sqlx::Error::Encode)?;
        values.add(job.user_id).map_err(sqlx::Error::Encode)?;
        values.add(job.run_after_ms.unwrap_or_default()).map_err(sqlx::Error::Encode)?;
        values.add(job.run_after_ms).map_err(sqlx::Error::Encode)?;
        values.add(job.queue_timeout.map(super::millis)).map_err(sqlx::Error::Encode)?;
        values.add(labels.map_err(encoded)?).map_err(sqlx::Error::Encode)?;
        values.add(job.max_retries).map_err(sqlx::Error::Encode)?;
        values.add(job.retry_of).map_err(sqlx::Error::Encode)?;
        values.add(key.map(|key| key.text.clone())).map_err(sqlx::Error::Encode)?;
        values.add(job.trace_parent.as_ref().map(ToString::to_string)).map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

/// What new rows were given, in their order: a statement numbers its rows one after the other, but may return them in
/// any order.
pub(super) fn given(rows: &[AnyRow]) -> Outcome<Vec<Given>> {
    let given = |row: &AnyRow| Ok(Given { id: row.try_get(0)?, created_ms: Some(row.try_get(1)?) });
    let mut all = rows.iter().map(given).collect::<Outcome<Vec<_>>>()?;
    all.sort_unstable();
    Ok(all)
}
