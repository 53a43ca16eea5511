//! Claims: the best runnable jobs, each to one worker.
//!
//! Claims that wait at the same time are made together, and shared out in the order in which they were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, Row};

use super::dialect::Text;
use super::finish::filled;
use super::statements::{Filter, Statements};
use super::writer::{Done, Op};
use crate::domain::job::{Claim, JobId};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How often a claim looks again because what it found may not run now.
const LOOKS: u32 = 8;

/// Who claims, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct Claiming {
    /// The worker's id.
    pub worker: Arc<str>,
    /// How long a claim holds from now.
    pub lease: Duration,
    /// Which jobs it may have.
    pub scope: Arc<Scope>,
}

/// Which jobs a worker may have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// The names of the jobspecs that it can run; `None`: it takes whatever is there.
    pub names: Option<BTreeSet<String>>,
    /// The names of jobspecs that it has and can't run.
    pub except: BTreeSet<String>,
    /// Of which of them only so many jobs may run at once, over all workers.
    pub limits: BTreeMap<String, i64>,
    /// How many GPUs those need that need any: whoever claims has them at hand.
    pub gpus: BTreeMap<String, usize>,
    /// None that is given up when its holder dies once more, since such a one runs already: it may be the one that
    /// kills them, and would take the other with it.
    pub cautious: bool,
}

/// Claims that are made together: the same one, and for which writes how many.
pub(super) struct Group<'a> {
    pub(super) claiming: &'a Claiming,
    places: Vec<(usize, u32)>,
}

impl Group<'_> {
    pub(super) fn limit(&self) -> u32 {
        self.places.iter().map(|(_, limit)| limit).sum()
    }

    /// Gives each write its share.
    pub(super) fn share(&self, claims: Vec<Claim>, done: &mut [Done]) {
        let mut claims = claims.into_iter();
        for (index, limit) in &self.places {
            done[*index].claims.extend(claims.by_ref().take(*limit as usize));
        }
    }
}

/// The claims among `ops`.
pub(super) fn groups(ops: &[Op]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        let (claiming, limit) = match op {
            Op::Claim { claiming, limit } => (claiming, *limit),
            Op::Finish { next: Some(claiming), .. } => (claiming, 1),
            _ => continue,
        };
        match groups.iter_mut().find(|group| group.claiming == claiming) {
            Some(group) => group.places.push((index, limit)),
            None => groups.push(Group { claiming, places: vec![(index, limit)] }),
        }
    }
    groups
}

/// Makes every claim among `ops`.
pub(super) async fn all(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
    done: &mut [Done],
) -> Outcome {
    for group in groups(ops) {
        let claims = some(connection, statements, group.claiming, group.limit()).await?;
        group.share(claims, done);
    }
    Ok(())
}

async fn some(
    connection: &mut AnyConnection,
    statements: &Statements,
    claiming: &Claiming,
    limit: u32,
) -> Outcome<Vec<Claim>> {
    let mut claims: Vec<Claim> = Vec::new();
    for _ in 0..LOOKS {
        let full = full(connection, statements, &claiming.scope).await?;
        let left = limit - u32::try_from(claims.len()).unwrap_or(limit);
        let mut taken = take(connection, statements, claiming, &full, left).await?;
        let found = taken.len();
        put_back_what_is_too_many(connection, statements, &claiming.scope, &mut taken).await?;
        let none_put_back = found == taken.len();
        claims.extend(taken);
        if none_put_back {
            break;
        }
    }
    Ok(claims)
}

/// Names as one text in which each can be found: `/a/b/`. No jobspec has a `/` in its name.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.fold("/".to_owned(), |list, name| list + name + "/")
}

/// The names that are never claimed, as one text; empty if there are none.
pub(super) fn closed(scope: &Scope) -> String {
    if scope.except.is_empty() { String::new() } else { listed(scope.except.iter()) }
}

/// The names that can't be claimed now, because as many jobs of them run as may, or at all.
async fn full(connection: &mut AnyConnection, statements: &Statements, scope: &Scope) -> Outcome<String> {
    if scope.limits.is_empty() {
        return Ok(closed(scope));
    }
    let mut full: Vec<String> = scope.except.iter().cloned().collect();
    for row in statements.query(&statements.running).fetch_all(connection).await? {
        let (name, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        if scope.limits.get(&name).is_some_and(|limit| count >= *limit) {
            full.push(name);
        }
    }
    Ok(if full.is_empty() { String::new() } else { listed(full.iter()) })
}

/// The statement for a claim.
pub(super) fn statement<'a>(statements: &'a Statements, scope: &Scope, full: &str) -> &'a Text {
    let filter = match (&scope.names, full) {
        (Some(_), _) => &Filter::Only,
        (None, "") => &Filter::Any,
        (None, _) => &Filter::Except,
    };
    statements.claim(filter, scope.cautious)
}

