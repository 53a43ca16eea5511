//! Small transactions as one script: begin, a few writes and commit in one turn with the driver.
//!
//! Each turn wakes the driver's thread and then ours, which takes longer than the statements do. So writes that need
//! no look at what an earlier one came to go together, where the database takes several statements with bound values
//! at once. What can't go together is written step by step.

use futures_util::TryStreamExt;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AnyConnection, AssertSqlSafe, Either};

use super::dialect::Text;
use super::statements::Statements;
use super::writer::{Done, Op};
use super::{claim, finish, submit};
use crate::domain::submission::NewJob;

/// More statements than this don't save anything by going together, and there would be too many different scripts.
const MOST: usize = 32;

/// Statements, and the values of all of them in their order.
type Script<'a> = (Vec<&'a Text>, AnyArguments);

/// What a statement came to.
#[derive(Default)]
struct Came {
    affected: u64,
    rows: Vec<AnyRow>,
}

/// Writes `ops` as one script, if they can be; `None` if not, and then nothing was written.
pub(super) async fn run(
    connection: &mut AnyConnection,
    statements: &Statements,
    ops: &[Op],
) -> Option<Result<Vec<Done>, sqlx::Error>> {
    if !statements.dialect.takes_scripts() {
        return None;
    }
    let script = match plan(statements, ops)? {
        Ok(script) => script,
        Err(error) => return Some(Err(error)),
    };
    Some(match execute(connection, statements, script).await {
        Ok(came) => settle(ops, came),
        Err(error) => Err(error),
    })
}

/// The statements, in the order in which [`settle`] reads what they came to; `None` if `ops` can't go together.
fn plan<'a>(statements: &'a Statements, ops: &[Op]) -> Option<Result<Script<'a>, sqlx::Error>> {
    let new = submit::among(ops);
    let fits = |op: &Op| match op {
        Op::Submit(job) => job.labels.is_empty() && job.webhook.is_none(),
        Op::Claim { .. } => true,
        Op::Finish { finish, .. } => finish.ended.artifacts.is_empty() && !finish.chunks,
        _ => false,
    };
    let finishes = ops.iter().filter(|op| matches!(op, Op::Finish { .. })).count();
    let groups = claim::groups(ops);
    let plain = groups.iter().all(|group| group.claiming.scope.limits.is_empty());
    let count = submit::pieces(new.len()).count() + finishes + groups.len();
    (count <= MOST && plain && ops.iter().all(fits)).then(|| bind(statements, ops, &new, &groups))
}

fn bind<'a>(
    statements: &'a Statements,
    ops: &[Op],
    new: &[&NewJob],
    groups: &[claim::Group<'_>],
) -> Result<Script<'a>, sqlx::Error> {
    let mut texts = Vec::with_capacity(MOST);
    let mut values = AnyArguments::default();
    submit::bind(&mut values, new, None)?;
    texts.extend(submit::pieces(new.len()).map(|size| &statements.submit[size]));
    for op in ops {
        if let Op::Finish { claim, finish: end, .. } = op {
            texts.push(statements.finish.one());
            finish::bind(&mut values, claim, end)?;
        }
    }
    for group in groups {
        let closed = claim::closed(&group.claiming.scope);
        texts.push(claim::statement(statements, &group.claiming.scope, &closed));
        claim::bind(&mut values, group.claiming, &closed, group.limit())?;
    }
    Ok((texts, values))
}

/// Gives what each statement came to.
async fn execute(
    connection: &mut AnyConnection,
    statements: &Statements,
    (texts, values): Script<'_>,
) -> Result<Vec<Came>, sqlx::Error> {
    // A statement alone is a transaction by itself.
    let alone = texts.len() == 1;
    let mut texts: Vec<&str> = texts.into_iter().map(Text::as_str).collect();
    if !alone {
        texts.insert(0, statements.dialect.begin());
        texts.push("commit");
    }
    let query = sqlx::query_with(AssertSqlSafe(texts.join("; ")), values);
    let mut came = vec![Came::default()];
    // sqlx would rather not promise this of every database; the dialect says that this one does it.
    #[allow(deprecated)]
    let mut results = query.fetch_many(connection);
    while let Some(result) = results.try_next().await? {
        let Some(last) = came.last_mut() else { continue };
        match result {
            Either::Left(done) => {
                last.affected = done.rows_affected();
                came.push(Came::default());
            }
            Either::Right(row) => last.rows.push(row),
        }
    }
    if !alone {
        // That of begin.
        came.remove(0);
    }
    Ok(came)
}

fn settle(ops: &[Op], came: Vec<Came>) -> Result<Vec<Done>, sqlx::Error> {
    let mut came = came.into_iter();
    let mut next = || came.next().unwrap_or_default();
    let mut given = Vec::new();
    for _ in submit::pieces(submit::among(ops).len()) {
        given.extend(submit::given(&next().rows)?);
    }
    let mut given = given.into_iter();
    let mut all: Vec<Done> = ops.iter().map(|_| Done::default()).collect();
    for (op, done) in ops.iter().zip(&mut all) {
        match op {
            Op::Submit(_) => done.given = given.next().ok_or(sqlx::Error::RowNotFound)?,
            Op::Finish { .. } => done.moved = next().affected,
            _ => {}
        }
    }
    for group in claim::groups(ops) {
        group.share(claim::claims(next().rows, group.claiming)?, &mut all);
    }
    Ok(all)
}
