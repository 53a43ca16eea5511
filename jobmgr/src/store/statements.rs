//! Every statement of the store, rendered for one dialect.
//!
//! `{now}`, `{skip}`, `{lock}`, `{place}`, `{status}` and a few more are filled in by `dialect`. Every write of a worker is
//! guarded by the epoch of its claim.

use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use super::dialect::{Dialect, ROWS, Text};

/// Which statements a claim uses.
pub(super) enum Filter {
    /// Whatever is queued.
    Any,
    /// All but some names.
    Except,
    /// Some names.
    Only,
}

/// Every statement of the store, rendered for one dialect.
pub(super) struct Statements {
    pub(super) dialect: Dialect,
    /// The next statement may meet another session, so that none is prepared for later.
    pub(super) pooled: bool,
    /// How far apart the ids of one INSERT's rows are, where they are not returned.
    pub(super) id_step: i64,
    /// Per row what `submit::bind` binds. Gives the ids, ascending in the order of the rows, and when they were queued.
    pub(super) submit: [Text; 4],
    pub(super) submissions: super::submit::Texts,
    pub(super) list: super::list::Texts,
    claim: [Text; 3],
    cautious: [Text; 3],
    /// Binds: worker, lease in milliseconds, ids. Follows a claim that only selects.
    pub(super) start: [Text; 4],
    pub(super) unclaim: Text,
    pub(super) running: Text,
    pub(super) running_of: Text,
    pub(super) lock_limit: Text,
    pub(super) add_limit: Text,
    pub(super) finish: super::finish::Texts,
    /// What an attempt came to after all, whose commit was not answered.
    pub(super) own_end: Text,
    pub(super) renewable: Text,
    /// Binds: lease in milliseconds, ids.
    pub(super) renew: [Text; 4],
    pub(super) held: Text,
    pub(super) canceled_of: Text,
    pub(super) progress: Text,
    pub(super) release: Text,
    pub(super) retry: Text,
    pub(super) requeue: Text,
    pub(super) give_up: Text,
    pub(super) cancel_held: Text,
    pub(super) cancel_queued: Text,
    pub(super) cancel_started: Text,
    pub(super) limit_crashes: Text,
    pub(super) one_held: Text,
    pub(super) expired: Text,
    pub(super) held_by: Text,
    pub(super) overdue: Text,
    pub(super) waiting: Text,
    pub(super) fail_queued: Text,
    pub(super) end_attempt: Text,
    pub(super) attempts: Text,
    pub(super) add_chunk: Text,
    pub(super) drop_chunks_before: Text,
    pub(super) drop_chunks: Text,
    pub(super) chunks: Text,
    pub(super) job: Text,
    pub(super) status: Text,
    pub(super) owner: Text,
    pub(super) queued_of: Text,
    pub(super) artifacts_of: Text,
    pub(super) artifact: Text,
    pub(super) unfinished: Text,
    pub(super) installation: Text,
    pub(super) set_installation: Text,
    pub(super) workers: super::workers::Texts,
    pub(super) dispatch: super::dispatch::Texts,
    pub(super) gpus: super::gpus::Texts,
    pub(super) abandon: Text,
    pub(super) leave: Text,
    pub(super) keep: super::keep::Texts,
    pub(super) inputs: super::inputs::Texts,
    pub(super) events: super::events::Texts,
    pub(super) tokens: super::tokens::Texts,
    pub(super) audit: super::audit::Texts,
    pub(super) webhooks: super::webhooks::Texts,
    pub(super) deliveries: super::deliveries::Texts,
    /// Jobs that run and say how far they are.
    pub(super) under_way: Text,
}

pub(super) const HELD: &str = "where id = ? and epoch = ? and {status} = 'started'";
/// What is read of a job that is taken from its holder.
const TAKEN: &str = "id, epoch, crashes, crash_limit, attempt, worker, started_at, recover_by";
const BACK: &str = "worker = null, lease_until = null, started_at = null, progress = null, recover_by = null, \
                    gpus = null";
/// Follows a claim's filter where it is cautious.
const SAFE: &str = " and (crashes = 0 or crashes + 1 < crash_limit)";
/// What is read of an artifact.
pub(super) const ARTIFACT: &str = "id, job_id, name, mime, size, uuid, sha256, object_key, created_at";

