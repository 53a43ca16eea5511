//! What a message says.

use serde_json::{Value, json};

use crate::domain::job::Job;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Due;

/// What there is to say of a job when it came to `status`, in its attempt `attempt`. A job's values are left out: some
/// are nobody else's business.
pub fn of_job(job: &Job, status: &str, attempt: i64) -> Value {
    // Its row may be of a later time; what is of an end belongs to that alone.
    let now = job.status.as_str() == status && job.attempt == attempt;
    let ended = job.ended.as_ref().filter(|_| now);
    json!({
        "id": job.id,
        "name": job.name,
        "status": status,
        "attempt": attempt,
        "reason": job.reason.filter(|_| now).map(|reason| reason.as_str()),
        "error": ended.and_then(|ended| ended.error.as_ref()),
        "exitCode": ended.and_then(|ended| ended.exit_code),
        "signal": ended.and_then(|ended| ended.signal),
        "priority": job.priority,
        "labels": job.labels,
        "worker": job.worker.as_ref().filter(|_| now),
        "created": rfc3339(job.created_ms),
        "started": job.started_ms.filter(|_| now && attempt > 0).map(rfc3339),
        "finished": job.finished_ms.filter(|_| now).map(rfc3339),
        "userID": job.user_id,
        "retryOf": job.retry_of,
        "url": format!("/v1/jobs/{}", job.id),
    })
}

/// The body of a message: the same bytes whenever it is sent.
pub fn body(due: &Due) -> String {
    // What is stored is JSON of ours.
    let data: Value = serde_json::from_str(&due.data).unwrap_or_default();
    let body = json!({
        "type": due.kind.as_str(),
        "timestamp": rfc3339(due.time_ms),
        "sequence": due.sequence,
        "data": data,
    });
    body.to_string()
}
