//! How much there is to do.

use std::sync::Arc;

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::classic::Compact;
use super::super::docs::Tag;
use super::super::{Api, Caller};
use super::failed::{Causes, Failed};
use super::problem::{Code, Problem};
use crate::domain::job::Status;
use crate::store::{Counts, RATED};

/// `GET /v1/stats`
pub struct Stats {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong.
struct OfStats;

impl Causes for OfStats {
    const CODES: &'static [Code] = &[Code::Unavailable];
}

#[OpenApi]
impl Stats {
    /// Count jobs
    ///
    /// How many jobs there are by status, of those that the caller may see, how long the oldest that could start has
    /// been waiting, and how many came and ended lately.
    #[oai(path = "/v1/stats", method = "get", operation_id = "getStats", tag = "Tag::Server")]
    async fn stats(&self, caller: Caller) -> Result<StatsAnswer, Failed<OfStats>> {
        let counts = self
            .api
            .store
            .counts((!caller.sees_all).then_some(caller.user_id))
            .await
            .map_err(|error| Problem::failed(&error))?;
        Ok(StatsAnswer::Stats(Compact(counts.into())))
    }
}

/// How many jobs there are.
#[derive(Object, Serialize)]
#[oai(rename = "Stats", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct StatsInfo {
    /// They wait.
    queued: u64,
    /// They run.
    started: u64,
    /// They ended well.
    completed: u64,
    /// They ended badly.
    failed: u64,
    /// They were ended on request.
    canceled: u64,
    /// How long the oldest job that could start waits, in milliseconds; null: none does.
    #[oai(nullable)]
    oldest_queued_ms: Option<u64>,
    /// How many were submitted per minute, over the last five.
    submitted_per_minute: f64,
    /// How many ended per minute, over the last five.
    finished_per_minute: f64,
}

impl From<Counts> for StatsInfo {
    fn from(counts: Counts) -> Self {
        let of = |status: Status| {
            counts.by_status.iter().find(|(counted, _)| *counted == status).map_or(0, |(_, count)| *count)
        };
        Self {
            queued: of(Status::Queued),
            started: of(Status::Started),
            completed: of(Status::Completed),
            failed: of(Status::Failed),
            canceled: of(Status::Canceled),
            oldest_queued_ms: counts.oldest_queued_ms,
            submitted_per_minute: per_minute(counts.submitted),
            finished_per_minute: per_minute(counts.finished),
        }
    }
}

/// To one decimal.
fn per_minute(count: u64) -> f64 {
    let minutes = RATED.as_secs_f64() / 60.0;
    (count as f64 / minutes * 10.0).round() / 10.0
}

#[derive(ApiResponse)]
enum StatsAnswer {
    /// The counts.
    #[oai(status = 200)]
    Stats(Compact<StatsInfo>),
}
