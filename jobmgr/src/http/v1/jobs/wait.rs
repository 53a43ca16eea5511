//! Waiting until a job has ended.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::job::JobId;
use crate::store::{Store, StoreError};

/// How often the database is asked: another process may end the job, and says so to nobody here.
const EVERY: Duration = Duration::from_millis(100);
/// The pauses grow up to this.
const SELDOM: Duration = Duration::from_secs(1);

/// Waits until the job has ended or is gone, for `patience` at most, and no longer than `closing`.
///
/// # Errors
/// When the database fails.
pub async fn for_end(
    store: &Store,
    id: JobId,
    patience: Duration,
    closing: &CancellationToken,
) -> Result<(), StoreError> {
    let until = Instant::now() + patience;
    let news = store.news_of(id);
    let mut pause = EVERY;
    loop {
        let told = news.told();
        tokio::pin!(told);
        told.as_mut().enable();
        let standing = store.status(id).await?;
        if standing.is_none_or(|(status, _)| status.is_terminal()) || Instant::now() >= until {
            return Ok(());
        }
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep_until(until.min(Instant::now() + pause)) => {}
            () = closing.cancelled() => return Ok(()),
        }
        pause = SELDOM.min(pause * 2);
    }
}
