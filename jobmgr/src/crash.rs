//! Places where a process can be made to die, for tests of what the others make of it.
//!
//! In debug builds the variable `JOBMGR_CRASH_AT=POINT` or `POINT:N` ends the process at once when it comes by the
//! point for the N-th time; with `POINT:N:hang` the thread that comes by stays there instead. Release builds have none
//! of this.

/// A place in the life of a job where its worker may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Point {
    InClaim,
    AfterClaim,
    BeforeSpawn,
    AfterSpawn,
    AfterExit,
    BeforeUpload,
    MidUpload,
    AfterUpload,
    BeforeCommit,
    AfterCommit,
    BeforeRenewal,
    InRenewal,
    AfterRenewal,
    InSweep,
    AfterSweep,
    InRelease,
    AfterRelease,
    /// Of the runner's process, not of the worker's.
    RunnerAfterExit,
}

impl Point {
    /// All of them.
    pub const ALL: [Point; 18] = [
        Point::InClaim,
        Point::AfterClaim,
        Point::BeforeSpawn,
        Point::AfterSpawn,
        Point::AfterExit,
        Point::BeforeUpload,
        Point::MidUpload,
        Point::AfterUpload,
        Point::BeforeCommit,
        Point::AfterCommit,
        Point::BeforeRenewal,
        Point::InRenewal,
        Point::AfterRenewal,
        Point::InSweep,
        Point::AfterSweep,
        Point::InRelease,
        Point::AfterRelease,
        Point::RunnerAfterExit,
    ];

    /// How [`VARIABLE`] calls it.
    pub fn name(self) -> &'static str {
        match self {
            Point::InClaim => "in-claim",
            Point::AfterClaim => "after-claim",
            Point::BeforeSpawn => "before-spawn",
            Point::AfterSpawn => "after-spawn",
            Point::AfterExit => "after-exit",
            Point::BeforeUpload => "before-upload",
            Point::MidUpload => "mid-upload",
            Point::AfterUpload => "after-upload",
            Point::BeforeCommit => "before-commit",
            Point::AfterCommit => "after-commit",
            Point::BeforeRenewal => "before-renewal",
            Point::InRenewal => "in-renewal",
            Point::AfterRenewal => "after-renewal",
            Point::InSweep => "in-sweep",
            Point::AfterSweep => "after-sweep",
            Point::InRelease => "in-release",
            Point::AfterRelease => "after-release",
            Point::RunnerAfterExit => "runner-after-exit",
        }
    }
}

/// The variable that names a point.
pub const VARIABLE: &str = "JOBMGR_CRASH_AT";

/// What a child of this process is to be told of it.
pub fn inherited() -> Option<std::ffi::OsString> {
    if cfg!(debug_assertions) { std::env::var_os(VARIABLE) } else { None }
}

/// What a child of this process is to be told of how long killed processes may take to be gone.
pub fn kill_limit() -> Option<std::ffi::OsString> {
    if cfg!(debug_assertions) { std::env::var_os(jobmgr_executor_process::KILL_LIMIT_VARIABLE) } else { None }
}

/// The process comes by this point.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn at(_: Point) {}

/// The process comes by this point.
#[cfg(debug_assertions)]
pub fn at(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, AtomicU32, bool)>> = OnceLock::new();
    let wanted = || {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.split(':');
        let (name, times) = (parts.next()?.to_owned(), parts.next().and_then(|times| times.parse().ok()));
        Some((name, AtomicU32::new(times.unwrap_or(1)), parts.next() == Some("hang")))
    };
    let Some((name, left, hangs)) = WANTED.get_or_init(wanted) else { return };
    if name != point.name() || left.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    if *hangs {
        loop {
            std::thread::park();
        }
    }
    // Nothing is closed, written or told any more, as by a kill -9.
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
