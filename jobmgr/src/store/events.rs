//! What became of jobs, change by change: an event for each change of a status, written in its transaction.
//!
//! SQLite writes them by triggers. For servers they follow from what the writes of a transaction came to. A job's
//! row is locked from its change to the commit, so the ids of its events are in the order of its changes. Whose ids
//! become visible first between jobs, nobody knows; see `position`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::finish::filled;
use super::position::{Read, Step};
use super::statements::Statements;
use super::submit::pieces;
use super::writer::{Done, Op};
use super::{Position, Store, StoreError, Submitted, keep, millis};
use crate::domain::job::{JobId, Reason, Status};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How far a first look goes back for events that are not there yet.
const BACK: i64 = 1000;
/// How many events of one job are read at once.
const OF_ONE: i64 = 1000;

/// A job came to a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Rises with the changes of a job.
    pub id: i64,
    /// The job.
    pub job_id: JobId,
    /// Whose job it is.
    pub user_id: i64,
    /// The name of its jobspec.
    pub name: String,
    /// To which status it came.
    pub status: Status,
    /// How often it was started until then.
    pub attempt: i64,
    /// Why it ended as it did.
    pub reason: Option<Reason>,
    /// When, in Unix milliseconds of the database's clock.
    pub at_ms: i64,
    /// How many artifacts its job has when this is read.
    pub artifacts: i64,
}

/// What a look at the events gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// What is new; those of a job in their order.
    pub events: Vec<Event>,
    /// Where the reader stands after each of them.
    pub standing: Vec<Position>,
    /// Where to look on from.
    pub next: Position,
    /// There may be more already.
    pub more: bool,
    /// For [`Position::step_to`] of another reader.
    pub read: Read,
}

/// The statements.
pub(super) struct Texts {
    /// Per row: job, status, attempt, reason, when; nothing: now.
    move_on: [Text; 4],
    /// Binds ids of jobs that have come to what their rows say.
    come: [Text; 4],
    /// Binds ids of jobs; gives of each what `move_on` takes.
    rows: [Text; 4],
    /// Binds: the last id that was seen, limit.
    after: Text,
    /// Binds holes, from and to, then what `after` binds. All of it is one look, so that no earlier event of a job can
    /// come up after a later one.
    with_holes: [Text; 4],
    last: Text,
    of_job: Text,
    highest: Text,
    /// Binds: how old, in milliseconds.
    old: Text,
    drop: Text,
    set_gone: Text,
}

/// Under which name the installation keeps the id up to which events were removed.
const GONE: &str = "events_gone";
/// How many events are removed at once.
const BATCH: i64 = 1000;

/// What is written of an event, beside when.
const MOVE: &str = "job_id, status, attempt, reason";

/// What so many jobs have come to, and when: those that run have just begun.
fn now_of(jobs: usize) -> String {
    let ids = vec!["?"; jobs].join(", ");
    format!("select id, status, attempt, reason, coalesce(finished_at, {{now}}) from jobs where id in ({ids})")
}

const EVENT: &str = "select e.id, e.job_id, j.user_id, j.name, e.status, e.attempt, e.reason, e.created_at, \
                     j.artifact_count, {now} from events e left join jobs j on j.id = e.job_id";

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        let after = format!("{EVENT} where e.id > ? order by e.id limit ?");
        Self {
            move_on: ROWS.map(|rows| {
                let rows = vec!["(?, ?, ?, ?, coalesce(cast(? as {bigint}), {now}))"; rows].join(", ");
                text(&format!("insert into events ({MOVE}, created_at) values {rows}"))
            }),
            come: ROWS.map(|rows| text(&format!("insert into events ({MOVE}, created_at) {}", now_of(rows)))),
            rows: ROWS.map(|rows| text(&now_of(rows))),
            with_holes: ROWS.map(|holes| {
                let holes = vec!["e.id between ? and ?"; holes].join(" or ");
                text(&format!("({EVENT} where {holes}) union all ({after}) order by 1"))
            }),
            after: text(&after),
            last: text(&format!("select id, created_at, {{now}} from events order by id desc limit {BACK}")),
            highest: text("select coalesce(max(id), 0) from events"),
            old: text(&format!(
                "select max(id) from (select id, created_at from events order by id limit {BATCH}) as oldest \
                 where created_at < {{now}} - ?"
            )),
            drop: text("delete from events where id <= ?"),
            set_gone: text("update installation set value = ? where name = ?"),
            of_job: text(&format!("{EVENT} where e.job_id = ? and e.id > ? order by e.id limit {OF_ONE}")),
        }
    }
}