/// Binds what [`statement`] needs.
pub(super) fn bind(values: &mut AnyArguments, claiming: &Claiming, full: &str, limit: u32) -> Outcome {
    let add = |values: &mut AnyArguments, text: String| values.add(text).map_err(sqlx::Error::Encode);
    add(values, claiming.worker.to_string())?;
    values.add(super::millis(claiming.lease)).map_err(sqlx::Error::Encode)?;
    bind_choice(values, claiming, full, limit)
}

fn bind_choice(values: &mut AnyArguments, claiming: &Claiming, full: &str, limit: u32) -> Outcome {
    let add = |values: &mut AnyArguments, text: String| values.add(text).map_err(sqlx::Error::Encode);
    if let Some(names) = &claiming.scope.names {
        add(values, listed(names.iter()))?;
    }
    if claiming.scope.names.is_some() || !full.is_empty() {
        add(values, full.to_owned())?;
    }
    values.add(i64::from(limit)).map_err(sqlx::Error::Encode)
}

async fn take(
    connection: &mut AnyConnection,
    statements: &Statements,
    claiming: &Claiming,
    full: &str,
    limit: u32,
) -> Outcome<Vec<Claim>> {
    let text = statement(statements, &claiming.scope, full);
    let mut values = AnyArguments::default();
    if statements.dialect.claims_at_once() {
        bind(&mut values, claiming, full, limit)?;
        return claims(statements.query_with(text, values).fetch_all(connection).await?, claiming);
    }
    bind_choice(&mut values, claiming, full, limit)?;
    let mut found = claims(statements.query_with(text, values).fetch_all(&mut *connection).await?, claiming)?;
    for claim in &mut found {
        claim.epoch += 1;
        claim.attempt += 1;
    }
    let ids: Vec<JobId> = found.iter().map(|claim| claim.id).collect();
    for (size, ids) in filled(&ids) {
        let start = statements.query(&statements.start[size]);
        let start = start.bind(claiming.worker.to_string()).bind(super::millis(claiming.lease));
        ids.into_iter().fold(start, |start, id| start.bind(id)).execute(&mut *connection).await?;
    }
    Ok(found)
}

/// The claimed jobs, best first.
pub(super) fn claims(rows: Vec<AnyRow>, claiming: &Claiming) -> Outcome<Vec<Claim>> {
    let mut claims = Vec::with_capacity(rows.len());
    for row in rows {
        let parameters: String = row.try_get(5)?;
        let priority: i64 = row.try_get(3)?;
        let (limit, crashes): (i64, i64) = (row.try_get(9)?, row.try_get(10)?);
        let claim = Claim {
            id: row.try_get(0)?,
            epoch: row.try_get(1)?,
            attempt: row.try_get(2)?,
            name: row.try_get(4)?,
            parameters: serde_json::from_str(&parameters).map_err(|error| error.to_string()),
            tries: row.try_get(6)?,
            max_retries: row.try_get(11)?,
            last_chance: crashes > 0 && crashes + 1 >= limit,
            started_ms: row.try_get(7)?,
            created_ms: row.try_get(8)?,
            run_after_ms: row.try_get(12)?,
            trace_parent: row.try_get(13)?,
            worker: claiming.worker.to_string(),
        };
        claims.push((priority, claim));
    }
    claims.sort_by_key(|(priority, claim)| (*priority, claim.id));
    Ok(claims.into_iter().map(|(_, claim)| claim).collect())
}

/// Two workers may have claimed the last free place of a name at once. Whoever gets the lock of the name second sees
/// the other's claim, and puts its own back before anybody has seen it.
async fn put_back_what_is_too_many(
    connection: &mut AnyConnection,
    statements: &Statements,
    scope: &Scope,
    taken: &mut Vec<Claim>,
) -> Outcome {
    let names: BTreeSet<String> = taken.iter().map(|claim| claim.name.clone()).collect();
    for (name, limit) in names.iter().filter_map(|name| scope.limits.get_key_value(name)) {
        lock(connection, statements, name).await?;
        let count = statements.query(&statements.running_of).bind(name.clone()).fetch_one(&mut *connection).await?;
        let mut too_many = count.try_get::<i64, _>(0)? - limit;
        while too_many > 0
            && let Some(last) = taken.iter().rposition(|claim| claim.name == *name)
        {
            let claim = taken.remove(last);
            statements.query(&statements.unclaim).bind(claim.id).bind(claim.epoch).execute(&mut *connection).await?;
            too_many -= 1;
        }
    }
    Ok(())
}

pub(super) async fn lock(connection: &mut AnyConnection, statements: &Statements, name: &str) -> Outcome {
    let mut there = false;
    while !there {
        let lock = statements.query(&statements.lock_limit).bind(name.to_owned());
        there = lock.fetch_optional(&mut *connection).await?.is_some();
        if !there {
            statements.query(&statements.add_limit).bind(name.to_owned()).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
