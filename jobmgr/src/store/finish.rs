//! Attempts that end their jobs.
//!
//! Those that end at the same time on a server are written together: each statement is a turn with it, and the turns are
//! what their transaction takes its time for.

use std::collections::HashMap;

use sqlx::any::AnyArguments;
use sqlx::{AnyConnection, Arguments, Row};

use super::dialect::{Dialect, ROWS, Text};
use super::statements::{HELD, Statements};
use super::submit::pieces;
use super::writer::{Done, Op};
use super::{attempts, chunks, logs};
use crate::domain::job::{Artifact, Claim, Finish, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// Of ends that are written together none is larger than this, in bytes: what a server takes at once is limited.
const LARGE: usize = 32 << 10;

/// The columns that a finish sets, and whether a job that was to be canceled has them otherwise.
const COLUMNS: [(&str, Kind, bool); 10] = [
    ("status", Kind::Text, true),
    ("reason", Kind::Text, true),
    ("error", Kind::Text, true),
    ("exit_code", Kind::Number, false),
    ("signal_number", Kind::Number, false),
    ("stdout", Kind::Text, false),
    ("stderr", Kind::Text, false),
    ("output", Kind::Text, false),
    ("notes", Kind::Text, false),
    ("artifact_count", Kind::Number, false),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
}

/// What goes into one of them.
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Value::Text(text) => text.as_ref().map_or(0, String::len),
            Value::Number(_) => 0,
        }
    }
}

/// The statements of this file.
pub(super) struct Texts {
    /// Binds what [`bind`] binds.
    one: Text,
    /// Binds ids: locks those that are held, and gives their epochs.
    lock: [Text; 4],
    /// Binds for each column pairs of an id and a value, then the ids.
    together: [Text; 4],
    /// Per row: job, attempt, name, mime, size, uuid, sha256, key.
    artifacts: [Text; 4],
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let artifacts = "artifacts (job_id, attempt, name, mime, size, uuid, sha256, object_key, created_at)";
        let artifact = "(?, ?, ?, ?, ?, ?, ?, ?, {now})";
        Self {
            one: dialect.text(&format!("update jobs set {} {HELD}", assignments(|_| "?".to_owned()))),
            lock: ROWS.map(|rows| {
                let ids = vec!["?"; rows].join(", ");
                dialect
                    .text(&format!("select id, epoch from jobs where id in ({ids}) and {{status}} = 'started'{{lock}}"))
            }),
            together: ROWS.map(|rows| {
                let set = assignments(|kind| {
                    let value =
                        if kind == Kind::Number { " when ? then cast(? as {bigint})" } else { " when ? then ?" };
                    format!("case id{} end", value.repeat(rows))
                });
                dialect.text(&format!("update jobs set {set} where id in ({})", vec!["?"; rows].join(", ")))
            }),
            artifacts: ROWS.map(|rows| {
                dialect.text(&format!("insert into {artifacts} values {}", vec![artifact; rows].join(", ")))
            }),
        }
    }

    /// That of one finish, for which [`bind`] binds.
    pub(super) fn one(&self) -> &Text {
        &self.one
    }
}

fn assignments(value: impl Fn(Kind) -> String) -> String {
    let columns = COLUMNS.iter().map(|(name, kind, guarded)| match (value(*kind), guarded) {
        (value, true) => format!("{name} = case when cancel_at is null then {value} else 'canceled' end"),
        (value, false) => format!("{name} = {value}"),
    });
    let columns: Vec<_> = columns.collect();
    format!("{}, finished_at = {{now}}, lease_until = null", columns.join(", "))
}

/// What goes into [`COLUMNS`].
fn values(finish: &Finish) -> [Value; COLUMNS.len()] {
    let ended = &finish.ended;
    [
        Value::Text(Some(finish.status.as_str().into())),
        Value::Text(finish.reason.map(|reason| reason.as_str().into())),
        Value::Text(ended.error.clone()),
        Value::Number(ended.exit_code),
        Value::Number(ended.signal),
        Value::Text(logs::to_column(&ended.stdout)),
        Value::Text(logs::to_column(&ended.stderr)),
        Value::Text(ended.output.as_ref().map(ToString::to_string)),
        Value::Text(logs::notes_to_column(&logs::Notes::of(ended))),
        Value::Number(Some(i64::try_from(ended.artifacts.len()).unwrap_or(i64::MAX))),
    ]
}

fn add(values: &mut AnyArguments, value: Value) -> Outcome {
    match value {
        Value::Text(text) => values.add(text),
        Value::Number(number) => values.add(number),
    }
    .map_err(sqlx::Error::Encode)
}

/// Binds what one finish needs.
pub(super) fn bind(bound: &mut AnyArguments, claim: &Claim, finish: &Finish) -> Outcome {
    values(finish).into_iter().try_for_each(|value| add(bound, value))?;
    [claim.id, claim.epoch].into_iter().try_for_each(|number| add(bound, Value::Number(Some(number))))
}

