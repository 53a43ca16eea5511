//! Files that clients uploaded, and the jobs that they were given to.
//!
//! An uploaded file stays as long as a job has it. Who gives it to a job locks its row first and finds it there, and who
//! removes it locks its row first and finds no job: neither can come between the other's look and deed.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::keep::{PAGE, change, select};
use super::statements::Statements;
use super::submit::pieces;
use super::writer::{Done, Op};
use super::{Store, StoreError, millis};
use crate::domain::input::{Input, InputId, NewInput};
use crate::domain::job::JobId;
use crate::domain::submission::NewJob;

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// What is done with them.
pub(super) enum Write {
    /// A new one, whose object is in the store.
    Add(NewInput),
    /// Those of these that no job has are removed.
    Drop(Vec<InputId>),
}

/// The statements of this file.
pub(super) struct Texts {
    /// Binds: user, name, size, sha256, key.
    add: Text,
    some: [Text; 4],
    of_job: Text,
    lock: [Text; 4],
    /// Per row: job, input.
    give: [Text; 4],
    unused: Text,
    free: [Text; 4],
    drop: [Text; 4],
    given: [Text; 4],
    known: [Text; 4],
}

const INPUT: &str = "id, user_id, name, size, sha256, object_key, created_at";
const FREE: &str = "not exists (select 1 from job_inputs where job_inputs.input_id = inputs.id)";

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let among = |before: &str, column: &str, after: &str| {
            ROWS.map(|rows| text(&format!("{before} where {column} in ({}){after}", vec!["?"; rows].join(", "))))
        };
        let returning = if dialect.returns_ids() { " returning id" } else { "" };
        let give =
            |rows| format!("insert into job_inputs (job_id, input_id) values {}", vec!["(?, ?)"; rows].join(", "));
        let of_job = INPUT.split(", ").map(|column| format!("inputs.{column}")).collect::<Vec<_>>().join(", ");
        Self {
            add: text(&format!(
                "insert into inputs (user_id, name, size, sha256, object_key, created_at) values (?, ?, ?, ?, ?, \
                 {{now}}){returning}"
            )),
            some: among(&format!("select {INPUT} from inputs"), "id", ""),
            of_job: text(&format!(
                "select {of_job} from job_inputs join inputs on inputs.id = job_inputs.input_id \
                 where job_inputs.job_id = ? order by inputs.id"
            )),
            lock: among("select id from inputs", "id", " order by id{lock}"),
            give: ROWS.map(|rows| text(&give(rows))),
            unused: text(&format!(
                "select {INPUT} from inputs where created_at < {{now}} - ? and {FREE} order by id limit {PAGE}"
            )),
            free: among("select id, object_key from inputs", "id", &format!(" and {FREE}")),
            drop: among("delete from inputs", "id", ""),
            given: among("select distinct input_id from job_inputs", "job_id", ""),
            known: among("select object_key from inputs", "object_key", ""),
        }
    }
}

impl Store {
    /// Remembers an uploaded file, whose object is in the store.
    ///
    /// # Errors
    /// When the database fails. It may be remembered all the same, and is removed as one that no job has.
    pub async fn add_input(&self, input: NewInput) -> Result<InputId, StoreError> {
        self.shared.writer.write(Op::Input(Write::Add(input))).await.map(|done| done.id)
    }

    /// Those of these that are there, in the order of their ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn inputs(&self, ids: Vec<InputId>) -> Result<Vec<Input>, StoreError> {
        self.read(move |connection, statements| {
            let ids = ids.clone();
            Box::pin(async move {
                let rows = select(connection, statements, &statements.inputs.some, &ids).await?;
                let mut inputs = rows.iter().map(input).collect::<Outcome<Vec<_>>>()?;
                inputs.sort_by_key(|input| input.id);
                Ok(inputs)
            })
        })
        .await
    }

    /// What a job was given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn inputs_of(&self, job: JobId) -> Result<Vec<Input>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.inputs.of_job).bind(job).fetch_all(connection).await?;
                Ok(rows.iter().map(input).collect::<Outcome<Vec<_>>>()?)
            })
        })
        .await
    }

    /// Some of those that are older than `age` and that no job has, at most [`PAGE`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unused_inputs(&self, age: Duration) -> Result<Vec<Input>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let rows = statements.query(&statements.inputs.unused).bind(millis(age)).fetch_all(connection).await?;
                Ok(rows.iter().map(input).collect::<Outcome<Vec<_>>>()?)
            })
        })
        .await
    }

    /// Removes those of these that no job has; gives the keys of their objects, which are the caller's next work.
    ///
    /// # Errors
    /// When the database fails. Doing it again does no harm.
    pub async fn drop_inputs(&self, ids: Vec<InputId>) -> Result<Vec<String>, StoreError> {
        self.shared.writer.write(Op::Input(Write::Drop(ids))).await.map(|done| done.keys)
    }

    /// Those of these keys that an uploaded file has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_inputs(&self, keys: Vec<String>) -> Result<BTreeSet<String>, StoreError> {
        self.read(move |connection, statements| {
            let keys = keys.clone();
            Box::pin(async move {
                let (mut known, mut rest) = (BTreeSet::new(), keys.as_slice());
                for size in pieces(keys.len()) {
                    let (now, later) = rest.split_at(ROWS[size]);
                    rest = later;
                    let query = statements.query(&statements.inputs.known[size]);
                    let query = now.iter().fold(query, |query, key| query.bind(key.clone()));
                    for row in query.fetch_all(&mut *connection).await? {
                        known.insert(row.try_get(0)?);
                    }
                }
                Ok(known)
            })
        })
        .await
    }
}

