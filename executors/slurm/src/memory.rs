use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobmgr_plugin_api::progress::Progress;
use jobmgr_plugin_api::wrapped::Report;

/// What this process knows of the jobs that it follows, by their keys. Nothing is lost with it.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, Known>>);

/// Of one job.
#[derive(Default)]
pub struct Known {
    /// What it said last of how far it is.
    pub progress: Option<Progress>,
    /// What `jobmgr wrap` told of it.
    pub report: Option<Report>,
}

impl Memory {
    /// Looks at, or changes, what is known of one.
    pub fn of<T>(&self, key: &str, act: impl FnOnce(&mut Known) -> T) -> T {
        act(self.known().entry(key.to_owned()).or_default())
    }

    pub fn forget(&self, key: &str) {
        self.known().remove(key);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
