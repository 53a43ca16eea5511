//! What differs between databases. Nothing else branches on which one it is.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// The databases that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// How many rows one statement may carry; only these sizes are used, so that few statements are prepared.
pub(super) const ROWS: [usize; 4] = [64, 16, 4, 1];

impl Dialect {
    /// The dialect of a database's URL, as the configuration gives it.
    pub(super) fn of(url: &str) -> Self {
        match url.split_once(':') {
            Some(("postgres", _)) => Dialect::Postgres,
            Some(("mysql", _)) => Dialect::Mysql,
            _ => Dialect::Sqlite,
        }
    }

    /// The database's own clock, in Unix milliseconds, fixed for the length of a statement.
    fn now(self) -> &'static str {
        match self {
            Dialect::Sqlite => "cast(unixepoch('subsec') * 1000 as integer)",
            Dialect::Postgres => "cast(extract(epoch from statement_timestamp()) * 1000 as bigint)",
            // The session's time zone is UTC.
            Dialect::Mysql => "cast(unix_timestamp(now(3)) * 1000 as signed)",
        }
    }

    /// Where a job's name is in a text of names, from 1; 0: nowhere. Binds the text; names are exact.
    fn place(self) -> &'static str {
        match self {
            Dialect::Sqlite => "instr(?, concat('/', name, '/'))",
            Dialect::Postgres => "strpos(?, concat('/', name, '/'))",
            Dialect::Mysql => "instr(? collate utf8mb4_bin, concat('/', name, '/'))",
        }
    }

    /// The type of 64-bit numbers in a cast; a sum is of another one.
    fn bigint(self) -> &'static str {
        match self {
            Dialect::Sqlite | Dialect::Postgres => "bigint",
            Dialect::Mysql => "signed",
        }
    }

    /// Follows a SELECT whose rows are changed next: locks them, and leaves out those that others have locked. SQLite
    /// has one writer, whose transactions begin with the lock.
    fn skip(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres | Dialect::Mysql => " for update skip locked",
        }
    }

    /// Follows a SELECT whose rows are changed next: waits until they are free, and locks them.
    fn lock(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres | Dialect::Mysql => " for update",
        }
    }

    /// The status of a job in a condition that names the job, too. Few jobs are queued or started, and a server may take
    /// the index of those for it instead of the key. That index keeps the entries of jobs whose status has changed until the
    /// server has cleaned up, which waits for the longest transaction of all its databases.
    fn status(self) -> &'static str {
        match self {
            Dialect::Sqlite => "status",
            Dialect::Postgres => "status || ''",
            Dialect::Mysql => "concat(status, '')",
        }
    }

    /// The columns of all tables, each with its table before it.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Dialect::Sqlite => {
                "select t.name, c.name from sqlite_master t join pragma_table_info(t.name) c where t.type = 'table'"
            }
            Dialect::Postgres => {
                "select cast(table_name as text), cast(column_name as text) from information_schema.columns \
                 where table_schema = current_schema()"
            }
            Dialect::Mysql => {
                "select convert(table_name using utf8mb4), convert(column_name using utf8mb4) \
                 from information_schema.columns where table_schema = database()"
            }
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
            // Behind a pooler a session belongs to nobody: what is needed is set with each transaction.
            Dialect::Postgres => &[],
            // A session that says nothing is ended, so that its locks are not held for long: by a worker that is cut off,
            // or hangs. MariaDB alone can tell whether it is in a transaction.
            Dialect::Mysql => &[
                "set session transaction isolation level read committed",
                "set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 5, \
                 lock_wait_timeout = 60, wait_timeout = 60, time_zone = '+00:00' \
                 /*M!100300 , idle_transaction_timeout = 20 */",
            ],
        }
    }

    /// Run on every new connection that a writing thread has, after [`session`](Self::session). SQLite would sleep for
    /// milliseconds when another process writes, which takes a fraction of one: the thread asks again by itself.
    pub(super) fn session_to_write(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &["pragma busy_timeout = 0"],
            Dialect::Postgres | Dialect::Mysql => &[],
        }
    }

    /// Whether a writing thread asks again and again until no other process writes.
    pub(super) fn asks_for_its_lock(self) -> bool {
        self == Dialect::Sqlite
    }

    /// Run on every new connection that only reads, where no pooler is in between: who waits gives up after
    /// [`patience`](Self::patience), and a while later the server does too. MariaDB and MySQL each pass over what is
    /// for the other.
    pub(super) fn session_to_read(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &[],
            Dialect::Postgres => &["set statement_timeout = 12000", "set idle_in_transaction_session_timeout = 20000"],
            Dialect::Mysql => &["set session lock_wait_timeout = 12 /*!50708 , max_execution_time = 12000 */ \
                                 /*M!100101 , max_statement_time = 12 */"],
        }
    }

    /// Begins a transaction that writes.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Dialect::Sqlite => "begin immediate",
            Dialect::Postgres => {
                "begin isolation level read committed; set local lock_timeout = 5000; \
                 set local statement_timeout = 30000; set local idle_in_transaction_session_timeout = 20000"
            }
            Dialect::Mysql => "start transaction",
        }
    }

    /// Begins a transaction that only reads.
    pub(super) fn begin_to_read(self) -> &'static str {
        match self {
            Dialect::Sqlite => "begin",
            Dialect::Postgres => {
                "begin isolation level read committed read only; set local statement_timeout = 12000; \
                 set local idle_in_transaction_session_timeout = 20000"
            }
            Dialect::Mysql => "start transaction read only",
        }
    }

    /// How many connections write at once. SQLite has one writer.
    pub(super) fn lanes(self) -> usize {
        match self {
            Dialect::Sqlite => 1,
            Dialect::Postgres | Dialect::Mysql => 2,
        }
    }

    /// How long a transaction may take before its connection is given up. A file answers or fails; a server that is
    /// cut off does neither.
    pub(super) fn patience(self) -> Duration {
        match self {
            Dialect::Sqlite => Duration::from_secs(120),
            Dialect::Postgres | Dialect::Mysql => Duration::from_secs(10),
        }
    }

    /// Whether several statements with bound values may be sent as one.
    pub(super) fn takes_scripts(self) -> bool {
        self == Dialect::Sqlite
    }

    /// Whether the database itself writes an event for each change of a job, by triggers. MySQL would ask for rights for
    /// them that a user of a database rarely has.
    pub(super) fn records_events(self) -> bool {
        self == Dialect::Sqlite
    }

    /// Whether rows become visible in the order of their ids: there is one writer.
    pub(super) fn numbers_in_order(self) -> bool {
        self == Dialect::Sqlite
    }

    /// Whether an INSERT of what a SELECT gives numbers its rows one after the other. MySQL takes more numbers than it
    /// needs for it, and a reader of events would wait for those that never come.
    pub(super) fn numbers_what_it_selects(self) -> bool {
        self != Dialect::Mysql
    }

    /// Whether an INSERT gives its rows' ids by RETURNING; else they follow from the first one's.
    pub(super) fn returns_ids(self) -> bool {
        self != Dialect::Mysql
    }

    /// Whether a claim is one statement; else what was selected is updated by primary key.
    pub(super) fn claims_at_once(self) -> bool {
        self != Dialect::Mysql
    }

    /// An INSERT that does nothing where its key is there already.
    pub(super) fn insert_new(self, what: &str) -> String {
        match self {
            Dialect::Sqlite | Dialect::Postgres => format!("insert into {what} on conflict do nothing"),
            Dialect::Mysql => format!("insert ignore into {what}"),
        }
    }

    /// Binds: worker, lease in milliseconds, the texts of `filter`, limit. Gives [`CLAIMED`].
    pub(super) fn claim(self, filter: &str) -> String {
        // Others of its indexes have the status too; with one of those it would sort all that is queued.
        let by = if self == Dialect::Mysql { " force index (jobs_queued)" } else { "" };
        let best = format!(
            "from jobs{by} where status = 'queued' and run_after <= {{now}}{filter} order by priority, id limit \
             ?{{skip}}"
        );
        let set = "set status = 'started', attempt = attempt + 1, epoch = epoch + 1, worker = ?, \
                   started_at = {now}, lease_until = {now} + ?, progress = null";
        match self {
            Dialect::Sqlite => {
                format!("update jobs {set} where id in (select id {best}) returning {CLAIMED}")
            }
            // A LIMIT in a sub-select may be evaluated more than once; in a materialized CTE it is not.
            Dialect::Postgres => {
                let claimed = CLAIMED.replace(", ", ", jobs.");
                // The order of the binds is that of the text: worker and lease come first.
                format!(
                    "with mine as (select cast(? as text) as worker, cast(? as bigint) as lease), \
                     best as materialized (select id {best}) \
                     update jobs set status = 'started', attempt = attempt + 1, epoch = epoch + 1, \
                     worker = mine.worker, started_at = {{now}}, lease_until = {{now}} + mine.lease, \
                     progress = null \
                     from best, mine where jobs.id = best.id returning jobs.{claimed}"
                )
            }
            // Binds the texts of `filter` and the limit alone; the rest follows with an UPDATE.
            Dialect::Mysql => format!("select {} {best}", CLAIMED.replace("started_at", "{now}")),
        }
    }

    /// A template of this file or of `statements`, with what differs filled in.
    pub(super) fn text(self, template: &str) -> Text {
        let text = template
            .replace("{now}", self.now())
            .replace("{skip}", self.skip())
            .replace("{lock}", self.lock())
            .replace("{place}", self.place())
            .replace("{status}", self.status())
            .replace("{bigint}", self.bigint());
        Text(Arc::from(if self == Dialect::Postgres { numbered(&text) } else { text }))
    }
}

/// What a claim gives of each job.
pub(super) const CLAIMED: &str = "id, epoch, attempt, priority, name, parameters, tries, started_at, created_at, crash_limit, crashes, max_retries, \
     run_after, trace_parent";

/// PostgreSQL numbers its placeholders. No statement has a question mark in a literal.
fn numbered(text: &str) -> String {
    let mut pieces = text.split('?');
    let mut numbered = pieces.next().unwrap_or_default().to_owned();
    for (index, piece) in pieces.enumerate() {
        numbered.push_str(&format!("${}", index + 1));
        numbered.push_str(piece);
    }
    numbered
}

/// A statement, rendered once from this room's own texts; values are always bound.
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
