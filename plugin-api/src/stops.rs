//! A stop that is asked for once, and whoever waits for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{OnStop, Stop};

/// For those who implement [`Host`](crate::Host): the stop of one call.
#[derive(Default)]
pub struct Stops {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: Option<Stop>,
    calls: Vec<(u64, OnStop)>,
    running: Option<u64>,
    last: u64,
}

impl Stops {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a stop, and calls who wants to know, on this thread. Only the first one counts.
    pub fn ask(&self, why: Stop) {
        let mut state = self.state();
        if state.stop.is_some() {
            return;
        }
        state.stop = Some(why);
        self.changed.notify_all();
        while !state.calls.is_empty() {
            let (id, mut call) = state.calls.remove(0);
            state.running = Some(id);
            drop(state);
            call(why);
            state = self.state();
            state.running = None;
            self.changed.notify_all();
        }
    }

    /// The stop, if one was asked for before `limit` is over.
    pub fn wait(&self, limit: Duration) -> Option<Stop> {
        let until = Instant::now().checked_add(limit);
        let mut state = self.state();
        while state.stop.is_none() {
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stop
    }

    /// Has `call` called when a stop is asked for; at once where it was. Gives what takes it back.
    pub fn add(&self, mut call: OnStop) -> u64 {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        match state.stop {
            Some(why) => {
                drop(state);
                call(why);
            }
            None => state.calls.push((id, call)),
        }
        id
    }

    /// Takes a call back; returns only when it is not running.
    pub fn remove(&self, id: u64) {
        let mut state = self.state();
        state.calls.retain(|(other, _)| *other != id);
        while state.running == Some(id) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
