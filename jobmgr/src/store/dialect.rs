//! What differs between databases. Nothing else branches on which one it is.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// The databases that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
}

/// How many rows one INSERT may carry; only these sizes are used, so that few statements are prepared.
pub(super) const ROWS: [usize; 4] = [64, 16, 4, 1];

impl Dialect {
    /// The database's own clock, in Unix milliseconds.
    fn now(self) -> &'static str {
        match self {
            Dialect::Sqlite => "cast(unixepoch('subsec') * 1000 as integer)",
        }
    }

    /// Run on every new connection.
    pub(super) fn session(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &[
                "pragma busy_timeout = 30000",
                "pragma journal_mode = wal",
                "pragma synchronous = full",
                "pragma temp_store = memory",
            ],
        }
    }

    /// Begins a transaction that writes.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Dialect::Sqlite => "begin immediate",
        }
    }

    /// Whether several statements with bound values may be sent as one.
    pub(super) fn takes_scripts(self) -> bool {
        match self {
            Dialect::Sqlite => true,
        }
    }

    /// Binds: worker, lease in milliseconds, limit. Gives the claimed rows, in any order.
    fn claim(self) -> &'static str {
        match self {
            Dialect::Sqlite => {
                "update jobs set status = 'started', attempt = attempt + 1, epoch = epoch + 1, worker = ?, \
                 started_at = {now}, lease_until = {now} + ?, progress = null \
                 where id in (select id from jobs where status = 'queued' and run_after <= {now} \
                 order by priority, id limit ?) \
                 returning id, epoch, attempt, priority, name, parameters"
            }
        }
    }

    fn text(self, template: &str) -> Text {
        Text(Arc::from(template.replace("{now}", self.now())))
    }

    fn insert(self, into: &str, row: &str, returning: &str) -> [Text; 4] {
        ROWS.map(|rows| self.text(&format!("insert into {into} values {}{returning}", vec![row; rows].join(", "))))
    }
}

/// A statement, rendered once from this file's own texts; values are always bound.
pub(super) struct Text(Arc<str>);

impl Text {
    /// The SQL itself.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SqlSafeStr for &Text {
    fn into_sql_str(self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

/// Every statement of the store, rendered for one dialect.
pub(super) struct Statements {
    pub(super) dialect: Dialect,
    /// Per row: priority, name, parameters, user. Gives the ids, ascending in the order of the rows.
    pub(super) submit: [Text; 4],
    pub(super) claim: Text,
    pub(super) finish: Text,
    pub(super) renew: Text,
    pub(super) progress: Text,
    pub(super) release: Text,
    pub(super) requeue: Text,
    pub(super) give_up: Text,
    pub(super) one_held: Text,
    pub(super) expired: Text,
    pub(super) held_by: Text,
    /// Per row: job, attempt, name, mime, size, uuid, sha256, key.
    pub(super) artifacts: [Text; 4],
    pub(super) job: Text,
    pub(super) artifacts_of: Text,
    pub(super) artifact: Text,
    pub(super) unfinished: Text,
    pub(super) installation: Text,
    pub(super) set_installation: Text,
}

impl Statements {
    pub(super) fn new(dialect: Dialect) -> Self {
        let held = "where id = ? and epoch = ? and status = 'started'";
        Self {
            dialect,
            submit: dialect.insert(
                "jobs (status, priority, name, parameters, user_id, created_at, run_after, attempt, epoch, crashes, \
                 artifact_count)",
                "('queued', ?, ?, ?, ?, {now}, 0, 0, 0, 0, 0)",
                " returning id",
            ),
            claim: dialect.text(dialect.claim()),
            finish: dialect.text(&format!(
                "update jobs set status = ?, reason = ?, error = ?, exit_code = ?, signal_number = ?, stdout = ?, \
                 stderr = ?, output = ?, notes = ?, artifact_count = ?, finished_at = {{now}}, lease_until = null \
                 {held}"
            )),
            renew: dialect.text(&format!("update jobs set lease_until = {{now}} + ? {held}")),
            progress: dialect.text(&format!("update jobs set progress = ? {held}")),
            release: dialect.text(&format!(
                "update jobs set status = 'queued', run_after = {{now}} + ?, worker = null, lease_until = null, \
                 started_at = null, progress = null {held}"
            )),
            requeue: dialect.text(&format!(
                "update jobs set status = 'queued', crashes = crashes + 1, worker = null, lease_until = null, \
                 started_at = null, progress = null {held}"
            )),
            give_up: dialect.text(&format!(
                "update jobs set status = 'failed', reason = 'crash_limit', crashes = crashes + 1, error = ?, \
                 finished_at = {{now}}, lease_until = null {held}"
            )),
            one_held: dialect.text(&format!("select id, epoch, crashes from jobs {held}")),
            expired: dialect.text(
                "select id, epoch, crashes from jobs where status = 'started' and lease_until < {now} \
                 order by lease_until limit 100",
            ),
            held_by: dialect
                .text("select id, epoch, crashes from jobs where status = 'started' and worker = ? order by id"),
            artifacts: dialect.insert(
                "artifacts (job_id, attempt, name, mime, size, uuid, sha256, object_key, created_at)",
                "(?, ?, ?, ?, ?, ?, ?, ?, {now})",
                "",
            ),
            job: dialect.text(
                "select status, reason, priority, name, parameters, user_id, attempt, created_at, started_at, \
                 finished_at, progress, error, exit_code, signal_number, stdout, stderr, output, notes, \
                 artifact_count from jobs where id = ?",
            ),
            artifacts_of: dialect.text(
                "select id, job_id, name, mime, size, uuid, sha256, object_key, created_at from artifacts \
                 where job_id = ? order by id",
            ),
            artifact: dialect.text(
                "select id, job_id, name, mime, size, uuid, sha256, object_key, created_at from artifacts \
                 where id = ?",
            ),
            unfinished: dialect.text("select count(*) from jobs where status in ('queued', 'started')"),
            installation: dialect.text("select value from installation where name = ?"),
            set_installation: dialect.text("insert into installation (name, value) values (?, ?)"),
        }
    }
}
