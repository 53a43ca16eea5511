//! How often something may be done: a bucket of tokens that fills as time passes.

use std::time::{Duration, Instant};

/// So many in a minute, of which all may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

impl Rate {
    fn per_second(self) -> f64 {
        self.0 as f64 / 60.0
    }
}

/// What is left at some time.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.0 as f64, at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate.per_second()).min(rate.0 as f64);
        self.at = self.at.max(now);
    }

    /// Takes one out.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - self.left) / rate.per_second()).unwrap_or(Duration::from_secs(60)))
    }

    /// Whether it has filled again, so that a new one would be the same.
    pub fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= rate.0 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_after_so_many_and_fills_with_time() {
        let (rate, start) = (Rate(60), Instant::now());
        let mut bucket = Bucket::full(rate, start);
        for _ in 0..60 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        let wait = bucket.take(rate, start).unwrap_err();
        assert!(wait > Duration::from_millis(990) && wait < Duration::from_millis(1010), "{wait:?}");
        let later = start + Duration::from_millis(2100);
        assert_eq!([bucket.take(rate, later), bucket.take(rate, later)], [Ok(()), Ok(())]);
        assert!(bucket.take(rate, later).is_err());
        assert!(!bucket.is_full(rate, later) && bucket.is_full(rate, later + Duration::from_secs(60)));
    }

    #[test]
    fn it_holds_no_more_than_a_minutes_worth() {
        let (rate, start) = (Rate(2), Instant::now());
        let mut bucket = Bucket::full(rate, start);
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(rate, later).is_ok() && bucket.take(rate, later).is_ok());
        assert!(bucket.take(rate, later).is_err());
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing_away() {
        let (rate, start) = (Rate(1), Instant::now());
        let mut bucket = Bucket::full(rate, start + Duration::from_secs(60));
        assert!(bucket.take(rate, start).is_ok() && bucket.take(rate, start).is_err());
    }
}
