//! Who waits for what becomes of which job, within this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::feed::Following;
use crate::domain::job::JobId;

/// The jobs for whose news somebody waits.
#[derive(Default)]
pub(super) struct Desk {
    waiting: Mutex<HashMap<JobId, Weak<Notify>>>,
}

/// Somebody waits for news of a job.
pub struct News {
    id: JobId,
    told: Arc<Notify>,
    desk: Arc<Desk>,
    /// Where other processes tell what they do, somebody has to listen.
    _following: Option<Following>,
}

impl Desk {
    /// Waits for news of a job from now on.
    pub(super) fn of(self: &Arc<Self>, id: JobId, following: Option<Following>) -> News {
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
        News { id, told, desk: Arc::clone(self), _following: following }
    }

    /// Wakes everybody: something was missed.
    pub(super) fn tell_all(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().filter_map(Weak::upgrade).for_each(|told| told.notify_waiters());
    }

    /// Wakes who waits for this job.
    pub(super) fn tell(&self, id: JobId) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = waiting.get(&id).and_then(Weak::upgrade) {
            told.notify_waiters();
        }
    }
}

impl News {
    /// What is signalled; for who has to hold it apart from this.
    pub fn signal(&self) -> &Arc<Notify> {
        &self.told
    }

    /// Resolves when the job may have come to another status. Created before a look at the job, it misses no change
    /// after that look.
    pub fn told(&self) -> tokio::sync::futures::Notified<'_> {
        self.told.notified()
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let mut waiting = self.desk.waiting.lock().unwrap_or_else(PoisonError::into_inner);
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
        let desk = Arc::new(Desk::default());
        let (one, two, other) = (desk.of(7, None), desk.of(7, None), desk.of(8, None));
        let told = async { tokio::join!(one.told(), two.told()) };
        let tell = async { desk.tell(7) };
        tokio::join!(biased; told, tell);
        drop(one);
        tokio::join!(biased; two.told(), async { desk.tell(7) });
        drop((two, other));
        assert!(desk.waiting.lock().unwrap().is_empty());
        desk.tell(7);
    }
}
