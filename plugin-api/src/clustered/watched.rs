use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clustered::Poll;

/// One job between the poller, which writes, and its follower, which waits.
pub struct Watched<H> {
    pub handle: H,
    state: Mutex<Seen>,
    changed: Condvar,
}

/// What is known of a job.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The last answer.
    pub poll: Option<Poll>,
    /// The answers so far.
    pub answers: u64,
    /// Since when every answer was that it is not known.
    pub unknown_since: Option<Instant>,
    /// Why there is no answer now.
    pub trouble: Option<String>,
    woken: bool,
}

impl<H> Watched<H> {
    pub fn new(handle: H) -> Self {
        Self { handle, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The system has answered.
    pub fn answer(&self, poll: Poll) {
        let mut seen = self.state();
        seen.unknown_since = match poll {
            Poll::Unknown => seen.unknown_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
        let is_news = seen.poll.as_ref() != Some(&poll) || seen.trouble.is_some();
        seen.poll = Some(poll);
        seen.answers += 1;
        seen.trouble = None;
        self.tell(seen, is_news);
    }

    /// The system has not answered.
    pub fn no_answer(&self, why: &str) {
        let mut seen = self.state();
        let is_news = seen.trouble.is_none();
        seen.trouble = Some(why.to_owned());
        // It may have forgotten and learnt again in the meantime.
        seen.unknown_since = None;
        self.tell(seen, is_news);
    }

    /// Ends the follower's wait.
    pub fn wake(&self) {
        self.tell(self.state(), true);
    }

    fn tell(&self, mut seen: MutexGuard<'_, Seen>, is_news: bool) {
        if is_news {
            seen.woken = true;
            self.changed.notify_all();
        }
    }

    /// Waits for news, at most `limit`; gives what is known then.
    pub fn wait(&self, limit: Duration) -> Seen {
        let until = Instant::now() + limit;
        let mut seen = self.state();
        while !seen.woken {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        seen.woken = false;
        seen.clone()
    }
}
