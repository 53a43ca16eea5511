//! What a row of the original's becomes.
//!
//! The original counts seconds, has one text for output or error, and a status as a number: 0 queued, 1 started,
//! 2 completed, 3 failed. The server copies and converts; a look at each batch before finds what has to be told.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::job::Parameters;
use crate::store::dialect::{Dialect, Text};

/// How many characters of a completed job's output are taken. In JSON each may need 6 bytes, and no value may be
/// larger than `max_allowed_packet`, 4 MiB at least. The original's own column has at most 64 KiB.
const MAX_OUTPUT: i64 = 512 << 10;
/// How many characters a job's name may have.
const MAX_NAME: i64 = 1024;
/// How many characters the name of a file may have: 64 KiB.
const MAX_FILE: i64 = 16_000;
/// How many characters a MIME type may have.
const MAX_MIME: i64 = 255;
/// How many characters a UUID has.
const MAX_UUID: i64 = 36;

/// The statements.
pub(super) struct Texts {
    pub(super) begin: Text,
    pub(super) progress: Text,
    pub(super) set_progress: Text,
    pub(super) jobs: Copying,
    pub(super) artifacts: Copying,
    /// Binds: parameters, id.
    pub(super) set_parameters: Text,
}

/// The statements for one table.
pub(super) struct Copying {
    /// The last id of the batch after this id, if there is one.
    pub(super) upto: Text,
    /// What is odd. Binds `from, upto` as often as `binds` says.
    pub(super) odd: Text,
    /// The copy. Binds the same.
    pub(super) copy: Text,
    /// How often `from, upto` are bound.
    pub(super) binds: usize,
    /// Ids that were not copied.
    pub(super) left: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        Self {
            begin: text(&dialect.insert_new("installation (name, value) values (?, ?)")),
            progress: text("select value from installation where name = ?{lock}"),
            set_progress: text("update installation set value = ? where name = ?"),
            jobs: Copying {
                upto: upto(dialect, "jobs"),
                odd: text(&format!(
                    "select o.id, cast(o.status as signed), o.parameters, coalesce(char_length(o.name), 0), \
                     coalesce(char_length(r.data), 0), coalesce(x.results, 0) {FROM}"
                )),
                copy: text(&copy_jobs()),
                binds: 2,
                left: left(dialect, "jobs"),
            },
            artifacts: Copying {
                upto: upto(dialect, "artifacts"),
                odd: text(&format!(
                    "select o.id from original_artifacts o where o.id > ? and o.id <= ? and \
                     (o.name is null or o.mime is null or o.size is null or o.uuid is null or o.jobID is null \
                     or char_length(o.name) > {MAX_FILE} or char_length(o.mime) > {MAX_MIME} \
                     or char_length(o.uuid) > {MAX_UUID})"
                )),
                copy: text(&copy_artifacts()),
                binds: 1,
                left: left(dialect, "artifacts"),
            },
            set_parameters: text("update jobs set parameters = ? where id = ?"),
        }
    }
}

fn upto(dialect: Dialect, table: &str) -> Text {
    dialect.text(&format!(
        "select cast(max(id) as signed) from \
         (select id from original_{table} where id > ? order by id limit ?) as batch"
    ))
}

fn left(dialect: Dialect, table: &str) -> Text {
    dialect.text(&format!(
        "select o.id from original_{table} o left join {table} n on n.id = o.id where n.id is null order by o.id limit 20"
    ))
}

/// A job with its result; where it has several, the original shows the first.
const FROM: &str = "from original_jobs o \
     left join (select jobID, min(id) as id, count(*) as results from original_results \
                where jobID > ? and jobID <= ? group by jobID) as x on x.jobID = o.id \
     left join original_results r on r.id = x.id \
     where o.id > ? and o.id <= ? order by o.id";

