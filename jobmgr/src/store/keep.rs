//! What becomes old: looking through jobs in pages, and removing what has been kept for long enough.
//!
//! A terminal job never changes again, so what is read of it stays true until it is removed. Nothing else is removed
//! here: every statement says so, or follows one that did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::statements::{ARTIFACT, Statements};
use super::submit::pieces;
use super::writer::{Done, Op};
use super::{Store, StoreError, events, inputs, logs, read};
use crate::domain::job::{Artifact, JobId, LogBody, Status};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How many rows a page has.
pub const PAGE: usize = 500;

/// A job, as far as it matters for how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aging {
    /// The job.
    pub id: JobId,
    /// Where it stands; `None`: its row has another word.
    pub status: Option<Status>,
    /// The name of its jobspec.
    pub name: String,
    /// How long ago it ended, in milliseconds of the database's clock; `None`: nobody knows.
    pub age_ms: Option<i64>,
    /// How many artifacts it has.
    pub artifacts: i64,
}

/// The artifacts of one job, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldArtifacts {
    /// How many.
    pub count: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
}

/// What went with jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many jobs it were.
    pub jobs: u64,
    /// The keys of uploaded files that only they had; the objects are the caller's next work.
    pub inputs: Vec<String>,
}

/// The keys that rows of a job name; `None`: a row can't be read, and may name any.
pub type NamedKeys = BTreeMap<JobId, Option<BTreeSet<String>>>;

/// What is removed.
pub(super) enum Write {
    /// Rows of artifacts, by their ids.
    Artifacts(Vec<i64>),
    /// That a job still has artifacts; its owner is told why not.
    Mention(JobId, String),
    /// Jobs, with all of their rows.
    Jobs(Vec<JobId>),
    /// Events that are older than this.
    Events(Duration),
}

/// What belongs to jobs, by `job_id`, and goes with them.
const OF_JOBS: [&str; 8] =
    ["artifacts", "attempts", "chunks", "labels", "submissions", "events", "job_inputs", "job_webhooks"];

/// The statements of this file.
pub(super) struct Texts {
    highest: Text,
    page: Text,
    all_held: Text,
    held: [Text; 4],
    some_artifacts: Text,
    artifacts: [Text; 4],
    keys_of_artifacts: [Text; 4],
    keys_of_logs: [Text; 4],
    keys_of_attempts: [Text; 4],
    standings: [Text; 4],
    drop_artifacts: [Text; 4],
    drop_jobs: [Text; 4],
    left: [Text; 4],
    drop_all: [[Text; 4]; OF_JOBS.len()],
    strip: Text,
    notes: Text,
    set_notes: Text,
}

const TERMINAL: &str = "status in ('completed', 'failed', 'canceled')";

/// A log that is an object is a short text; one that is here itself may be long, and names no key.
fn short(column: &str) -> String {
    format!("case when length({column}) < 1024 then {column} end")
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let among = |before: &str, column: &str, after: &str| {
            ROWS.map(|rows| text(&format!("{before} where {column} in ({}){after}", vec!["?"; rows].join(", "))))
        };
        let logs = format!("{}, {}", short("stdout"), short("stderr"));
        Self {
            highest: text("select coalesce(max(id), 0) from jobs"),
            page: text(&format!(
                "select id, status, name, {{now}} - finished_at, artifact_count from jobs where id > ? \
                 order by id limit {PAGE}"
            )),
            all_held: text("select count(*), cast(coalesce(sum(size), 0) as {bigint}) from artifacts"),
            held: among(
                "select job_id, count(*), cast(coalesce(sum(size), 0) as {bigint}) from artifacts",
                "job_id",
                " group by job_id",
            ),
            some_artifacts: text(&format!(
                "select id, object_key from artifacts where job_id = ? order by id limit {PAGE}"
            )),
            artifacts: among(&format!("select {ARTIFACT} from artifacts"), "job_id", " order by id"),
            keys_of_artifacts: among("select job_id, object_key from artifacts", "job_id", ""),
            keys_of_logs: among(&format!("select id, {logs} from jobs"), "id", ""),
            keys_of_attempts: among(&format!("select job_id, {logs} from attempts"), "job_id", ""),
            standings: among("select id, status, attempt from jobs", "id", ""),
            drop_artifacts: among("delete from artifacts", "id", ""),
            drop_jobs: among("delete from jobs", "id", &format!(" and {TERMINAL}")),
            left: among("select id from jobs", "id", ""),
            drop_all: OF_JOBS.map(|table| among(&format!("delete from {table}"), "job_id", "")),
            strip: text(&format!("update jobs set artifact_count = 0 where id = ? and {TERMINAL}")),
            notes: text("select notes from jobs where id = ?"),
            set_notes: text("update jobs set notes = ? where id = ?"),
        }
    }
}

