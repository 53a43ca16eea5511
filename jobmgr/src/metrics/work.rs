//! Jobs, attempts, slots and runners.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::{labels, made, seconds};

/// Of how long a job waited.
const WAITS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
/// Of how long an attempt took.
const RUNS: [f64; 14] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

struct Metrics {
    waits: Histogram,
    runs: HistogramVec,
    attempts: IntCounterVec,
    leases: IntCounter,
    slots: IntGauge,
    running: IntGaugeVec,
    started: IntCounterVec,
    died: IntCounterVec,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let gauge = |name: &str, help: &str| made(IntGauge::new(name, help));
    let counters = |name: &str, help: &str, labels: &[&str]| made(IntCounterVec::new(Opts::new(name, help), labels));
    let waits = "How long a job waited from when it could start until it was claimed.";
    let runs = "How long an attempt took from its claim to its end, by jobspec.";
    let running = Opts::new("jobmgr_worker_jobs", "Jobs that this worker runs, in its slots and beside them.");
    let attempts = "Attempts that ended, by jobspec and ending: completed, failed, canceled, retried (failed, to be \
                    tried again), released (given back uncounted), detached (goes on without this worker), crashed \
                    (its runner died), lost (its lease was).";
    Metrics {
        waits: made(Histogram::with_opts(seconds("jobmgr_job_wait_seconds", waits, &WAITS))),
        runs: made(HistogramVec::new(seconds("jobmgr_attempt_duration_seconds", runs, &RUNS), &["jobspec"])),
        attempts: counters("jobmgr_attempts_total", attempts, &["jobspec", "ending"]),
        leases: made(IntCounter::new("jobmgr_leases_lost_total", "Attempts whose lease this worker lost.")),
        slots: gauge("jobmgr_worker_slots", "How many jobs this worker runs at once; 0: it has no worker."),
        running: made(IntGaugeVec::new(running, &["place"])),
        started: counters("jobmgr_runner_starts_total", "Processes for jobs that were started.", &["kind"]),
        died: counters("jobmgr_runner_deaths_total", "Processes for jobs that died.", &["kind"]),
    }
});

/// Has them shown before the first one happens.
pub(super) fn touch() {
    for place in [Place::Slot, Place::Beside] {
        METRICS.running.with_label_values(&[place.word()]);
    }
    for kind in ["own", "library"] {
        METRICS.started.with_label_values(&[kind]);
        METRICS.died.with_label_values(&[kind]);
    }
}

/// Where a worker runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In one of its slots.
    Slot,
    /// Beside them, by an executor that runs several at once.
    Beside,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Place::Slot => "slot",
            Place::Beside => "beside",
        }
    }
}

/// A worker has so many slots.
pub fn slots(count: usize) {
    METRICS.slots.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// A job that is run, until this is dropped.
pub struct Busy(Place);

impl Drop for Busy {
    fn drop(&mut self) {
        METRICS.running.with_label_values(&[self.0.word()]).dec();
    }
}

/// A job is run.
pub fn busy(place: Place) -> Busy {
    METRICS.running.with_label_values(&[place.word()]).inc();
    Busy(place)
}

/// A job was claimed that could have started for so long.
pub fn claimed(waited: Duration) {
    METRICS.waits.observe(waited.as_secs_f64());
}

/// An attempt of a job ended. `sound`: its jobspec was to be had, so the name is no stranger's invention.
pub fn attempted(jobspec: &str, sound: bool, ending: &'static str, took: Duration) {
    let jobspec = if sound { labels::jobspec(jobspec) } else { labels::known(jobspec) };
    METRICS.attempts.with_label_values(&[jobspec, ending]).inc();
    METRICS.runs.with_label_values(&[jobspec]).observe(took.as_secs_f64());
}

/// An attempt's lease was lost.
pub fn lease_lost() {
    METRICS.leases.inc();
}

/// A process for jobs was started: `own`, or for a `library`.
pub fn runner_started(kind: &'static str) {
    METRICS.started.with_label_values(&[kind]).inc();
}

/// Such a process died.
pub fn runner_died(kind: &'static str) {
    METRICS.died.with_label_values(&[kind]).inc();
}