fn input(row: &AnyRow) -> Outcome<Input> {
    Ok(Input {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        name: row.try_get("name")?,
        size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default(),
        sha256: row.try_get("sha256")?,
        key: row.try_get("object_key")?,
        created_ms: row.try_get("created_at")?,
    })
}

pub(super) async fn apply(
    connection: &mut AnyConnection,
    statements: &Statements,
    write: &Write,
    done: &mut Done,
) -> Outcome {
    match write {
        Write::Add(input) => done.id = add(connection, statements, input).await?,
        Write::Drop(ids) => done.keys = drop_unused(connection, statements, ids).await?,
    }
    Ok(())
}

async fn add(connection: &mut AnyConnection, statements: &Statements, input: &NewInput) -> Outcome<InputId> {
    let query = statements
        .query(&statements.inputs.add)
        .bind(input.user_id)
        .bind(input.name.clone())
        .bind(i64::try_from(input.size).unwrap_or(i64::MAX))
        .bind(input.sha256.clone())
        .bind(input.key.clone());
    if statements.dialect.returns_ids() {
        return query.fetch_one(connection).await?.try_get(0);
    }
    query.execute(connection).await?.last_insert_id().ok_or(sqlx::Error::RowNotFound)
}

/// Locks what these jobs are to be given; what of it is not there.
pub(super) async fn lock(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[NewJob],
) -> Outcome<Vec<InputId>> {
    let wanted: BTreeSet<InputId> = jobs.iter().flat_map(|job| job.inputs.iter().copied()).collect();
    let ids: Vec<InputId> = wanted.iter().copied().collect();
    let rows = select(connection, statements, &statements.inputs.lock, &ids).await?;
    let there = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<BTreeSet<InputId>>>()?;
    Ok(wanted.difference(&there).copied().collect())
}

/// Notes what these jobs were given.
pub(super) async fn give(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[NewJob],
    ids: &[JobId],
) -> Outcome {
    let of_job = |(job, id): (&NewJob, &JobId)| {
        let inputs: BTreeSet<InputId> = job.inputs.iter().copied().collect();
        let id = *id;
        inputs.into_iter().map(move |input| (id, input))
    };
    let pairs: Vec<(JobId, InputId)> = jobs.iter().zip(ids).flat_map(of_job).collect();
    let mut rest = pairs.as_slice();
    for size in pieces(pairs.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let query = statements.query(&statements.inputs.give[size]);
        let query = now.iter().fold(query, |query, (job, input)| query.bind(*job).bind(*input));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What these jobs have.
pub(super) async fn given(
    connection: &mut AnyConnection,
    statements: &Statements,
    jobs: &[JobId],
) -> Outcome<Vec<InputId>> {
    let rows = select(connection, statements, &statements.inputs.given, jobs).await?;
    // Two statements may give the same one.
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<BTreeSet<InputId>>>()?;
    Ok(ids.into_iter().collect())
}

/// Removes those of these that no job has; gives their keys.
pub(super) async fn drop_unused(
    connection: &mut AnyConnection,
    statements: &Statements,
    ids: &[InputId],
) -> Outcome<Vec<String>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    // A statement of its own: what it waited for is seen by the next one.
    select(connection, statements, &statements.inputs.lock, &ids).await?;
    let rows = select(connection, statements, &statements.inputs.free, &ids).await?;
    let free = rows.iter().map(|row| row.try_get(0)).collect::<Outcome<Vec<InputId>>>()?;
    change(connection, statements, &statements.inputs.drop, &free).await?;
    rows.iter().map(|row| row.try_get(1)).collect()
}