impl Store {
    /// The highest id that a job has, 0 without jobs: whoever is not there below it never will be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn highest_id(&self) -> Result<JobId, StoreError> {
        self.read(|connection, statements| {
            Box::pin(
                async move { Ok(statements.query(&statements.keep.highest).fetch_one(connection).await?.try_get(0)?) },
            )
        })
        .await
    }

    /// The next jobs after `after` by id, at most [`PAGE`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aging(&self, after: JobId) -> Result<Vec<Aging>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.keep.page).bind(after).fetch_all(connection).await?;
                rows.iter().map(aging).collect()
            })
        })
        .await
    }

    /// The artifacts of all jobs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_artifacts(&self) -> Result<HeldArtifacts, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let row = statements.query(&statements.keep.all_held).fetch_one(connection).await?;
                Ok(held(&row, 0)?)
            })
        })
        .await
    }

    /// The artifacts of each of these jobs; of those without, nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifacts_of(&self, jobs: Vec<JobId>) -> Result<BTreeMap<JobId, HeldArtifacts>, StoreError> {
        self.read(move |connection, statements| {
            let jobs = jobs.clone();
            Box::pin(async move {
                let rows = select(connection, statements, &statements.keep.held, &jobs).await?;
                let pairs = rows.iter().map(|row| Ok((row.try_get(0)?, held(row, 1)?)));
                Ok(pairs.collect::<Outcome<_>>()?)
            })
        })
        .await
    }

    /// The artifacts of these jobs, by their ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifacts_in(&self, jobs: Vec<JobId>) -> Result<Vec<Artifact>, StoreError> {
        self.read(move |connection, statements| {
            let jobs = jobs.clone();
            Box::pin(async move {
                let rows = select(connection, statements, &statements.keep.artifacts, &jobs).await?;
                Ok(rows.iter().map(read::artifact_from).collect::<Outcome<_>>()?)
            })
        })
        .await
    }

    /// Some artifacts of a job, at most [`PAGE`]: their ids and keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn some_artifacts(&self, job: JobId) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.keep.some_artifacts).bind(job).fetch_all(connection).await?;
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
            })
        })
        .await
    }

    /// Where these jobs stand, and in which attempt; of those that are not there, nothing. Without a status: the row
    /// has another word.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn standings(&self, jobs: Vec<JobId>) -> Result<BTreeMap<JobId, (Option<Status>, i64)>, StoreError> {
        self.read(move |connection, statements| {
            let jobs = jobs.clone();
            Box::pin(async move {
                let rows = select(connection, statements, &statements.keep.standings, &jobs).await?;
                let pairs = rows.iter().map(|row| {
                    let word: String = row.try_get(1)?;
                    Ok((row.try_get(0)?, (Status::from_word(&word), row.try_get(2)?)))
                });
                Ok(pairs.collect::<Outcome<_>>()?)
            })
        })
        .await
    }

    /// The keys that rows of these jobs name: of large output, and of artifacts if `artifacts` says so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn named_keys(&self, jobs: Vec<JobId>, artifacts: bool) -> Result<NamedKeys, StoreError> {
        self.read(move |connection, statements| {
            let jobs = jobs.clone();
            Box::pin(async move { Ok(named_keys(connection, statements, &jobs, artifacts).await?) })
        })
        .await
    }

    /// Removes rows of artifacts; their objects are the caller's next work.
    ///
    /// # Errors
    /// When the database fails. Doing it again does no harm; the same goes for the next two.
    pub async fn drop_artifacts(&self, ids: Vec<i64>) -> Result<(), StoreError> {
        self.keep(Write::Artifacts(ids)).await.map(drop)
    }

    /// Notes that an ended job has no artifacts any more, and tells its owner why, in a line.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mention(&self, job: JobId, why: &str) -> Result<(), StoreError> {
        self.keep(Write::Mention(job, why.to_owned())).await.map(drop)
    }

    /// Removes those of these jobs that have ended, with all of their rows and the uploaded files that no other job has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_jobs(&self, jobs: Vec<JobId>) -> Result<Dropped, StoreError> {
        let done = self.shared.writer.write(Op::Keep(Write::Jobs(jobs))).await?;
        Ok(Dropped { jobs: done.moved, inputs: done.keys })
    }

    async fn keep(&self, write: Write) -> Result<u64, StoreError> {
        self.shared.writer.write(Op::Keep(write)).await.map(|done| done.moved)
    }
}

/// A row that somebody broke is one of a job that does not age.
fn aging(row: &AnyRow) -> Result<Aging, StoreError> {
    let word: Option<String> = row.try_get(1).ok();
    Ok(Aging {
        id: row.try_get(0)?,
        status: word.and_then(|word| Status::from_word(&word)),
        name: row.try_get(2).unwrap_or_default(),
        age_ms: row.try_get(3).unwrap_or_default(),
        artifacts: row.try_get(4)?,
    })
}