impl Store {
    /// The next events after a position, at most about `limit`, of one user's jobs or of all; those of jobs that were
    /// removed since are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(&self, after: Position, user_id: Option<i64>, limit: u32) -> Result<Events, StoreError> {
        self.read(move |connection, statements| {
            let after = after.clone();
            Box::pin(async move {
                let mut found = next(connection, statements, after, limit).await?;
                if let Some(user) = user_id {
                    let theirs: Vec<bool> = found.events.iter().map(|event| event.user_id == user).collect();
                    let mut keep = theirs.iter();
                    found.standing.retain(|_| keep.next() == Some(&true));
                    found.events.retain(|event| event.user_id == user);
                }
                Ok(found)
            })
        })
        .await
    }

    /// The position of who has seen all events until now, and misses none that comes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_event(&self) -> Result<Position, StoreError> {
        self.read(|connection, statements| Box::pin(newest(connection, statements))).await
    }

    /// Where a reader goes on for whom events may be missing: they were removed, or they are of another time than this
    /// database, which was put back from a copy. `None`: nothing is missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn after_lost_events(&self, position: &Position) -> Result<Option<Position>, StoreError> {
        let high = position.highest();
        self.read(move |connection, statements| {
            Box::pin(async move {
                let gone = gone(connection, statements).await?;
                if high < gone {
                    return Ok(Some(Position::after(gone)));
                }
                let row = statements.query(&statements.events.highest).fetch_one(&mut *connection).await?;
                if high <= gone.max(row.try_get(0)?) {
                    return Ok(None);
                }
                let newest = newest(connection, statements).await?;
                Ok(Some(if newest.highest() < gone { Position::after(gone) } else { newest }))
            })
        })
        .await
    }

    /// Removes events that are older than `age`, some at a time; `false`: there are none.
    ///
    /// # Errors
    /// When the database fails. Doing it again does no harm.
    pub async fn drop_events(&self, age: Duration) -> Result<bool, StoreError> {
        self.shared.writer.write(Op::Keep(keep::Write::Events(age))).await.map(|done| done.moved > 0)
    }

    /// The next events of one job after the one with the id `after`, at most 1,000, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(&self, job: JobId, after: i64) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection, statements| {
            Box::pin(async move {
                let query = statements.query(&statements.events.of_job).bind(job).bind(after);
                let rows = query.fetch_all(connection).await?;
                rows.iter().filter_map(|row| event(row).transpose()).collect()
            })
        })
        .await
    }
}

fn read(statements: &Statements, now_ms: i64) -> Read {
    Read { now_ms, in_order: statements.dialect.numbers_in_order(), step: statements.id_step }
}

async fn next(
    connection: &mut AnyConnection,
    statements: &Statements,
    mut position: Position,
    limit: u32,
) -> Result<Events, StoreError> {
    let texts = &statements.events;
    let holes = position.holes();
    let size = ROWS.iter().rposition(|rows| *rows >= holes.len()).filter(|_| holes.len() > 0);
    let mut query = statements.query(size.map_or(&texts.after, |size| &texts.with_holes[size]));
    // What is left of the statement's places is filled with nothing.
    let nothing = size.map_or(0, |size| ROWS[size] - holes.len());
    for (first, last) in holes.chain(std::iter::repeat_n((1, 0), nothing)) {
        query = query.bind(first).bind(last);
    }
    let before = position.highest();
    let rows = query.bind(before).bind(i64::from(limit)).fetch_all(connection).await?;
    let (mut events, mut standing) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let now_ms = rows.first().map(|row| row.try_get(9)).transpose()?;
    let read = read(statements, now_ms.unwrap_or_default());
    let (mut above, mut whole) = (0, true);
    for row in &rows {
        let (id, at_ms): (i64, i64) = (row.try_get(0)?, row.try_get(7)?);
        whole = position.step_to(id, at_ms, read) == Step::New;
        if !whole {
            break;
        }
        above += u32::from(id > before);
        if let Some(event) = event(row)? {
            events.push(event);
            standing.push(position.clone());
        }
    }
    Ok(Events { events, standing, next: position, more: whole && above >= limit, read })
}

/// `None`: its job is gone, or came to what is no status: somebody has edited it, and nobody else should suffer.
fn event(row: &AnyRow) -> Result<Option<Event>, StoreError> {
    let (id, job_id): (i64, JobId) = (row.try_get(0)?, row.try_get(1)?);
    let Some(user_id) = row.try_get(2)? else { return Ok(None) };
    let word: String = row.try_get(4)?;
    let Some(status) = Status::from_word(&word) else { return Ok(None) };
    Ok(Some(Event {
        id,
        job_id,
        user_id,
        name: row.try_get(3)?,
        status,
        attempt: row.try_get(5)?,
        reason: row.try_get::<Option<String>, _>(6)?.and_then(|word| Reason::from_word(&word)),
        at_ms: row.try_get(7)?,
        artifacts: row.try_get(8)?,
    }))
}

