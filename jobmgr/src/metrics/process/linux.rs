//! Memory, file descriptors, threads and processor time, from `/proc`.

use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;

pub(super) fn register(registry: &Registry) {
    if let Err(error) = registry.register(Box::new(ProcessCollector::for_self())) {
        tracing::warn!(%error, "/metrics has no numbers about this process");
    }
}
