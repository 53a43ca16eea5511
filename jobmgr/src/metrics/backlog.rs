//! What the database knows, at the moment of a scrape.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge, IntGaugeVec, Opts, Registry};

use super::{labels, made_in};

/// What the database knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backlog {
    /// How many jobs have this status and the name of this jobspec; [`OTHERS`](super::OTHERS) for those that have none.
    pub jobs: Vec<(&'static str, String, u64)>,
    /// How long the oldest job that could start waits; 0 where none does.
    pub oldest_queued_seconds: f64,
    /// How many processes are in this state.
    pub workers: Vec<(&'static str, u64)>,
}

/// The same as gauges; without it, that the database is away.
pub(super) fn families(known: Option<&Backlog>) -> Vec<MetricFamily> {
    let registry = Registry::new();
    let up = IntGauge::new("jobmgr_database_up", "Whether the database answers; 0 where it does not.");
    made_in(&registry, up).set(known.is_some().into());
    if let Some(known) = known {
        describe(&registry, known);
    }
    registry.gather()
}

fn describe(registry: &Registry, known: &Backlog) {
    let help = "Jobs that have not ended, by status and jobspec.";
    let jobs = gauges(registry, "jobmgr_jobs", help, &["status", "jobspec"]);
    for (status, jobspec, count) in &known.jobs {
        // Of those that share a label.
        jobs.with_label_values(&[status, labels::jobspec(jobspec)]).add(count_of(*count));
    }
    let help = "How long the oldest job that could start has been waiting; 0 where none is.";
    let oldest: Gauge = made_in(registry, Gauge::new("jobmgr_oldest_queued_seconds", help));
    oldest.set(known.oldest_queued_seconds);
    let help = "Processes on this database by state: active, draining, silent (not heard of in time) or api (they only \
                answer over HTTP).";
    let workers = gauges(registry, "jobmgr_workers", help, &["state"]);
    for (state, count) in &known.workers {
        workers.with_label_values(&[state]).set(count_of(*count));
    }
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec
where
    IntGaugeVec: Collector,
{
    made_in(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn count_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
