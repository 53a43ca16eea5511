//! What is not known of processes here; the points that need it say so.

/// How many threads a process has.
pub(super) fn threads(_pid: u32) -> Option<usize> {
    None
}

/// How much memory of its own a process has, in bytes.
pub(super) fn memory(_pid: u32) -> Option<u64> {
    None
}

/// The processes below one that still run; a Job Object ends them with the runner.
pub(super) fn below(_pid: u32) -> Vec<u32> {
    Vec::new()
}

/// The end of a runner that is told nothing; the caller closes its line, which ends it.
pub(super) fn kill(_pid: u32) {}
