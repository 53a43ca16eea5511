//! Jobs whose jobspec no living worker has. A worker that is alone claims and ends them at once; where there are
//! several, nobody claims what it does not have, so that they are looked for.

use super::Shared;
use super::attempt::UNKNOWN;
use crate::domain::job::{JobId, Reason};
use crate::store::StoreError;

/// How many pages of the queue are looked at in one go.
const PAGES: usize = 10;
/// Where the queue begins.
const START: (i64, JobId) = (i64::MIN, 0);

/// How far the queue was looked through.
pub(super) struct Nameless {
    after: (i64, JobId),
}

impl Default for Nameless {
    fn default() -> Self {
        Self { after: START }
    }
}

impl Nameless {
    /// Ends those among the next pages.
    pub(super) async fn look(&mut self, shared: &Shared) -> Result<(), StoreError> {
        if shared.scope.borrow().names.is_none() {
            return Ok(());
        }
        let store = &shared.parts.store;
        let offered = store.offered().await?;
        for _ in 0..PAGES {
            let page = store.waiting(self.after, UNKNOWN).await?;
            let Some((id, priority, _)) = page.last() else {
                self.after = START;
                return Ok(());
            };
            self.after = (*priority, *id);
            let unknown = page.iter().filter(|(_, _, name)| !offered.contains(name));
            let ids: Vec<JobId> = unknown.map(|(id, _, _)| *id).collect();
            if !ids.is_empty() {
                store.fail_queued(ids, Reason::InvalidJob, "job does not exist").await?;
            }
        }
        Ok(())
    }
}
