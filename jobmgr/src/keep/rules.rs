//! How long what is kept. No IO: a job, the rules for it, and what follows.

use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use crate::config::Retention;
use crate::domain::duration::GoDuration;
use crate::domain::job::{JobId, Status};
use crate::domain::jobspec::{About, Jobspec};
use crate::store::Aging;

/// How long the jobs of one name are kept, as far as its jobspec says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Ended jobs.
    pub jobs: Option<Duration>,
    /// Failed jobs.
    pub failed: Option<Duration>,
    /// Artifacts.
    pub artifacts: Option<Duration>,
}

impl Keep {
    /// Whether it says anything.
    pub fn says(&self) -> bool {
        *self != Self::default()
    }
}

impl From<&Jobspec> for Keep {
    fn from(spec: &Jobspec) -> Self {
        Self { jobs: spec.keep, failed: spec.keep_failed, artifacts: spec.keep_artifacts }
    }
}

impl From<&About> for Keep {
    fn from(about: &About) -> Self {
        let duration = |millis: Option<u64>| millis.map(Duration::from_millis);
        Self {
            jobs: duration(about.keep_ms),
            failed: duration(about.keep_failed_ms),
            artifacts: duration(about.keep_artifacts_ms),
        }
    }
}

impl From<&Retention> for Keep {
    fn from(retention: &Retention) -> Self {
        Self { jobs: retention.keep, failed: retention.keep_failed, artifacts: retention.keep_artifacts }
    }
}

/// The rule by which something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A key of the jobspec, and what it says.
    Jobspec(&'static str, Duration),
    /// A key of `[Retention]`, and what it says.
    Retention(&'static str, Duration),
    /// `[Retention] MaxArtifactBytes`.
    Room(u64),
}

impl Rule {
    fn is_over(self, age_ms: i64) -> bool {
        let (Rule::Jobspec(_, keep) | Rule::Retention(_, keep)) = self else { return true };
        u128::try_from(age_ms).is_ok_and(|age| age >= keep.as_millis())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Jobspec(key, keep) => write!(f, "{key} = \"{}\" of its jobspec", GoDuration::from(*keep)),
            Rule::Retention(key, keep) => write!(f, "[Retention] {key} = \"{}\"", GoDuration::from(*keep)),
            Rule::Room(bytes) => write!(f, "[Retention] MaxArtifactBytes = {bytes}"),
        }
    }
}

/// What a job loses by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Itself, with everything.
    Job(Rule),
    /// Its artifacts.
    Artifacts(Rule),
}

/// What `job` loses, by what its jobspec and `[Retention]` say.
pub fn loss(job: &Aging, spec: Keep, retention: Keep) -> Option<Loss> {
    let status = job.status.filter(|status| status.is_terminal())?;
    let age = job.age_ms?;
    let of_spec = |key, keep: Option<Duration>| keep.map(|keep| Rule::Jobspec(key, keep));
    let of_all = |key, keep: Option<Duration>| keep.map(|keep| Rule::Retention(key, keep));
    let jobs = if status == Status::Failed {
        of_spec("KeepFailed", spec.failed)
            .or(of_spec("Keep", spec.jobs))
            .or(of_all("KeepFailed", retention.failed))
            .or(of_all("Keep", retention.jobs))
    } else {
        of_spec("Keep", spec.jobs).or(of_all("Keep", retention.jobs))
    };
    if let Some(rule) = jobs.filter(|rule| rule.is_over(age)) {
        return Some(Loss::Job(rule));
    }
    let artifacts = of_spec("KeepArtifacts", spec.artifacts).or(of_all("KeepArtifacts", retention.artifacts));
    artifacts.filter(|rule| job.artifacts > 0 && rule.is_over(age)).map(Loss::Artifacts)
}

/// The jobs that ended first, as many as have to lose their artifacts so that the rest is small enough. Holds no more
/// of them than that.
#[derive(Debug, Default)]
pub struct Oldest {
    /// How many bytes have to go.
    over: u64,
    bytes: u64,
    /// The youngest on top.
    jobs: BinaryHeap<(Youth, JobId, u64)>,
}

/// Older is greater in age, and less in this.
type Youth = std::cmp::Reverse<i64>;

impl Oldest {
    /// When `total` bytes are there and `most` may be.
    pub fn new(total: u64, most: u64) -> Self {
        Self { over: total.saturating_sub(most), ..Self::default() }
    }

    /// So many bytes go anyway.
    pub fn freed(&mut self, bytes: u64) {
        self.over = self.over.saturating_sub(bytes);
        self.prune();
    }

    /// A job of this age that has so many bytes of artifacts.
    pub fn offer(&mut self, job: JobId, age_ms: i64, bytes: u64) {
        if bytes > 0 {
            self.bytes += bytes;
            self.jobs.push((std::cmp::Reverse(age_ms), job, bytes));
            self.prune();
        }
    }

    fn prune(&mut self) {
        while let Some((_, _, bytes)) = self.jobs.peek().filter(|top| self.bytes - top.2 >= self.over) {
            self.bytes -= bytes;
            self.jobs.pop();
        }
    }

