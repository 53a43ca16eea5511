use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jobmgr_plugin_api::Result;
use jobmgr_plugin_api::runtime::runtime;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api as Resources, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::api::Api;
use crate::{Handle, manifest};

/// How long the API server is asked to keep a connection, in seconds: as long as it may.
const CONNECTION: u32 = 290;
/// How long nothing may come over one.
const SILENCE: Duration = Duration::from_secs(CONNECTION as u64 + 30);
/// How often all jobs are asked about all the same: a connection may be dead without anybody knowing.
const RELIST: Duration = Duration::from_secs(60);
/// How long a connection lasts at least that is opened again at once; doubled for each that does not.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause, as where jobmgr's account may not watch.
const LONGEST: Duration = Duration::from_secs(60);

/// The namespaces that are watched.
#[derive(Default)]
pub struct Feeds(Mutex<HashMap<String, Arc<Feed>>>);

impl Feeds {
    /// What tells of changes in these namespaces; others are not watched any more.
    pub fn of<T>(&self, api: &Api, namespaces: &BTreeMap<&str, T>) -> Result<HashMap<String, Arc<Feed>>> {
        let mut feeds = lock(&self.0);
        feeds.retain(|namespace, _| namespaces.contains_key(namespace.as_str()));
        for namespace in namespaces.keys() {
            if !feeds.contains_key(*namespace) {
                feeds.insert((*namespace).to_owned(), Arc::new(Feed::open(api, namespace)?));
            }
        }
        Ok(feeds.clone())
    }

    /// Whether something has happened to a job since it was asked about.
    pub fn tell_of(&self, handle: &Handle) -> bool {
        lock(&self.0).get(&handle.namespace).is_some_and(|feed| lock(&feed.changes.keys).contains(&handle.name))
    }

    /// Nothing is watched until there are jobs again.
    pub fn close(&self) {
        lock(&self.0).clear();
    }
}

/// What happens in a namespace, as the API server tells it: two watches that go on where they were broken off. They
/// say about which jobs it is worth while to ask, and the answer is a list: the two tell nothing of which came first,
/// the end of a Job or that of its pod.
pub struct Feed {
    changes: Arc<Changes>,
    /// The versions of the last lists of all jobs and pods, from which a watch may go on.
    listed: [watch::Sender<Option<String>>; 2],
    tasks: [AbortHandle; 2],
}

#[derive(Default)]
struct Changes {
    /// The jobs to which something has happened.
    keys: Mutex<HashSet<String>>,
    /// Whether the watch of Jobs is there, and that of pods.
    live: [AtomicBool; 2],
    /// When all jobs were asked about last.
    asked: Mutex<Option<Instant>>,
}

/// About which jobs to ask.
pub enum Due<'h> {
    /// Those that something has happened to.
    Some(Vec<&'h Handle>),
    /// All: there was no watch, or it has been a while.
    All,
}

impl Feed {
    fn open(api: &Api, namespace: &str) -> Result<Self> {
        let (jobs, pods) = (api.resources::<Job>(namespace)?, api.resources::<Pod>(namespace)?);
        let changes = Arc::new(Changes::default());
        let listed = [watch::Sender::new(None), watch::Sender::new(None)];
        let jobs = runtime().spawn(follow(jobs, Arc::clone(&changes), 0, listed[0].subscribe()));
        let pods = runtime().spawn(follow(pods, Arc::clone(&changes), 1, listed[1].subscribe()));
        Ok(Self { changes, listed, tasks: [jobs.abort_handle(), pods.abort_handle()] })
    }

    /// About which of these to ask now; `needs`: about which to ask whatever happens.
    pub fn due<'h>(&self, handles: &[&'h Handle], needs: impl Fn(&Handle) -> bool) -> Due<'h> {
        let changed = std::mem::take(&mut *lock(&self.changes.keys));
        let is_watched = self.changes.live.iter().all(|live| live.load(Ordering::Relaxed));
        let mut asked = lock(&self.changes.asked);
        if is_watched && asked.is_some_and(|when| when.elapsed() < RELIST) {
            let due = handles.iter().filter(|handle| changed.contains(&handle.name) || needs(handle));
            return Due::Some(due.copied().collect());
        }
        *asked = Some(Instant::now());
        Due::All
    }

    /// There was no answer: next time all are asked about.
    pub fn missed(&self) {
        *lock(&self.changes.asked) = None;
    }

    /// The versions of lists of all Jobs and of all pods.
    pub fn listed(&self, jobs: Option<String>, pods: Option<String>) {
        self.listed[0].send_replace(jobs);
        self.listed[1].send_replace(pods);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Watches one kind of objects, from the version of a list on, then from that of the last event. Where the API server
/// has forgotten that, it waits for the next list.
async fn follow<K>(
    resources: Resources<K>,
    changes: Arc<Changes>,
    which: usize,
    mut listed: watch::Receiver<Option<String>>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let how = WatchParams::default().labels(manifest::KEY).timeout(CONNECTION);
    let (mut version, mut pause) = (None, PAUSE);
    loop {
        let Some(from) = version.take() else {
            if listed.changed().await.is_err() {
                return;
            }
            version.clone_from(&listed.borrow_and_update());
            continue;
        };
        let begun = Instant::now();
        version = match resources.watch(&how, &from).await {
            Ok(events) => {
                changes.live[which].store(true, Ordering::Relaxed);
                let last = until_end(events, from, &changes).await;
                changes.live[which].store(false, Ordering::Relaxed);
                last
            }
            Err(kube::Error::Api(status)) if status.code == 410 => None,
            Err(_) => Some(from),
        };
        if begun.elapsed() < pause {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        } else {
            pause = PAUSE;
        }
    }
}

/// Notes what happens until the connection ends; the version from which to go on, `None` where that is forgotten.
async fn until_end<K: Resource>(
    events: impl futures_util::Stream<Item = kube::Result<WatchEvent<K>>>,
    mut version: String,
    changes: &Changes,
) -> Option<String> {
    let mut events = std::pin::pin!(events);
    while let Ok(Some(Ok(event))) = tokio::time::timeout(SILENCE, events.next()).await {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                version = object.resource_version().unwrap_or(version);
                lock(&changes.keys).extend(object.labels().get(manifest::KEY).cloned());
            }
            WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
            WatchEvent::Error(status) if status.code == 410 => return None,
            WatchEvent::Error(_) => break,
        }
    }
    Some(version)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
