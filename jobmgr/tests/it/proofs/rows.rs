//! Jobs as this process reads them from the database.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use jobmgr::blobs::Blobs;
use jobmgr::config::Storage;
use jobmgr::domain::job::{Attempt, Job, JobId};
use jobmgr::domain::keys;
use jobmgr::store::{Event, Store};
use tokio::runtime::Runtime;

use crate::support::server::Home;

/// How long the jobs of a proof may take to end once nobody disturbs them any more.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The database and the store, read by this process.
pub struct Rows {
    runtime: Runtime,
    pub store: Store,
    blobs: Blobs,
    /// Each job as it was when its end was seen first.
    ended: BTreeMap<JobId, Job>,
}

impl Rows {
    pub fn of(home: &Home) -> Rows {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = format!("file:{}", home.path("artifacts-store").display());
        let storage = Storage { url: Some(url), ..Storage::default() };
        let blobs = Blobs::open(&storage, None).unwrap();
        let store = runtime.block_on(home.store());
        Rows { runtime, store, blobs, ended: BTreeMap::new() }
    }

    pub fn job(&self, id: JobId) -> Option<Job> {
        self.runtime.block_on(self.store.job(id)).unwrap()
    }

    /// The ids up to this one; those of transactions that were undone are missing.
    pub fn up_to(&self, last: JobId) -> Vec<JobId> {
        (1..=last).filter(|id| self.job(*id).is_some()).collect()
    }

    pub fn attempts(&self, id: JobId) -> Vec<Attempt> {
        self.runtime.block_on(self.store.attempts(id)).unwrap()
    }

    pub fn events(&self, id: JobId) -> Vec<Event> {
        self.runtime.block_on(self.store.events_of(id, 0)).unwrap()
    }

    /// Looks at the jobs whose end was not seen yet; gives how many of them have not ended.
    pub fn look(&mut self, ids: &[JobId]) -> usize {
        let mut open = 0;
        for id in ids {
            if self.ended.contains_key(id) {
                continue;
            }
            let (status, _) = self.runtime.block_on(self.store.status(*id)).unwrap().expect("an accepted job is there");
            if status.is_terminal() {
                // Whoever sees the end can read all of it.
                let job = self.job(*id).unwrap();
                assert!(job.ended.is_some(), "{job:?}");
                self.ended.insert(*id, job);
            } else {
                open += 1;
            }
        }
        open
    }

    /// Waits for the end of all of them.
    pub fn wait(&mut self, ids: &[JobId]) {
        let until = Instant::now() + PATIENCE;
        while self.look(ids) > 0 {
            let open = ids.iter().find(|id| !self.ended.contains_key(id)).map(|id| self.job(*id));
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {open:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The job as it is now, which is as it was when its end was seen first.
    pub fn settled(&self, id: JobId) -> Job {
        let (then, now) = (&self.ended[&id], self.job(id).unwrap());
        assert_eq!(format!("{then:?}"), format!("{now:?}"), "an end has changed");
        now
    }

    /// The objects of the installation: their keys, and which attempt of which job each is of.
    pub fn objects(&self) -> Vec<(String, JobId, i64)> {
        let installation = self.store.installation();
        let listed = self.runtime.block_on(async {
            self.blobs.list(&keys::of_installation(installation)).try_collect::<Vec<_>>().await.unwrap()
        });
        let owned = listed.into_iter().map(|object| {
            let (job, attempt) = keys::owner(installation, &object.key).expect("each object is some attempt's");
            (object.key, job, attempt)
        });
        owned.collect()
    }

    pub fn bytes(&self, key: &str) -> Vec<u8> {
        let parts = async { self.blobs.get(key, None).await.unwrap().try_collect::<Vec<_>>().await.unwrap() };
        self.runtime.block_on(parts).concat()
    }
}