fn held(row: &AnyRow, at: usize) -> Outcome<HeldArtifacts> {
    let number = |at: usize| row.try_get::<i64, _>(at).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(HeldArtifacts { count: number(at)?, bytes: number(at + 1)? })
}

/// The rows of these ids, by a statement of each size.
pub(super) async fn select(
    connection: &mut AnyConnection,
    statements: &Statements,
    texts: &[Text; 4],
    ids: &[i64],
) -> Outcome<Vec<AnyRow>> {
    let mut rows = Vec::new();
    let mut rest = ids;
    for size in pieces(ids.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let query = now.iter().fold(statements.query(&texts[size]), |query, id| query.bind(*id));
        rows.extend(query.fetch_all(&mut *connection).await?);
    }
    Ok(rows)
}

/// Runs a statement of each size for these ids; says how many rows it changed.
pub(super) async fn change(
    connection: &mut AnyConnection,
    statements: &Statements,
    texts: &[Text; 4],
    ids: &[i64],
) -> Outcome<u64> {
    let mut changed = 0;
    let mut rest = ids;
    for size in pieces(ids.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let query = now.iter().fold(statements.query(&texts[size]), |query, id| query.bind(*id));
        changed += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(changed)
}

async fn named_keys(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[JobId],
    artifacts: bool,
) -> Outcome<NamedKeys> {
    let mut named: NamedKeys = jobs.iter().map(|job| (*job, Some(BTreeSet::new()))).collect();
    for texts in [&statements.keep.keys_of_logs, &statements.keep.keys_of_attempts] {
        for row in select(connection, statements, texts, jobs).await? {
            let Some(keys) = named.get_mut(&row.try_get::<i64, _>(0)?) else { continue };
            for column in [row.try_get(1)?, row.try_get(2)?] {
                match (logs::from_column(column), keys.as_mut()) {
                    (Ok(log), Some(keys)) => keys.extend(match log.body {
                        LogBody::Object { key, .. } => Some(key),
                        LogBody::Inline(_) => None,
                    }),
                    _ => *keys = None,
                }
            }
        }
    }
    if artifacts {
        for row in select(connection, statements, &statements.keep.keys_of_artifacts, jobs).await? {
            if let Some(Some(keys)) = named.get_mut(&row.try_get::<i64, _>(0)?) {
                keys.insert(row.try_get(1)?);
            }
        }
    }
    Ok(named)
}

pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Outcome {
    done.moved = match write {
        Write::Artifacts(ids) => change(connection, statements, &statements.keep.drop_artifacts, ids).await?,
        Write::Mention(job, why) => mention(connection, statements, *job, why).await?,
        Write::Jobs(jobs) => drop_jobs(connection, statements, jobs, done).await?,
        Write::Events(age) => events::drop_old(connection, statements, *age).await?,
    };
    Ok(())
}

async fn mention(connection: &mut AnyConnection, statements: &Statements, job: JobId, why: &str) -> Outcome<u64> {
    let stripped = statements.query(&statements.keep.strip).bind(job).execute(&mut *connection).await?.rows_affected();
    let query = statements.query(&statements.keep.notes).bind(job);
    let Some(row) = query.fetch_optional(&mut *connection).await?.filter(|_| stripped > 0) else { return Ok(stripped) };
    // Notes that nobody can read stay as they are.
    let Ok(mut notes) = logs::notes_from_column(row.try_get(0)?) else { return Ok(stripped) };
    if notes.warnings.iter().all(|warning| warning != why) {
        notes.warnings.push(why.to_owned());
        let notes = logs::notes_to_column(&notes);
        statements.query(&statements.keep.set_notes).bind(notes).bind(job).execute(connection).await?;
    }
    Ok(stripped)
}

async fn drop_jobs(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[JobId],
    done: &mut Done,
) -> Outcome<u64> {
    let dropped = change(connection, statements, &statements.keep.drop_jobs, jobs).await?;
    let mut gone = jobs.to_vec();
    if dropped < jobs.len() as u64 {
        // Some were gone before; others have not ended, and nothing of theirs is touched.
        let left = select(connection, statements, &statements.keep.left, jobs).await?;
        let left = left.iter().map(|row| row.try_get(0)).collect::<Outcome<BTreeSet<JobId>>>()?;
        gone.retain(|job| !left.contains(job));
    }
    let inputs = inputs::given(connection, statements, &gone).await?;
    for texts in &statements.keep.drop_all {
        change(connection, statements, texts, &gone).await?;
    }
    done.keys = inputs::drop_unused(connection, statements, &inputs).await?;
    Ok(dropped)
}
