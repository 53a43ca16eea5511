//! How many jobs of a user may wait.
//!
//! The count comes from the database, and is counted on here meanwhile, so that a submission seldom waits for it. Where
//! several processes take a user's jobs the limit is passed by what they take within a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Api;
use super::caller::Caller;
use super::v1::{Code, Problem};

/// How long a count holds.
const FRESH: Duration = Duration::from_secs(1);
/// The same of a queue that is less than half full.
const FRESH_ENOUGH: Duration = Duration::from_secs(10);
/// How many users' counts are remembered.
const USERS: usize = 10_000;

/// What is known of the queues of users.
#[derive(Default)]
pub struct Queues(Mutex<HashMap<i64, Count>>);

#[derive(Clone, Copy)]
struct Count {
    queued: u64,
    counted: Instant,
}

impl Count {
    /// Whether it can still be told from this that so many more have room.
    fn serves(self, more: u64, most: u64) -> bool {
        let room = self.queued.saturating_add(more) <= most;
        let age = if self.queued.saturating_add(more) <= most / 2 { FRESH_ENOUGH } else { FRESH };
        // A queue gets shorter without our knowing: who is refused is refused by a new count.
        room && self.counted.elapsed() < age
    }
}

impl Queues {
    fn take(&self, user: i64, more: u64, most: u64) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&user) {
            Some(count) if count.serves(more, most) => {
                count.queued += more;
                true
            }
            _ => false,
        }
    }

    fn set(&self, user: i64, queued: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= USERS {
            counts.retain(|_, count| count.counted.elapsed() < FRESH_ENOUGH);
        }
        counts.insert(user, Count { queued, counted: Instant::now() });
    }
}

/// Whether the caller may queue so many more jobs.
///
/// # Errors
/// They may not now, or the database failed.
pub async fn check(api: &Api, caller: &Caller, more: usize) -> Result<(), Problem> {
    let (user, more, most) = (caller.user_id, more as u64, api.gate.max_queued(caller));
    if api.queues.take(user, more, most) {
        return Ok(());
    }
    let queued = api.store.queued_of(user, most).await.map_err(|error| Problem::failed(&error))?;
    api.queues.set(user, queued);
    if api.queues.take(user, more, most) {
        return Ok(());
    }
    let detail = format!("{most} jobs of user {user} may be queued, and {queued} are; wait until some have started");
    Err(Problem::new(Code::RateLimited, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_serves_while_there_is_room_and_it_is_new() {
        let queues = Queues::default();
        assert!(!queues.take(1, 1, 10), "nothing is known");
        queues.set(1, 8);
        assert!(queues.take(1, 1, 10) && queues.take(1, 1, 10));
        assert!(!queues.take(1, 1, 10), "it is counted on");
        assert!(!queues.take(2, 1, 10), "another user");
        let old = |queued, age| Count { queued, counted: Instant::now() - age };
        assert!(!old(8, FRESH).serves(1, 10) && old(3, FRESH).serves(1, 10));
        assert!(!old(3, FRESH_ENOUGH).serves(1, 10));
        assert!(!old(u64::MAX, Duration::ZERO).serves(1, u64::MAX - 1));
    }
}
