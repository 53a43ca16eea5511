//! Pages of jobs, the newest first, and how many there are.

use std::time::Duration;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Arguments, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::read::{LISTED, listed};
use super::statements::Statements;
use super::submit::pieces;
use super::{Store, StoreError, millis};
use crate::domain::job::{Job, JobId, Status};

/// Over how long what happens is counted, for its rate.
pub const RATED: Duration = Duration::from_secs(5 * 60);

/// Which jobs are asked for: those of which all that is given is true.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// Where they stand.
    pub status: Option<Status>,
    /// The name of their jobspec.
    pub name: Option<String>,
    /// Whose they are.
    pub user_id: Option<i64>,
    /// Labels that they have.
    pub labels: Vec<(String, String)>,
    /// They were submitted after this, in Unix milliseconds.
    pub created_after_ms: Option<i64>,
    /// They were submitted before this, in Unix milliseconds.
    pub created_before_ms: Option<i64>,
    /// Their ids are lower.
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: u32,
}

/// How many jobs there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// By where they stand; a status that no job has may be left out.
    pub by_status: Vec<(Status, u64)>,
    /// How long the oldest job that could start waits, in milliseconds.
    pub oldest_queued_ms: Option<u64>,
    /// How many were submitted within the last [`RATED`].
    pub submitted: u64,
    /// How many ended within the last [`RATED`].
    pub finished: u64,
}

/// Jobs that have not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many there are by where they stand and the name of their jobspec.
    pub jobs: Vec<(Status, String, u64)>,
    /// How long the oldest job that could start waits, in milliseconds.
    pub oldest_queued_ms: Option<u64>,
}

/// The statements of this file that are always the same: of all jobs, of a user's.
pub(super) struct Texts {
    count: [Text; 2],
    oldest: [Text; 2],
    among: [Text; 4],
    unfinished: [Text; 2],
    submitted: [Text; 2],
    finished: [Text; 2],
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let count = |of: &str| dialect.text(&format!("select status, count(*) from jobs{of} group by status"));
        let oldest = |of: &str| {
            dialect.text(&format!(
                "select {{now}} - min(case when run_after > created_at then run_after else created_at end) from jobs \
                 where status = 'queued' and run_after <= {{now}}{of}"
            ))
        };
        let lately =
            |time: &str, of: &str| dialect.text(&format!("select count(*) from jobs where {time} > {{now}} - ?{of}"));
        let among =
            |rows| dialect.text(&format!("select {LISTED} from jobs where id in ({})", vec!["?"; rows].join(", ")));
        Self {
            count: ["", " where user_id = ?"].map(count),
            oldest: ["", " and user_id = ?"].map(oldest),
            among: ROWS.map(among),
            // In words, not bound: an index has queued jobs alone, and another one those that run.
            unfinished: ["queued", "started"].map(|status| {
                dialect.text(&format!("select name, count(*) from jobs where status = '{status}' group by name"))
            }),
            submitted: ["", " and user_id = ?"].map(|of| lately("created_at", of)),
            finished: ["", " and user_id = ?"].map(|of| lately("finished_at", of)),
        }
    }
}

