//! What is counted and measured, for Prometheus; the only room that names its crate.
//!
//! Each process has its own numbers, from its start on. The others call plain functions of this room where something
//! happens. What the database knows is not counted here but given to `text` by who has read it.

/// What the database knows, at the moment of a scrape.
mod backlog;
/// Database and object store.
mod data;
/// Requests and connections.
mod http;
/// Words for labels, of which there must not be too many.
mod labels;
/// This very process, as the system sees it.
#[cfg_attr(target_os = "linux", path = "process/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "process/other.rs")]
mod process;
/// Jobs, attempts, slots and runners.
mod work;

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{HistogramOpts, IntGaugeVec, Opts, Registry, TextEncoder};

pub use backlog::Backlog;
pub use data::{conflict, database_error, storage_error, submitted, swept};
pub use http::{Open, connection, handshake_failed, request};
pub use labels::OTHERS;
pub use work::{Busy, Place, attempted, busy, claimed, lease_lost, runner_died, runner_started, slots};

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The numbers of this process.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::new();
    process::register(&registry);
    let about = made_in(
        &registry,
        IntGaugeVec::new(Opts::new("jobmgr_build_info", "Which jobmgr this is; always 1."), &["version"]),
    );
    about.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry
});

/// All numbers as Prometheus reads them; without `backlog` the database is said to be away.
pub fn text(backlog: Option<&Backlog>) -> String {
    data::touch();
    http::touch();
    work::touch();
    let mut families = REGISTRY.gather();
    families.extend(backlog::families(backlog));
    families.sort_by(|one, other| one.name().cmp(other.name()));
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

/// That the database is away, and no more: for those of whom nobody knows what they may see.
pub fn away() -> String {
    TextEncoder::new().encode_to_string(&backlog::families(None)).unwrap_or_default()
}

/// Keeps a new metric in the registry of this process.
fn made<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    made_in(&REGISTRY, metric)
}

/// Their names are constants of this room, and no two are the same.
fn made_in<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    metric
        .and_then(|metric| registry.register(Box::new(metric.clone())).map(|()| metric))
        .unwrap_or_else(|error| unreachable!("{error}"))
}

/// A histogram of seconds with these upper bounds.
fn seconds(name: &str, help: &str, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(bounds.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_there_before_anything_has_happened() {
        let text = text(None);
        for name in [
            "jobmgr_build_info{version=",
            "jobmgr_database_up 0",
            "jobmgr_database_conflicts_total",
            "jobmgr_http_connections",
            "jobmgr_worker_slots ",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
        assert!(!text.contains("jobmgr_oldest_queued_seconds"));
    }

    #[test]
    fn what_the_database_knows_is_that_of_the_scrape() {
        let jobs = vec![("queued", "hello".to_owned(), 3), ("started", "a\"b\n".to_owned(), 1)];
        let known = Backlog { jobs, oldest_queued_seconds: 1.5, workers: vec![("active", 2)] };
        let text = text(Some(&known));
        for line in [
            "jobmgr_jobs{jobspec=\"hello\",status=\"queued\"} 3",
            "jobmgr_jobs{jobspec=\"a\\\"b\\n\",status=\"started\"} 1",
            "jobmgr_oldest_queued_seconds 1.5",
            "jobmgr_workers{state=\"active\"} 2",
            "jobmgr_database_up 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!super::text(None).contains("jobmgr_jobs{"));
    }
}