/// Times, also those that are missing, and a failed job's whole text are as the original shows them. Nothing is known
/// of the end of a job that was left started, so it ends now.
fn copy_jobs() -> String {
    format!(
        "insert into jobs (id, status, reason, priority, name, parameters, user_id, created_at, run_after, attempt, \
         epoch, crashes, started_at, finished_at, artifact_count, error, stdout) \
         select o.id, \
         case o.status when 0 then 'queued' when 2 then 'completed' else 'failed' end, \
         case when o.status = 1 then 'worker_lost' when o.status in (0, 2, 3) then null else 'corrupt_row' end, \
         coalesce(o.priority, 50), left(coalesce(o.name, ''), {MAX_NAME}), coalesce(o.parameters, ''), \
         coalesce(o.userID, 0), coalesce(o.created, 0) * 1000, 0, \
         case o.status when 0 then 0 else 1 end, case o.status when 0 then 0 else 1 end, 0, \
         case o.status when 0 then null else o.started * 1000 end, \
         case when o.status = 0 then null when o.status in (2, 3) then o.completed * 1000 else {{now}} end, \
         (select count(*) from original_artifacts a where a.jobID = o.id), \
         case o.status when 0 then null \
         when 1 then 'was left started when this database of the original jobmgr was adopted: how it ended is unknown' \
         when 2 then null \
         when 3 then r.data \
         else concat('its status in the original jobmgr is unknown: ', coalesce(o.status, 'none')) end, \
         case when o.status in (0, 3) or coalesce(length(r.data), 0) = 0 then null \
         else json_object('written', length(convert(left(r.data, {MAX_OUTPUT}) using utf8mb4)), \
         'text', convert(left(r.data, {MAX_OUTPUT}) using utf8mb4)) end \
         {FROM}"
    )
}

/// The original puts files at `JOB/UUID` in its bucket.
fn copy_artifacts() -> String {
    format!(
        "insert into artifacts (id, job_id, attempt, name, mime, size, uuid, sha256, object_key, created_at) \
         select o.id, coalesce(o.jobID, 0), 1, left(coalesce(o.name, ''), {MAX_FILE}), \
         left(coalesce(o.mime, ''), {MAX_MIME}), coalesce(o.size, 0), left(coalesce(o.uuid, ''), {MAX_UUID}), '', \
         left(concat(coalesce(o.jobID, 0), '/', coalesce(o.uuid, '')), 255), coalesce(o.created, 0) * 1000 \
         from original_artifacts o where o.id > ? and o.id <= ? order by o.id"
    )
}

/// A job about which there is something to do or to say.
pub(super) struct OddJob {
    pub(super) id: i64,
    /// What is not as it should be, for the log.
    pub(super) why: Vec<String>,
    /// Its parameters in a form that is read; `None`: they are, or never will be.
    pub(super) parameters: Option<String>,
}

/// Looks at a row of `Copying::odd` of jobs.
pub(super) fn odd_job(row: &AnyRow) -> Result<Option<OddJob>, sqlx::Error> {
    let mut why = Vec::new();
    let status: Option<i64> = row.try_get(1)?;
    if !status.is_some_and(|status| (0..=3).contains(&status)) {
        why.push(format!("its status {status:?} is none of 0 to 3: it is failed"));
    }
    let parameters = match readable(row.try_get::<Option<String>, _>(2)?.as_deref().unwrap_or_default()) {
        Ok(parameters) => parameters,
        Err(error) => {
            why.push(format!("its parameters can't be read ({error}): they are copied as they are"));
            None
        }
    };
    if row.try_get::<i64, _>(3)? > MAX_NAME {
        why.push(format!("its name is longer than {MAX_NAME} characters: cut"));
    }
    if row.try_get::<i64, _>(4)? > MAX_OUTPUT && status != Some(3) {
        why.push(format!("its result is longer than {MAX_OUTPUT} characters: cut"));
    }
    let results: i64 = row.try_get(5)?;
    if results > 1 {
        why.push(format!("it has {results} results: the first one is taken"));
    }
    let is_odd = !why.is_empty() || parameters.is_some();
    Ok(is_odd.then_some(OddJob { id: row.try_get(0)?, why, parameters }))
}

/// The original reads `null` as the empty string, and takes parameters as they are sent. `None`: no other form is
/// needed.
fn readable(text: &str) -> Result<Option<String>, serde_json::Error> {
    let Err(error) = serde_json::from_str::<Parameters>(text) else { return Ok(None) };
    match serde_json::from_str::<Option<BTreeMap<String, Option<String>>>>(text) {
        Ok(values) => {
            let values: Parameters =
                values.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
            serde_json::to_string(&values).map(Some)
        }
        Err(_) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn null_is_empty_and_what_is_no_object_of_strings_stays() {
        assert_eq!(readable(r#"{"a":"1"}"#).unwrap(), None);
        assert_eq!(readable(r#"{"a":null,"b":"2"}"#).unwrap().unwrap(), r#"{"a":"","b":"2"}"#);
        assert_eq!(readable("null").unwrap().unwrap(), "{}");
        for broken in ["", "{", "[]", r#"{"a":1}"#, "{\"a\":\"\\ud800\"}"] {
            assert!(readable(broken).is_err(), "{broken}");
        }
    }
}