async fn newest(connection: &mut AnyConnection, statements: &Statements) -> Result<Position, StoreError> {
    let mut rows = statements.query(&statements.events.last).fetch_all(connection).await?.into_iter().rev();
    let Some(first) = rows.next() else { return Ok(Position::default()) };
    let mut position = Position::after(first.try_get(0)?);
    for row in rows {
        let read = read(statements, row.try_get(2)?);
        if position.step_to(row.try_get(0)?, row.try_get(1)?, read) == Step::Later {
            break;
        }
    }
    Ok(position)
}

/// The id up to which events were removed; 0: none were.
async fn gone(connection: &mut AnyConnection, statements: &Statements) -> Outcome<i64> {
    let row = statements.query(&statements.installation).bind(GONE).fetch_optional(connection).await?;
    let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Removes some events that are older than `age`; says how many.
pub(super) async fn drop_old(connection: &mut AnyConnection, statements: &Statements, age: Duration) -> Outcome<u64> {
    let texts = &statements.events;
    let row = statements.query(&texts.old).bind(millis(age)).fetch_one(&mut *connection).await?;
    let Some(last) = row.try_get::<Option<i64>, _>(0)? else { return Ok(0) };
    let known = statements.query(&texts.set_gone).bind(last.to_string()).bind(GONE).execute(&mut *connection).await?;
    if known.rows_affected() == 0 {
        let insert = statements.query(&statements.set_installation).bind(GONE).bind(last.to_string());
        insert.execute(&mut *connection).await?;
    }
    Ok(statements.query(&texts.drop).bind(last).execute(connection).await?.rows_affected())
}

/// Whether a write that came to `done` may have left events.
pub(super) fn some(op: &Op, done: &Done) -> bool {
    let changes = match op {
        Op::Submit(_) => true,
        Op::SubmitAll { .. } => done.submitted.new_ones() > 0,
        Op::Finish { .. } => done.moved > 0,
        _ => !done.requeued.is_empty() || !done.ended.is_empty(),
    };
    changes || !done.claims.is_empty()
}

/// Writes the events of a transaction, unless the database has done so itself. Of a job that is queued or claimed again
/// and of one that ends there may be several, in this order; what has ended does not change again.
pub(super) async fn record(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &[Done],
) -> Outcome {
    if statements.dialect.records_events() {
        return Ok(());
    }
    let mut moves = Vec::new();
    for (op, done) in ops.iter().zip(done) {
        match (op, &done.submitted) {
            (Op::Submit(_), _) => moves.push(Move::queued(done.given.id, 0)),
            (Op::SubmitAll { .. }, Submitted::New(ids)) => moves.extend(ids.iter().map(|id| Move::queued(*id, 0))),
            _ => {}
        }
        moves.extend(done.requeued.iter().map(|(id, attempt)| Move::queued(*id, *attempt)));
    }
    let come = done.iter().flat_map(|done| done.ended.iter().copied().chain(done.claims.iter().map(|claim| claim.id)));
    let come = Vec::from_iter(come.collect::<BTreeSet<JobId>>());
    let texts = &statements.events;
    if !statements.dialect.numbers_what_it_selects() {
        for (size, ids) in filled(&come) {
            let select = ids.into_iter().fold(statements.query(&texts.rows[size]), |select, id| select.bind(id));
            for row in select.fetch_all(&mut *connection).await? {
                let (status, reason) = (Cow::Owned(row.try_get(1)?), row.try_get(3)?);
                let (job, attempt, at_ms) = (row.try_get(0)?, row.try_get(2)?, Some(row.try_get(4)?));
                moves.push(Move { job, status, attempt, reason, at_ms });
            }
        }
    }
    let mut moves = moves.into_iter();
    for size in pieces(moves.len()) {
        let insert = moves.by_ref().take(ROWS[size]).fold(statements.query(&texts.move_on[size]), |insert, one| {
            insert.bind(one.job).bind(one.status.into_owned()).bind(one.attempt).bind(one.reason).bind(one.at_ms)
        });
        insert.execute(&mut *connection).await?;
    }
    if statements.dialect.numbers_what_it_selects() {
        for (size, ids) in filled(&come) {
            let insert = ids.into_iter().fold(statements.query(&texts.come[size]), |insert, id| insert.bind(id));
            insert.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// An event to be written.
struct Move {
    job: JobId,
    status: Cow<'static, str>,
    attempt: i64,
    reason: Option<String>,
    /// `None`: now.
    at_ms: Option<i64>,
}

impl Move {
    fn queued(job: JobId, attempt: i64) -> Self {
        Self { job, status: Status::Queued.as_str().into(), attempt, reason: None, at_ms: None }
    }
}
