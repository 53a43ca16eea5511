//! Who waits for the end of which job, within this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::domain::job::JobId;

/// The jobs whose end is waited for.
#[derive(Default)]
pub(super) struct Ends {
    waiting: Mutex<HashMap<JobId, Weak<Notify>>>,
}

/// Somebody waits for a job's end.
pub struct End {
    id: JobId,
    told: Arc<Notify>,
    ends: Arc<Ends>,
}

impl Ends {
    /// Waits for a job's end from now on.
    pub(super) fn of(self: &Arc<Self>, id: JobId) -> End {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match waiting.entry(id) {
            Entry::Occupied(mut there) => there.get().upgrade().unwrap_or_else(|| {
                let told = Arc::new(Notify::new());
                there.insert(Arc::downgrade(&told));
                told
            }),
            Entry::Vacant(free) => {
                let told = Arc::new(Notify::new());
                free.insert(Arc::downgrade(&told));
                told
            }
        };
        End { id, told, ends: Arc::clone(self) }
    }

    /// Wakes who waits for this job.
    pub(super) fn tell(&self, id: JobId) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = waiting.get(&id).and_then(Weak::upgrade) {
            told.notify_waiters();
        }
    }
}

impl End {
    /// Resolves when the job may have ended. Created before a look at the job, it misses no end after that look.
    pub fn told(&self) -> tokio::sync::futures::Notified<'_> {
        self.told.notified()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut waiting = self.ends.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // The count can't rise meanwhile: that takes the lock.
        if Arc::strong_count(&self.told) == 1 {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_and_nobody_stays() {
        let ends = Arc::new(Ends::default());
        let (one, two, other) = (ends.of(7), ends.of(7), ends.of(8));
        let told = async { tokio::join!(one.told(), two.told()) };
        let tell = async { ends.tell(7) };
        tokio::join!(biased; told, tell);
        drop(one);
        tokio::join!(biased; two.told(), async { ends.tell(7) });
        drop((two, other));
        assert!(ends.waiting.lock().unwrap().is_empty());
        ends.tell(7);
    }
}
