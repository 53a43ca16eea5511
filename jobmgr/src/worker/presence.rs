//! That this process is there, what it has, and what the others have.
//!
//! Every process on a database says now and then that it is alive, workers also which jobspecs they have. From what
//! the others say follows what this one may claim: whatever is there while it is alone, else the jobs that it can run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Groups;
use crate::blobs::Blobs;
use crate::domain::gpu::Gpu;
use crate::domain::jobspec::{About, Jobspec};
use crate::jobspecs::Jobspecs;
use crate::runner::plugin::Plugins;
use crate::store::{self, Offer, Scope, Store, StoreError};

/// How often the folder of jobspecs is looked at while there are other workers.
const LOOK: Duration = Duration::from_secs(1);

/// What a process says of itself.
pub struct Presence {
    store: Store,
    blobs: Blobs,
    /// Those that it can run; `None` in a process without slots.
    able: Option<(Jobspecs, Plugins)>,
    says: store::Presence,
    /// How long the others believe it.
    alive: Duration,
    published: Option<Vec<Offer>>,
    scope: watch::Sender<Arc<Scope>>,
    groups: watch::Sender<Arc<Groups>>,
    /// Somebody has reason to believe that the scope is out of date.
    stale: Arc<Notify>,
    beaten: Option<Instant>,
    /// Why this process can't go on.
    misplaced: watch::Sender<Option<String>>,
}

/// Who says it: its id, the name that people gave it, its slots and labels.
pub struct Who {
    /// Unique over all processes and time.
    pub id: String,
    /// What people call it; `None`: as its machine.
    pub name: Option<String>,
    /// How many jobs it runs at once.
    pub slots: usize,
    /// What its configuration says that it has.
    pub labels: Vec<String>,
    /// Which GPUs it has.
    pub gpus: Vec<Gpu>,
}

impl Who {
    /// A process that only answers over HTTP.
    pub fn server(installation: &str, name: Option<String>) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let id = format!("jobmgr-{installation}-api-{}-{}", std::process::id(), &random[..8]);
        Self { id, name, slots: 0, labels: Vec::new(), gpus: Vec::new() }
    }
}

/// A process of which the others know.
pub struct Announced {
    store: Store,
    id: String,
    going: CancellationToken,
    misplaced: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Announced {
    /// Waits until the store, which was away at the start, turns out to be another one than that of the other
    /// processes; gives what is wrong. This process has to end then.
    pub async fn misplaced(&self) -> String {
        let mut misplaced = self.misplaced.clone();
        let said = misplaced.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match said {
            Some(why) => why,
            // Who says it has ended.
            None => std::future::pending().await,
        }
    }

    /// Tells the others that it is gone. What is being said at this moment is waited for: said after that, it would
    /// make others believe for a while that this process is still there.
    pub async fn end(self) {
        self.going.cancel();
        if let Err(error) = self.task.await {
            warn!(%error, "what said that this process is there has failed");
        }
        if let Err(error) = self.store.leave(&self.id).await {
            warn!(%error, "the others take this process for alive a while longer");
        }
    }
}

impl Presence {
    /// Says that it is there, and goes on saying so.
    ///
    /// # Errors
    /// As [`first`](Self::first).
    pub async fn announce(mut self) -> Result<Announced, String> {
        self.first().await?;
        Ok(self.go_on(CancellationToken::new()))
    }

    /// Goes on saying that it is there, from `draining` on that it takes no more jobs.
    pub fn go_on(self, draining: CancellationToken) -> Announced {
        let (store, id, going) = (self.store.clone(), self.says.id.clone(), CancellationToken::new());
        let misplaced = self.misplaced.subscribe();
        Announced { store, id, going: going.clone(), misplaced, task: tokio::spawn(self.repeat(draining, going)) }
    }

    /// Of a process that is about to start.
    pub fn new(store: Store, blobs: Blobs, able: Option<(Jobspecs, Plugins)>, who: Who, alive: Duration) -> Self {
        let host = crate::machine::name().unwrap_or_else(|| "unknown".to_owned());
        let mut labels = who.labels;
        labels.extend(crate::machine::labels());
        let says = store::Presence {
            id: who.id,
            name: who.name.unwrap_or_else(|| host.clone()),
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: i64::try_from(who.slots).unwrap_or(i64::MAX),
            labels,
            storage: String::new(),
            state: "active".to_owned(),
            gpus: who.gpus,
        };
        let (scope, groups) = (watch::Sender::new(Arc::default()), watch::Sender::new(Arc::default()));
        let stale = Arc::default();
        let misplaced = watch::Sender::new(None);
        Self { store, blobs, able, says, alive, published: None, scope, groups, stale, beaten: None, misplaced }
    }