    /// Them, the one that ended first at the front.
    pub fn jobs(self) -> Vec<JobId> {
        self.jobs.into_sorted_vec().into_iter().map(|(_, job, _)| job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn days(days: u64) -> Option<Duration> {
        Some(Duration::from_secs(days * 86_400))
    }

    fn job(status: Status, age_days: i64, artifacts: i64) -> Aging {
        Aging { id: 1, status: Some(status), name: "x".into(), age_ms: Some(age_days * 86_400_000), artifacts }
    }

    fn keep(jobs: Option<Duration>, failed: Option<Duration>, artifacts: Option<Duration>) -> Keep {
        Keep { jobs, failed, artifacts }
    }

    const NOTHING: Keep = Keep { jobs: None, failed: None, artifacts: None };

    /// By which key a job of 100 days goes; "" stays.
    fn key(status: Status, spec: Keep, retention: Keep) -> &'static str {
        match loss(&job(status, 100, 0), spec, retention) {
            Some(Loss::Job(Rule::Jobspec(key, _))) => {
                if key == "Keep" {
                    "spec"
                } else {
                    "spec failed"
                }
            }
            Some(Loss::Job(Rule::Retention(key, _))) => {
                if key == "Keep" {
                    "all"
                } else {
                    "all failed"
                }
            }
            Some(other) => panic!("{other:?}"),
            None => "",
        }
    }

    #[test]
    fn the_first_key_that_is_set_says_how_long() {
        let (short, long) = (days(1), days(1000));
        for status in [Status::Completed, Status::Canceled] {
            assert_eq!(key(status, NOTHING, NOTHING), "");
            assert_eq!(key(status, NOTHING, keep(short, long, None)), "all");
            assert_eq!(key(status, NOTHING, keep(None, short, None)), "", "KeepFailed is for failed jobs");
            assert_eq!(key(status, keep(short, long, None), keep(long, long, None)), "spec");
            assert_eq!(key(status, keep(long, short, None), keep(short, short, None)), "", "the jobspec goes over all");
        }
        let failed = Status::Failed;
        assert_eq!(key(failed, NOTHING, NOTHING), "");
        assert_eq!(key(failed, NOTHING, keep(short, None, None)), "all");
        assert_eq!(key(failed, NOTHING, keep(long, short, None)), "all failed");
        assert_eq!(key(failed, NOTHING, keep(short, long, None)), "");
        assert_eq!(key(failed, keep(short, None, None), keep(long, long, None)), "spec");
        assert_eq!(key(failed, keep(long, None, None), keep(short, short, None)), "");
        assert_eq!(key(failed, keep(long, short, None), keep(long, long, None)), "spec failed");
        assert_eq!(key(failed, keep(short, long, None), keep(short, short, None)), "");
    }

    #[test]
    fn only_what_has_ended_ages() {
        let now = keep(Some(Duration::ZERO), None, Some(Duration::ZERO));
        for status in Status::ALL {
            assert_eq!(loss(&job(status, 100, 1), NOTHING, now).is_some(), status.is_terminal(), "{status}");
        }
        let broken = Aging { status: None, ..job(Status::Completed, 100, 1) };
        assert_eq!(loss(&broken, now, now), None);
        let timeless = Aging { age_ms: None, ..job(Status::Completed, 100, 1) };
        assert_eq!(loss(&timeless, now, now), None);
    }

    #[test]
    fn an_age_is_reached_to_the_millisecond() {
        let rules = keep(Some(Duration::from_millis(500)), None, None);
        for (age_ms, goes) in [(-5, false), (0, false), (499, false), (500, true), (501, true), (i64::MAX, true)] {
            let job = Aging { age_ms: Some(age_ms), ..job(Status::Completed, 0, 0) };
            assert_eq!(loss(&job, NOTHING, rules).is_some(), goes, "{age_ms}");
        }
    }

    #[test]
    fn artifacts_go_before_their_job_or_with_it() {
        let all = keep(days(50), None, days(10));
        let losses = |age, artifacts, spec| loss(&job(Status::Completed, age, artifacts), spec, all);
        assert_eq!(losses(9, 1, NOTHING), None);
        assert_eq!(losses(10, 1, NOTHING), Some(Loss::Artifacts(Rule::Retention("KeepArtifacts", days(10).unwrap()))));
        assert_eq!(losses(10, 0, NOTHING), None, "they are gone already");
        assert!(matches!(losses(50, 1, NOTHING), Some(Loss::Job(_))));
        let spec = keep(None, None, days(20));
        assert_eq!(losses(10, 1, spec), None);
        assert_eq!(losses(20, 1, spec), Some(Loss::Artifacts(Rule::Jobspec("KeepArtifacts", days(20).unwrap()))));
    }

    #[test]
    fn no_more_of_the_oldest_go_than_have_to() {
        // Age, bytes; the job's id is its place.
        let jobs = [(10, 100), (40, 50), (30, 60), (5, 1000), (20, 70), (50, 0)];
        let total: u64 = jobs.iter().map(|job| job.1).sum();
        let gone = |most: u64, freed: u64| {
            let mut oldest = Oldest::new(total, most);
            for (id, (age, bytes)) in (0..).zip(jobs) {
                oldest.offer(id, age, bytes);
            }
            oldest.freed(freed);
            oldest.jobs()
        };
        assert_eq!(gone(total, 0), [] as [JobId; 0]);
        assert_eq!(gone(total - 1, 0), [1]);
        assert_eq!(gone(total - 50, 0), [1]);
        assert_eq!(gone(total - 51, 0), [1, 2]);
        assert_eq!(gone(total - 51, 1), [1], "what goes by its age makes room too");
        assert_eq!(gone(0, 0), [1, 2, 4, 0, 3]);
        assert_eq!(gone(total + 5, 0), [] as [JobId; 0]);
    }

    #[test]
    fn rules_are_told_as_they_are_written() {
        assert_eq!(Rule::Jobspec("Keep", Duration::from_secs(2)).to_string(), "Keep = \"2s\" of its jobspec");
        assert_eq!(Rule::Retention("KeepFailed", days(1).unwrap()).to_string(), "[Retention] KeepFailed = \"24h0m0s\"");
        assert_eq!(Rule::Room(5).to_string(), "[Retention] MaxArtifactBytes = 5");
    }
}