/// Writes the ends among `ops`, where there are several and the database is a server; the others are left to
/// [`one`].
pub(super) async fn together(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &mut [Done],
) -> Outcome {
    let mut ends: HashMap<JobId, (usize, &Claim, &Finish)> = HashMap::new();
    for (index, op) in ops.iter().enumerate() {
        if let Op::Finish { claim, finish, .. } = op {
            // The same end once more finds what became of the first.
            ends.entry(claim.id).or_insert((index, claim, finish));
        }
    }
    ends.retain(|_, (_, _, finish)| values(finish).iter().map(Value::size).sum::<usize>() <= LARGE);
    if ends.len() < 2 || statements.dialect.takes_scripts() {
        return Ok(());
    }
    let mut ids: Vec<JobId> = ends.keys().copied().collect();
    ids.sort_unstable();
    let mut held = Vec::with_capacity(ids.len());
    for (size, ids) in filled(&ids) {
        let lock = statements.query(&statements.finish.lock[size]);
        let lock = ids.iter().fold(lock, |lock, id| lock.bind(*id));
        for row in lock.fetch_all(&mut *connection).await? {
            let (id, epoch): (JobId, i64) = (row.try_get(0)?, row.try_get(1)?);
            held.extend(ends.get(&id).filter(|(_, claim, _)| claim.epoch == epoch).map(|_| id));
        }
    }
    for (size, ids) in filled(&held) {
        let mut bound = AnyArguments::default();
        let mut columns: Vec<_> = ids.iter().map(|id| values(ends[id].2).into_iter()).collect();
        for (_, kind, _) in COLUMNS {
            let mut before = None;
            for (id, values) in ids.iter().zip(&mut columns) {
                // What fills the list up is never reached: the first of the same ids counts.
                let value = values.next().filter(|_| before.replace(*id) != Some(*id));
                add(&mut bound, Value::Number(Some(*id)))?;
                add(
                    &mut bound,
                    value.unwrap_or(if kind == Kind::Text { Value::Text(None) } else { Value::Number(None) }),
                )?;
            }
        }
        ids.iter().try_for_each(|id| add(&mut bound, Value::Number(Some(*id))))?;
        statements.query_with(&statements.finish.together[size], bound).execute(&mut *connection).await?;
    }
    for id in held {
        done[ends[&id].0].moved = 1;
    }
    Ok(())
}

/// Numbers as lists of the sizes that statements have: places in [`ROWS`], each list filled up with its last number,
/// which changes nothing in a list of ids.
pub(super) fn filled(ids: &[i64]) -> impl Iterator<Item = (usize, Vec<i64>)> {
    ids.chunks(ROWS[0]).filter_map(|few| {
        let (last, size) = (*few.last()?, ROWS.iter().rposition(|rows| *rows >= few.len())?);
        let mut list = few.to_vec();
        list.resize(ROWS[size], last);
        Some((size, list))
    })
}

/// Writes the end of a job, unless [`together`] has, and what it left.
pub(super) async fn one(
    connection: &mut AnyConnection,
    statements: &Statements,
    claim: &Claim,
    finish: &Finish,
    done: &mut Done,
) -> Outcome {
    if done.moved == 0 {
        let mut bound = AnyArguments::default();
        bind(&mut bound, claim, finish)?;
        let update = statements.query_with(&statements.finish.one, bound);
        done.moved = update.execute(&mut *connection).await?.rows_affected();
    }
    if done.moved == 0 {
        done.moved = u64::from(attempts::was_ended(connection, statements, claim).await?);
        return Ok(());
    }
    done.ended.push(claim.id);
    insert_artifacts(connection, statements, claim.id, finish.attempt, &finish.ended.artifacts).await?;
    if finish.chunks {
        chunks::drop_all(connection, statements, claim.id, Some(finish.attempt)).await?;
    }
    Ok(())
}

async fn insert_artifacts(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
    attempt: i64,
    artifacts: &[Artifact],
) -> Outcome {
    let mut rest = artifacts;
    for size in pieces(artifacts.len()) {
        let (now, later) = rest.split_at(ROWS[size]);
        rest = later;
        let mut query = statements.query(&statements.finish.artifacts[size]);
        for artifact in now {
            query = query
                .bind(id)
                .bind(attempt)
                .bind(artifact.name.clone())
                .bind(artifact.mime.clone())
                .bind(i64::try_from(artifact.size).unwrap_or(i64::MAX))
                .bind(artifact.uuid.clone())
                .bind(artifact.sha256.clone())
                .bind(artifact.key.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn lists_are_filled_up_with_their_last_number() {
        assert_eq!(filled(&[]).count(), 0);
        assert_eq!(filled(&[7]).collect::<Vec<_>>(), [(3, vec![7])]);
        assert_eq!(filled(&[7, 8]).collect::<Vec<_>>(), [(2, vec![7, 8, 8, 8])]);
        let many: Vec<i64> = (0..70).collect();
        let lists: Vec<_> = filled(&many).collect();
        assert_eq!(lists.iter().map(|(size, list)| (*size, list.len())).collect::<Vec<_>>(), [(0, 64), (1, 16)]);
        assert_eq!(lists[1].1[5..], [69; 11]);
    }
}
