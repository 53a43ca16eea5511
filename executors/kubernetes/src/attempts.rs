use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jobmgr_plugin_api::Poll;

use crate::output::Output;

/// What this process knows of the attempts that it follows, by their keys. All of it can be found out again.
#[derive(Default)]
pub struct Attempts {
    all: Mutex<HashMap<String, Arc<Attempt>>>,
}

/// One attempt.
#[derive(Default)]
pub struct Attempt {
    known: Mutex<Known>,
    output: Mutex<Output>,
    /// Its output has ended, so it may have too.
    pub is_silent: AtomicBool,
}

/// What was seen of it.
#[derive(Default)]
pub struct Known {
    /// Its pod's name.
    pub pod: Option<String>,
    /// Nothing comes any more: it has ended, or is gone.
    pub is_over: bool,
    /// jobmgr has deleted its Job.
    pub is_ours: bool,
    /// Since when it can't start, or its node does not answer.
    pub stuck_since: Option<Instant>,
    /// The last answer about it.
    pub poll: Option<Poll>,
    /// What it left in `$JOBMGR_OUTPUT`.
    pub message: Option<String>,
}

impl Attempts {
    /// The attempt of this key.
    pub fn of(&self, key: &str) -> Arc<Attempt> {
        Arc::clone(lock(&self.all).entry(key.to_owned()).or_default())
    }

    /// Forgets it; whether it was the last one.
    pub fn forget(&self, key: &str) -> bool {
        let mut all = lock(&self.all);
        all.remove(key);
        all.is_empty()
    }
}

impl Attempt {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Held while it is read, which may take a while.
    pub fn output(&self) -> MutexGuard<'_, Output> {
        lock(&self.output)
    }

    /// Whether it is to be asked about though nothing has happened: nothing is known of it, or time decides about it.
    pub fn is_open(&self) -> bool {
        let known = self.known();
        known.stuck_since.is_some() || matches!(known.poll, None | Some(Poll::Unknown))
    }

    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
