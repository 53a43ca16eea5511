//! Requests and connections.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};

use super::{made, seconds};

/// Of how long an answer takes to begin.
const BOUNDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

struct Metrics {
    requests: IntCounterVec,
    latency: HistogramVec,
    open: IntGauge,
    accepted: IntCounter,
    handshakes: IntCounter,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let requests = Opts::new("jobmgr_http_requests_total", "Requests by route, method and class of status.");
    let latency = seconds(
        "jobmgr_http_request_duration_seconds",
        "How long it took until an answer began, by route and method.",
        &BOUNDS,
    );
    let counter = |name: &str, help: &str| made(IntCounter::new(name, help));
    Metrics {
        requests: made(IntCounterVec::new(requests, &["route", "method", "status"])),
        latency: made(HistogramVec::new(latency, &["route", "method"])),
        open: made(IntGauge::new("jobmgr_http_connections", "Connections that are open.")),
        accepted: counter("jobmgr_http_connections_total", "Connections that were accepted."),
        handshakes: counter("jobmgr_tls_handshake_failures_total", "Connections that ended in their TLS handshake."),
    }
});

/// Has them shown before the first one happens.
pub(super) fn touch() {
    LazyLock::force(&METRICS);
}

/// A request was answered. `route` is the template of its path, empty where there is none.
pub fn request(route: &str, method: &str, status: u16, took: Duration) {
    let method = match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
        _ => "other",
    };
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    METRICS.requests.with_label_values(&[route, method, class]).inc();
    METRICS.latency.with_label_values(&[route, method]).observe(took.as_secs_f64());
}

/// A connection, until it is dropped.
pub struct Open(());

impl Drop for Open {
    fn drop(&mut self) {
        METRICS.open.dec();
    }
}

/// A connection was accepted.
pub fn connection() -> Open {
    METRICS.accepted.inc();
    METRICS.open.inc();
    Open(())
}

/// A connection ended in its TLS handshake.
pub fn handshake_failed() {
    METRICS.handshakes.inc();
}