    /// What may be claimed, as it changes.
    pub fn scope(&self) -> watch::Receiver<Arc<Scope>> {
        self.scope.subscribe()
    }

    /// What may be claimed for executors that run several jobs at once, as it changes.
    pub(super) fn groups(&self) -> watch::Receiver<Arc<Groups>> {
        self.groups.subscribe()
    }

    /// Has it look at once who is there and who has what.
    pub fn stale(&self) -> Arc<Notify> {
        Arc::clone(&self.stale)
    }

    /// Says for the first time that it is there.
    ///
    /// # Errors
    /// When the database fails, or another process that is alive keeps objects elsewhere.
    pub async fn first(&mut self) -> Result<(), String> {
        self.identify().await;
        if let Some(other) = self.elsewhere().await.map_err(|error| error.to_string())? {
            return Err(other);
        }
        self.beat().await.map_err(|error| error.to_string())
    }

    async fn repeat(mut self, draining: CancellationToken, going: CancellationToken) {
        let tick = LOOK.min(self.alive / 6);
        let stale = self.stale();
        loop {
            tokio::select! {
                biased;
                () = going.cancelled() => return,
                () = tokio::time::sleep(tick) => {}
                () = stale.notified() => self.beaten = None,
                () = draining.cancelled(), if self.says.state == "active" => {
                    self.says.state = "draining".to_owned();
                    self.beaten = None;
                }
            }
            let due = self.beaten.is_none_or(|when| when.elapsed() >= self.alive / 6);
            // A store that does not answer must not hold up the end of this process.
            let identified = if due { going.run_until_cancelled(self.identify_once()).await } else { Some(None) };
            match identified {
                None => return,
                Some(None) => {}
                Some(Some(other)) => {
                    error!("{other}");
                    draining.cancel();
                    self.misplaced.send_replace(Some(other));
                    // Not one of the others, nor one that they should wait for.
                    return;
                }
            }
            let result = if due { self.beat().await } else { self.look().await };
            if let Err(error) = result {
                warn!(%error, "can't tell the other processes that this one is there");
            }
            self.obey(&draining).await;
        }
    }

    /// Whoever manages the workers may have asked this one to take no more jobs.
    async fn obey(&self, draining: &CancellationToken) {
        if self.says.slots == 0 || draining.is_cancelled() {
            return;
        }
        // A database that fails has just been told of.
        if matches!(self.store.drain_asked(&self.says.id).await, Ok(true)) {
            info!("asked to drain: claiming no more jobs until the next start");
            draining.cancel();
        }
    }

    /// Asks a store that did not answer before; gives what is wrong with it.
    async fn identify_once(&mut self) -> Option<String> {
        if !self.says.storage.is_empty() {
            return None;
        }
        self.identify().await;
        match self.elsewhere().await {
            Ok(other) => other,
            Err(error) => {
                // Asked again with the next heartbeat.
                self.says.storage.clear();
                warn!(%error, "can't look where the other processes keep objects");
                None
            }
        }
    }

    async fn beat(&mut self) -> Result<(), StoreError> {
        self.store.heartbeat(self.says.clone(), self.alive).await?;
        self.beaten = Some(Instant::now());
        self.publish().await
    }

    /// Between two heartbeats only what others wait for is looked at: new jobspecs.
    async fn look(&mut self) -> Result<(), StoreError> {
        if self.scope.borrow().names.is_none() { Ok(()) } else { self.publish().await }
    }

    async fn publish(&mut self) -> Result<(), StoreError> {
        let Some((jobspecs, plugins)) = self.able.clone() else { return Ok(()) };
        let listed = tokio::task::spawn_blocking(move || jobspecs.list()).await.unwrap_or_default();
        let sound: Vec<(String, Arc<Jobspec>)> =
            listed.into_iter().filter_map(|(name, spec)| Some((name, spec.ok()?))).collect();
        let offers: Vec<Offer> = sound.iter().map(|(name, spec)| offer(name, spec)).collect();
        if self.published.as_ref() != Some(&offers) {
            self.store.publish(&self.says.id, offers.clone()).await?;
            self.published = Some(offers);
        }
        let alone = self.others().await?.is_empty();
        let (scope, groups) = split(scope(&sound, &self.says.labels, self.says.gpus.len(), alone), &sound, &plugins);
        self.groups.send_if_modified(|now| {
            let changed = **now != groups;
            if changed {
                *now = Arc::new(groups);
            }
            changed
        });
        self.scope.send_if_modified(|now| {
            let changed = **now != scope;
            if changed {
                *now = Arc::new(scope);
            }
            changed
        });
        Ok(())
    }

