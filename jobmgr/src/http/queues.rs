//! How many jobs of a user may wait.
//!
//! The count comes from the database, and is counted on here meanwhile, so that a submission seldom waits for it. Where
//! several processes take a user's jobs the limit is passed by what they take within a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Api;
use super::caller::Caller;
use super::v1::{Code, Problem};

/// How long a count holds.
const FRESH: Duration = Duration::from_secs(1);
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

/// What follows from what is known.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// There is room.
    Plenty,
    /// There was room enough, but it has to be counted again, by this caller alone.
    Enough,
    /// There is none.
    None(u64),
    /// It has to be counted before anybody can tell.
    Unknown,
}

impl Queues {
    /// Takes room for so many more.
    fn take(&self, user: i64, more: u64, most: u64) -> Room {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&user) else { return Room::Unknown };
        let queued = count.queued.saturating_add(more);
        let old = count.counted.elapsed() >= FRESH;
        if old {
            // Others go by what is known until this one has counted.
            count.counted = Instant::now();
            if queued > most / 2 {
                return Room::Unknown;
            }
        }
        if queued > most {
            return Room::None(count.queued);
        }
        count.queued = queued;
        if old { Room::Enough } else { Room::Plenty }
    }

    fn set(&self, user: i64, queued: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= USERS {
            counts.retain(|_, count| count.counted.elapsed() < FRESH);
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
    let queued = match api.queues.take(user, more, most) {
        Room::Plenty => return Ok(()),
        Room::Enough => {
            let (store, queues) = (api.store.clone(), Arc::clone(&api.queues));
            tokio::spawn(async move {
                match store.queued_of(user, most).await {
                    Ok(queued) => queues.set(user, queued),
                    Err(error) => tracing::warn!(user, %error, "can't count queued jobs"),
                }
            });
            return Ok(());
        }
        Room::None(queued) => queued,
        Room::Unknown => {
            let queued = api.store.queued_of(user, most).await.map_err(|error| Problem::failed(&error))?;
            api.queues.set(user, queued);
            match api.queues.take(user, more, most) {
                Room::None(queued) => queued,
                _ => return Ok(()),
            }
        }
    };
    let detail = format!("{most} jobs of user {user} may be queued, and {queued} are; wait until some have started");
    Err(Problem::new(Code::RateLimited, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_counted_on() {
        let queues = Queues::default();
        assert_eq!(queues.take(1, 1, 10), Room::Unknown);
        queues.set(1, 8);
        assert_eq!([1, 1, 1].map(|more| queues.take(1, more, 10)), [Room::Plenty, Room::Plenty, Room::None(10)]);
        assert_eq!(queues.take(2, 1, 10), Room::Unknown, "another user");
        assert_eq!(queues.take(1, u64::MAX, 10), Room::None(10));
    }

    #[test]
    fn one_counts_again_what_is_old() {
        let queues = Queues::default();
        let age = |queued| {
            let counted = Instant::now().checked_sub(FRESH).unwrap();
            queues.0.lock().unwrap().insert(1, Count { queued, counted });
        };
        age(3);
        assert_eq!([1, 1].map(|more| queues.take(1, more, 10)), [Room::Enough, Room::Plenty]);
        age(5);
        assert_eq!([1, 1].map(|more| queues.take(1, more, 10)), [Room::Unknown, Room::Plenty]);
        age(10);
        assert_eq!([1, 1].map(|more| queues.take(1, more, 10)), [Room::Unknown, Room::None(10)]);
    }
}