impl Statements {
    pub(super) fn new(dialect: Dialect, pooled: bool, id_step: i64) -> Self {
        let text = |template: &str| dialect.text(template);
        let by_id = |before: &str, after: &str| {
            ROWS.map(|rows| text(&format!("{before} where id in ({}){after}", vec!["?"; rows].join(", "))))
        };
        let insert = |into: &str, row: &str, returning: &str| {
            ROWS.map(|rows| text(&format!("insert into {into} values {}{returning}", vec![row; rows].join(", "))))
        };
        let except = " and {place} = 0";
        let only = format!(" and {{place}} > 0{except}");
        Self {
            dialect,
            pooled,
            id_step,
            submit: insert(
                "jobs (status, priority, name, parameters, user_id, created_at, run_after, expires_at, attempt, \
                 epoch, crashes, artifact_count, labels, max_retries, retry_of, key_text, trace_parent)",
                "('queued', ?, ?, ?, ?, {now}, ?, coalesce(cast(? as {bigint}), {now}) + ?, 0, 0, 0, 0, ?, ?, ?, ?, ?)",
                if dialect.returns_ids() { " returning id, created_at" } else { "" },
            ),
            submissions: super::submit::Texts::new(dialect),
            list: super::list::Texts::new(dialect),
            claim: ["", except, &only].map(|filter| text(&dialect.claim(filter))),
            cautious: ["", except, &only].map(|filter| text(&dialect.claim(&format!("{filter}{SAFE}")))),
            start: by_id(
                "update jobs set status = 'started', attempt = attempt + 1, epoch = epoch + 1, worker = ?, \
                 started_at = {now}, lease_until = {now} + ?, progress = null",
                " and {status} = 'queued'",
            ),
            unclaim: text(&format!("update jobs set status = 'queued', attempt = attempt - 1, {BACK} {HELD}")),
            running: text("select name, count(*) from jobs where status = 'started' group by name"),
            running_of: text("select count(*) from jobs where status = 'started' and name = ?"),
            lock_limit: text("select name from limits where name = ?{lock}"),
            add_limit: text(&dialect.insert_new("limits (name) values (?)")),
            finish: super::finish::Texts::new(dialect),
            own_end: text("select status from jobs where id = ? and epoch = ? and status <> 'started'"),
            renewable: text("select id from jobs where status = 'started' and worker = ? order by id{skip}"),
            renew: by_id("update jobs set lease_until = {now} + ?", " and {status} = 'started'"),
            held: text(
                "select id, epoch, coalesce(cancel_at, 0), attempt from jobs where status = 'started' and worker = ?",
            ),
            canceled_of: text(
                "select id, epoch from jobs where status = 'started' and worker = ? and cancel_at is not null",
            ),
            progress: text(&format!("update jobs set progress = ? {HELD}")),
            release: text(&format!("update jobs set status = 'queued', run_after = {{now}} + ?, {BACK} {HELD}")),
            retry: text(&format!(
                "update jobs set status = 'queued', run_after = {{now}} + ?, tries = tries + 1, {BACK} {HELD}"
            )),
            requeue: text(&format!(
                "update jobs set status = 'queued', crashes = crashes + 1, epoch = epoch + 1, {BACK} {HELD}"
            )),
            give_up: text(&format!(
                "update jobs set status = 'failed', reason = ?, error = ?, crashes = crashes + 1, epoch = epoch + 1, \
                 finished_at = {{now}}, lease_until = null {HELD}"
            )),
            cancel_held: text(&format!(
                "update jobs set status = 'canceled', reason = 'canceled', error = 'canceled', epoch = epoch + 1, \
                 finished_at = {{now}}, lease_until = null {HELD} and cancel_at is not null"
            )),
            cancel_queued: text(
                "update jobs set status = 'canceled', reason = 'canceled', error = 'canceled', epoch = epoch + 1, \
                 finished_at = {now} where id = ? and {status} = 'queued'",
            ),
            cancel_started: text(
                "update jobs set cancel_at = coalesce(cancel_at, {now}) where id = ? and {status} = 'started'",
            ),
            limit_crashes: text(&format!("update jobs set crash_limit = ? {HELD}")),
            one_held: text(&format!("select {TAKEN} from jobs {HELD}{{lock}}")),
            expired: text(&format!(
                "select {TAKEN} from jobs where status = 'started' and lease_until < {{now}} \
                 and (recover_by is null or lease_until < {{now}} - ? \
                 or (cancel_at is not null and lease_until < {{now}} - ?)) order by lease_until limit 100{{skip}}"
            )),
            held_by: text(&format!(
                "select {TAKEN} from jobs where status = 'started' and worker = ? and recover_by is null \
                 order by id{{lock}}"
            )),
            overdue: text(
                "select id from jobs where status = 'queued' and expires_at < {now} and attempt = 0 \
                 order by expires_at limit 100{skip}",
            ),
            waiting: text(
                "select id, priority, name from jobs where status = 'queued' and priority >= ? \
                 and (priority > ? or id > ?) and created_at <= {now} - ? order by priority, id limit 1000",
            ),
            fail_queued: text(
                "update jobs set status = 'failed', reason = ?, error = ?, epoch = epoch + 1, finished_at = {now} \
                 where id = ? and {status} = 'queued'",
            ),
            end_attempt: text(
                "insert into attempts (job_id, attempt, ending, worker, started_at, ended_at, reason, error, \
                 exit_code, signal_number, stdout, stderr, executor) values (?, ?, ?, ?, ?, {now}, ?, ?, ?, ?, ?, ?, \
                 (select executor from jobs where id = ?))",
            ),
            attempts: text(
                "select attempt, ending, worker, started_at, ended_at, reason, error, exit_code, signal_number, \
                 stdout, stderr, executor from attempts where job_id = ? order by attempt",
            ),
            add_chunk: text(&format!(
                "insert into chunks (job_id, attempt, stream, start_at, size, content) \
                 select id, attempt, ?, ?, ?, ? from jobs {HELD}"
            )),
            drop_chunks_before: text(
                "delete from chunks where job_id = ? and attempt = ? and stream = ? and start_at < ?",
            ),
            drop_chunks: text("delete from chunks where job_id = ? and (stream <> 'executor' or attempt = ?)"),
            chunks: text(
                "select start_at, size, content from chunks where job_id = ? and attempt = ? and stream = ? \
                 and start_at + size > ? order by start_at limit 16",
            ),
            job: text(
                "select status, reason, priority, name, parameters, user_id, attempt, created_at, started_at, \
                 finished_at, cancel_at, worker, progress, error, exit_code, signal_number, stdout, stderr, output, \
                 notes, artifact_count, executor, run_after, labels, max_retries, retry_of, key_text, gpus \
                 from jobs where id = ?",
            ),
            status: text("select status, attempt from jobs where id = ?"),
            owner: text("select user_id from jobs where id = ?"),
            queued_of: text(
                "select count(*) from (select id from jobs where status = 'queued' and user_id = ? limit ?) as few",
            ),
            artifacts_of: text(&format!("select {ARTIFACT} from artifacts where job_id = ? order by id")),
            artifact: text(&format!("select {ARTIFACT} from artifacts where id = ?")),
            unfinished: text("select count(*) from jobs where status in ('queued', 'started')"),
            installation: text("select value from installation where name = ?"),
            set_installation: text(&dialect.insert_new("installation (name, value) values (?, ?)")),
            workers: super::workers::Texts::new(dialect),
            dispatch: super::dispatch::Texts::new(dialect),
            gpus: super::gpus::Texts::new(dialect),
            leave: text(&format!(
                "update jobs set worker = null, lease_until = {{now}} {HELD} and recover_by is not null"
            )),
            abandon: text(
                "update jobs set worker = null, lease_until = {now} - 1 where status = 'started' and worker = ? \
                 and recover_by is not null",
            ),
            inputs: super::inputs::Texts::new(dialect),
            keep: super::keep::Texts::new(dialect),
            events: super::events::Texts::new(dialect),
            tokens: super::tokens::Texts::new(dialect),
            audit: super::audit::Texts::new(dialect),
            webhooks: super::webhooks::Texts::new(dialect),
            deliveries: super::deliveries::Texts::new(dialect),
            under_way: text(
                "select id, user_id, name, attempt, progress from jobs where status = 'started' \
                 and progress is not null order by id limit 1000",
            ),
        }
    }

    /// A query by one of these statements.
    pub(super) fn query<'q>(&self, text: &'q Text) -> Query<'q, Any, AnyArguments> {
        sqlx::query(text).persistent(!self.pooled)
    }

    /// A query by one of these statements, with its values.
    pub(super) fn query_with<'q>(&self, text: &'q Text, values: AnyArguments) -> Query<'q, Any, AnyArguments> {
        sqlx::query_with(text, values).persistent(!self.pooled)
    }

    /// Gives the columns `CLAIMED`; `dialect` says what it binds.
    pub(super) fn claim(&self, filter: &Filter, cautious: bool) -> &Text {
        let claim = if cautious { &self.cautious } else { &self.claim };
        match filter {
            Filter::Any => &claim[0],
            Filter::Except => &claim[1],
            Filter::Only => &claim[2],
        }
    }
}