    /// The other workers that are alive.
    async fn others(&self) -> Result<Vec<store::Worker>, StoreError> {
        let mut workers = self.store.workers().await?;
        workers.retain(|worker| worker.alive && worker.presence.slots > 0 && worker.presence.id != self.says.id);
        Ok(workers)
    }

    /// A store that is away says who it is later.
    async fn identify(&mut self) {
        match self.blobs.identity().await {
            Ok(identity) => self.says.storage = identity,
            Err(error) => warn!(%error, "the store does not say which one it is yet"),
        }
    }

    /// What is wrong when another process keeps objects elsewhere: each would list what the other can't read.
    async fn elsewhere(&self) -> Result<Option<String>, StoreError> {
        let workers = self.store.workers().await?;
        let other = workers.into_iter().find(|worker| {
            let storage = &worker.presence.storage;
            let differs = *storage != self.says.storage && !storage.is_empty() && !self.says.storage.is_empty();
            worker.alive && differs && worker.presence.id != self.says.id
        });
        Ok(other.map(|other| {
            format!(
                "[Storage] {} is not the store that jobmgr on {} uses with this database ({}): all processes on one \
                 database need the same store; a local folder is one only for those who have that very folder, so \
                 with several machines use a bucket (s3:, gs:, az:)",
                self.blobs.describe(),
                other.presence.host,
                other.presence.name,
            )
        }))
    }
}

fn offer(name: &str, spec: &Jobspec) -> Offer {
    let about = serde_json::to_string(&About::of(spec)).unwrap_or_default();
    Offer { name: name.to_owned(), hash: spec.hash.clone(), about }
}

/// What a worker with these jobspecs and labels, and so many GPUs, may claim.
fn scope(specs: &[(String, Arc<Jobspec>)], labels: &[String], gpus: usize, alone: bool) -> Scope {
    let mut names = BTreeSet::new();
    let mut except = BTreeSet::new();
    let mut limits = BTreeMap::new();
    let mut needs = BTreeMap::new();
    for (name, spec) in specs {
        let able = spec.matches(labels).is_ok() && spec.gpus <= gpus;
        if able && spec.gpus > 0 {
            needs.insert(name.clone(), spec.gpus);
        }
        if able {
            names.insert(name.clone())
        } else {
            except.insert(name.clone())
        };
        if let Some(most) = spec.max_running {
            limits.insert(name.clone(), i64::try_from(most).unwrap_or(i64::MAX));
        }
    }
    Scope { names: (!alone).then_some(names), except, limits, gpus: needs, cautious: false }
}

/// Takes the jobs of executors that run several at once out of what the slots claim.
fn split(mut scope: Scope, specs: &[(String, Arc<Jobspec>)], plugins: &Plugins) -> (Scope, Groups) {
    let mut groups: BTreeMap<String, Scope> = BTreeMap::new();
    for (name, spec) in specs {
        if plugins.concurrency(&spec.executor).is_none() || scope.except.contains(name) {
            continue;
        }
        let group = groups.entry(spec.executor.clone()).or_default();
        group.names.get_or_insert_default().insert(name.clone());
        group.limits.extend(scope.limits.remove_entry(name));
        group.gpus.extend(scope.gpus.remove_entry(name));
        if let Some(names) = &mut scope.names {
            names.remove(name);
        }
        scope.except.insert(name.clone());
    }
    (scope, groups.into_iter().map(|(name, scope)| (name, Arc::new(scope))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> Arc<Jobspec> {
        Arc::new(Jobspec::parse(&format!("Command = 'x'\n{more}")).unwrap())
    }

    #[test]
    fn a_worker_alone_takes_all_but_what_it_lacks_the_labels_for() {
        let specs = [
            ("any".to_owned(), spec("MaxRunning = 2")),
            ("gpu".to_owned(), spec("Requires = ['gpu']")),
            ("here".to_owned(), spec(&format!("Requires = ['os={}']", std::env::consts::OS))),
        ];
        let labels = crate::machine::labels();
        let alone = scope(&specs, &labels, 1, true);
        assert_eq!((alone.names, alone.except), (None, BTreeSet::from(["gpu".to_owned()])));
        assert_eq!(alone.limits, BTreeMap::from([("any".to_owned(), 2)]));
        let among = scope(&specs, &labels, 1, false);
        assert_eq!(among.names, Some(BTreeSet::from(["any".to_owned(), "here".to_owned()])));
        assert!(scope(&specs, &["gpu".to_owned()], 1, false).names.unwrap().contains("gpu"));
    }
}
