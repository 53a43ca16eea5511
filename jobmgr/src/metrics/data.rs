//! Database and object store.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, Opts};

use super::made;

struct Metrics {
    submitted: IntCounter,
    sweeps: IntCounter,
    swept: IntCounterVec,
    conflicts: IntCounter,
    database: IntCounterVec,
    storage: IntCounterVec,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let counter = |name: &str, help: &str| made(IntCounter::new(name, help));
    let counters = |name: &str, help: &str, label: &str| made(IntCounterVec::new(Opts::new(name, help), &[label]));
    Metrics {
        submitted: counter("jobmgr_jobs_submitted_total", "Jobs that were queued by this process."),
        sweeps: counter("jobmgr_sweeps_total", "How often this process looked for jobs whose worker died."),
        swept: counters(
            "jobmgr_swept_jobs_total",
            "Jobs that those sweeps queued again, ended after too many crashes, or ended because they waited too long.",
            "outcome",
        ),
        conflicts: counter(
            "jobmgr_database_conflicts_total",
            "Transactions that met another one and were tried again.",
        ),
        database: counters(
            "jobmgr_database_errors_total",
            "Reads and writes of the database that failed: it was unavailable, or refused them.",
            "kind",
        ),
        storage: counters(
            "jobmgr_storage_errors_total",
            "Calls of the object store that failed: it was unavailable, or can't serve as it is set up.",
            "kind",
        ),
    }
});

/// Has them shown before the first one happens.
pub(super) fn touch() {
    for outcome in ["queued", "ended", "overdue"] {
        METRICS.swept.with_label_values(&[outcome]);
    }
    for kind in ["unavailable", "failed"] {
        METRICS.database.with_label_values(&[kind]);
    }
    for kind in ["unavailable", "unusable"] {
        METRICS.storage.with_label_values(&[kind]);
    }
}

/// So many jobs were queued.
pub fn submitted(count: u64) {
    METRICS.submitted.inc_by(count);
}

/// A sweep took back so many jobs, ended so many, and so many that waited for too long.
pub fn swept(queued: u64, ended: usize, overdue: usize) {
    METRICS.sweeps.inc();
    for (outcome, count) in [("queued", queued), ("ended", ended as u64), ("overdue", overdue as u64)] {
        METRICS.swept.with_label_values(&[outcome]).inc_by(count);
    }
}

/// A transaction met another one, and is tried again.
pub fn conflict() {
    METRICS.conflicts.inc();
}

/// A read or a write of the database failed: `unavailable` or `failed`.
pub fn database_error(kind: &'static str) {
    METRICS.database.with_label_values(&[kind]).inc();
}

/// A call of the object store failed: `unavailable` or `unusable`.
pub fn storage_error(kind: &'static str) {
    METRICS.storage.with_label_values(&[kind]).inc();
}
