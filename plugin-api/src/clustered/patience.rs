use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double from failure to failure, each shortened by chance so that many do not come at once.
pub struct Patience {
    first: Duration,
    next: Duration,
}

impl Patience {
    pub fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// How long to wait after another failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST.max(self.first));
        wait.mul_f64(1.0 - chance() / 2.0)
    }

    /// It works again.
    pub fn worked(&mut self) {
        self.next = self.first;
    }
}

/// From 0 to 1. A new hasher has new keys.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}
