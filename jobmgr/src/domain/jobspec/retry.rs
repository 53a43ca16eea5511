//! Running a job again after it failed.

use std::time::Duration;

use crate::domain::job::Reason;

/// The reasons that lie in a job or in what ran it, so that another try may end otherwise.
pub(super) const REASONS: [Reason; 9] = [
    Reason::ExitCode,
    Reason::Signal,
    Reason::Timeout,
    Reason::ExecutorError,
    Reason::ArtifactLimit,
    Reason::Unkillable,
    Reason::OomKilled,
    Reason::Preempted,
    Reason::NodeLost,
];

/// The longest pause, unless the first one is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether, when and how often a job that failed is run again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// How often it is run again; 1 to 100.
    pub max: u32,
    /// The pause before the first time; each later one is twice as long.
    pub backoff: Duration,
    /// After which reasons.
    pub on: Vec<Reason>,
}

impl Default for Retry {
    /// For a job of which only its submission says that it is tried again, and for what a jobspec leaves out.
    fn default() -> Self {
        let own = [Reason::ExitCode, Reason::Signal, Reason::Timeout];
        let systems = [Reason::ExecutorError, Reason::Preempted, Reason::NodeLost];
        Self { max: 0, backoff: Duration::from_secs(10), on: own.into_iter().chain(systems).collect() }
    }
}

impl Retry {
    /// The pause before another run, when the job was run again `tries` times already: twice as long each time, up to
    /// an hour, or `backoff` where that is longer. Of that a random part between the half and the whole, so that jobs
    /// that failed together don't come back together; `random` is from 0 to 1.
    pub fn pause(&self, tries: u32, random: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(tries));
        let whole = doubled.min(self.backoff.max(LONGEST));
        whole / 2 + (whole / 2).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff: Duration) -> Retry {
        Retry { max: 3, backoff, on: vec![Reason::ExitCode] }
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let retry = retry(Duration::from_secs(10));
        let seconds = [0, 1, 2, 3, 8, 9, 31, 32, 1000, u32::MAX].map(|tries| retry.pause(tries, 1.0).as_secs());
        assert_eq!(seconds, [10, 20, 40, 80, 2560, 3600, 3600, 3600, 3600, 3600]);
    }

    #[test]
    fn pauses_are_between_the_half_and_the_whole() {
        let retry = retry(Duration::from_secs(60));
        let pauses = [0.0, 0.25, 0.5, 1.0].map(|random| retry.pause(1, random).as_secs());
        assert_eq!(pauses, [60, 75, 90, 120]);
        // A number that is none does no harm.
        assert_eq!([-1.0, 7.0].map(|random| retry.pause(1, random).as_secs()), [60, 120]);
    }

    #[test]
    fn a_longer_pause_stays_as_long() {
        let day = Duration::from_secs(86_400);
        assert_eq!([0, 5].map(|tries| retry(day).pause(tries, 1.0)), [day, day]);
        assert_eq!(retry(Duration::ZERO).pause(5, 1.0), Duration::ZERO);
    }
}