impl Store {
    /// The newest of the jobs that are asked for, the newest first, without what they left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, asked: Asked) -> Result<Vec<Job>, StoreError> {
        self.read(move |connection, statements| {
            let asked = asked.clone();
            Box::pin(async move {
                let (template, values) = query(&asked)?;
                let text = statements.dialect.text(&template);
                let rows = statements.query_with(&text, values).fetch_all(connection).await?;
                rows.iter().map(|row| listed(row, row.try_get("id")?)).collect()
            })
        })
        .await
    }

    /// Those of these jobs that are there, as [`list`](Self::list) gives them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>, StoreError> {
        self.read(move |connection, statements| {
            let ids = ids.clone();
            Box::pin(async move {
                let mut jobs = Vec::with_capacity(ids.len());
                let mut rest = ids.as_slice();
                for size in pieces(ids.len()) {
                    let (now, later) = rest.split_at(ROWS[size]);
                    rest = later;
                    let query = statements.query(&statements.list.among[size]);
                    let query = now.iter().fold(query, |query, id| query.bind(*id));
                    for row in query.fetch_all(&mut *connection).await? {
                        jobs.push(listed(&row, row.try_get("id")?)?);
                    }
                }
                Ok(jobs)
            })
        })
        .await
    }

    /// How many jobs there are, of all users or of one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts(&self, user_id: Option<i64>) -> Result<Counts, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let of = |texts| of_user(statements, texts, user_id);
                let mut by_status = Vec::new();
                for row in of(&statements.list.count).fetch_all(&mut *connection).await? {
                    let (word, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
                    by_status
                        .extend(Status::from_word(&word).map(|status| (status, u64::try_from(count).unwrap_or(0))));
                }
                let oldest = of(&statements.list.oldest).fetch_one(&mut *connection).await?;
                let mut lately = [0, 0];
                for (texts, count) in [&statements.list.submitted, &statements.list.finished].iter().zip(&mut lately) {
                    let query = match user_id {
                        None => statements.query(&texts[0]).bind(millis(RATED)),
                        Some(user) => statements.query(&texts[1]).bind(millis(RATED)).bind(user),
                    };
                    let row = query.fetch_one(&mut *connection).await?;
                    *count = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
                }
                let [submitted, finished] = lately;
                Ok(Counts { by_status, oldest_queued_ms: age(&oldest)?, submitted, finished })
            })
        })
        .await
    }

    /// The jobs that have not ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.read(|connection, statements| {
            Box::pin(async move {
                let mut jobs = Vec::new();
                for (text, status) in statements.list.unfinished.iter().zip([Status::Queued, Status::Started]) {
                    for row in statements.query(text).fetch_all(&mut *connection).await? {
                        let (name, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
                        jobs.push((status, name, u64::try_from(count).unwrap_or(0)));
                    }
                }
                let oldest = of_user(statements, &statements.list.oldest, None).fetch_one(connection).await?;
                Ok(Backlog { jobs, oldest_queued_ms: age(&oldest)? })
            })
        })
        .await
    }
}

/// How long the oldest waits, if there is one.
fn age(row: &AnyRow) -> Result<Option<u64>, sqlx::Error> {
    let age: Option<i64> = row.try_get(0)?;
    Ok(age.map(|age| u64::try_from(age).unwrap_or(0)))
}

/// The statement of all jobs, or that of a user's with its value.
fn of_user<'q>(
    statements: &Statements,
    [all, one]: &'q [Text; 2],
    user_id: Option<i64>,
) -> Query<'q, Any, AnyArguments> {
    match user_id {
        None => statements.query(all),
        Some(user) => statements.query(one).bind(user),
    }
}

/// A statement of what is asked for, and its values. Only words of our own are in its text.
fn query(asked: &Asked) -> Result<(String, AnyArguments), sqlx::Error> {
    let mut values = AnyArguments::default();
    let mut holds = Vec::new();
    if let Some(status) = asked.status {
        // In words, not bound: an index has ended jobs alone.
        let ended = if status.is_terminal() { " and finished_at is not null" } else { "" };
        holds.push(format!("status = '{status}'{ended}"));
    }
    let mut bound = |hold: &str| holds.push(hold.to_owned());
    if let Some(name) = &asked.name {
        bound("name = ?");
        values.add(name.clone()).map_err(sqlx::Error::Encode)?;
    }
    for (hold, value) in [
        ("user_id = ?", asked.user_id),
        ("created_at > ?", asked.created_after_ms),
        ("created_at < ?", asked.created_before_ms),
        ("id < ?", asked.before),
    ] {
        if let Some(value) = value {
            bound(hold);
            values.add(value).map_err(sqlx::Error::Encode)?;
        }
    }
    for (name, value) in &asked.labels {
        bound("id in (select job_id from labels where labels.name = ? and labels.value = ?)");
        values.add(name.clone()).map_err(sqlx::Error::Encode)?;
        values.add(value.clone()).map_err(sqlx::Error::Encode)?;
    }
    values.add(i64::from(asked.limit)).map_err(sqlx::Error::Encode)?;
    let holds = if holds.is_empty() { String::new() } else { format!(" where {}", holds.join(" and ")) };
    Ok((format!("select {LISTED} from jobs{holds} order by id desc limit ?"), values))
}
