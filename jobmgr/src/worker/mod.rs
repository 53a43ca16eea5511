//! Claim, run, collect, finish.
//!
//! A worker owns `Concurrency` slots. Each slot claims the best runnable job, has its runner run it, uploads what it
//! left, and writes the end and the next claim in one transaction. Leases are renewed meanwhile by a task of their
//! own; who loses one ends the job's processes and reports nothing.

/// One claim to its end.
mod attempt;
/// The Linux calls that stay below a folder, whatever a job has put in it.
#[cfg(target_os = "linux")]
mod beneath;
/// Regular files below `artifacts/`, and nothing else, to the store.
pub mod collect;
/// Jobs that run elsewhere.
mod elsewhere;
/// What a job left: to the store, and into its end.
mod ending;
/// What a job is given: command, environment, directory.
mod given;
/// The GPUs that jobs are given.
mod gpus;
/// The leases that this worker holds.
mod leases;
/// What a running job writes, for those who look while it runs.
mod live;
/// MIME types by extension.
pub mod mime;
/// Jobs whose jobspec nobody has.
mod nameless;
/// Streams of output, kept at bounded memory.
mod output;
#[cfg_attr(unix, path = "platform/unix.rs")]
#[cfg_attr(windows, path = "platform/windows.rs")]
pub mod platform;
/// A job of an executor that is in a library.
mod plugged;
/// That this process is there, and what it has.
pub mod presence;
/// Removing a directory whatever the job did to it.
pub mod remove;
/// A job while it runs.
mod running;
/// Claim after claim.
mod slot;
/// The files that a job is given.
mod stage;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod test_rights;
/// What an outcome means for the job.
mod verdict;
/// Temporary directories.
mod workspace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::blobs::Blobs;
use crate::config;
use crate::crash;
use crate::domain::job::{Claim, JobId};
use crate::domain::keys;
use crate::jobspecs::Jobspecs;
use crate::metrics;
use crate::runner::plugin::Plugins;
use crate::secrets::Secrets;
use crate::store::{Claiming, Scope, Store, StoreError};
use leases::Leases;
use nameless::Nameless;
use workspace::Root;

/// How often expired leases are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How long executors may clean up when the worker ends.
const LAST_TIDY: Duration = Duration::from_secs(5);

/// How long it may take to see who else is there.
const SEEN: Duration = Duration::from_secs(2);

/// What a worker works with.
#[derive(Clone)]
pub struct Parts {
    /// The queue.
    pub store: Store,
    /// Where artifacts and large logs go.
    pub blobs: Blobs,
    /// How jobs run.
    pub jobspecs: Jobspecs,
    /// The executors that are in libraries.
    pub plugins: Plugins,
    /// Opens what jobs are given that nobody else may read.
    pub secrets: Secrets,
    /// `[Worker]`
    pub config: Arc<config::Worker>,
    /// Where the API is, for machines on which jobs run elsewhere: `http://HOST:PORT`.
    pub public_url: Option<String>,
    /// Who watches the jobs live.
    pub tap: Option<Tap>,
}

/// What may be claimed for some executors, by their names.
type Groups = BTreeMap<String, Arc<Scope>>;

/// Something that a running job said.
#[derive(Debug)]
pub enum Live<'a> {
    /// Bytes of standard output.
    Stdout(&'a [u8]),
    /// Bytes of standard error.
    Stderr(&'a [u8]),
    /// How far it is: 0 to 100, and what it is doing.
    Progress(f64, &'a str),
    /// What its owner should know.
    Warning(&'a str),
}

/// Called with what running jobs say, as they say it.
pub type Tap = Arc<dyn Fn(JobId, Live<'_>) + Send + Sync>;

/// What the slots share.
struct Shared {
    parts: Parts,
    root: Root,
    leases: Leases,
    gpus: Arc<gpus::Pool>,
    /// What may be claimed.
    scope: watch::Receiver<Arc<Scope>>,
    /// What may be claimed for executors that run several jobs at once, by their names.
    groups: watch::Receiver<Arc<Groups>>,
    /// Jobs that run beside the slots.
    tasks: TaskTracker,
    /// Executors may have left something behind.
    untidy: Notify,
    /// Has that looked at anew.
    stale: Arc<Notify>,
    /// Of jobs with a last chance only one runs at a time: whoever claims without caution has this.
    last_chance: Arc<Semaphore>,
    /// No more claims.
    draining: CancellationToken,
    /// Running jobs are ended and given back.
    ending: CancellationToken,
}

impl Shared {
    /// Who claims, and what; `cautious` as in [`Scope`].
    fn claiming(&self, mut scope: Arc<Scope>, cautious: bool) -> Claiming {
        Arc::make_mut(&mut scope).cautious |= cautious;
        Claiming { worker: Arc::clone(&self.root.id), lease: self.parts.config.lease, scope }
    }

    /// Learns which of its GPUs jobs of others have.
    async fn look_for_gpus(&self) -> Result<(), StoreError> {
        if self.gpus.any() {
            self.gpus.jobs_have(&self.parts.store.given_gpus().await?, &self.root.id);
        }
        Ok(())
    }

    /// Claims no more jobs, after one that left a process which nothing ends: what holds that would hold the next ones
    /// too, and each would keep its slot for a minute.
    fn retire(&self, claim: &Claim, why: &str) {
        if !self.draining.is_cancelled() {
            error!(job = claim.id, "{why}; claiming no more jobs until the next start");
            self.draining.cancel();
        }
    }

    /// Waits until this name is not claimed any more, since others have it or may have it: who gives it back before
    /// that has it again at once.
    async fn leave_to_others(&self, name: &str) {
        self.stale.notify_one();
        let mut scope = self.scope.clone();
        let left = scope.wait_for(|scope| scope.names.as_ref().is_some_and(|names| !names.contains(name)));
        drop(tokio::time::timeout(SEEN, left).await);
    }
}

/// A running worker.
pub struct Worker {
    shared: Arc<Shared>,
    slots: Vec<JoinHandle<()>>,
    keepers: Vec<JoinHandle<()>>,
    announced: presence::Announced,
}

impl Worker {
    /// Takes back what dead workers of this machine left, and starts the slots.
    ///
    /// # Errors
    /// When the temporary directory or the database can't serve.
    pub async fn start(parts: Parts) -> Result<Worker, String> {
        let parent = parts.config.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        let installation = parts.store.installation().to_owned();
        let failed = |error: std::io::Error| format!("[Worker] TempDir: {}: {error}", parent.display());
        for dead in workspace::dead(&parent, &installation).map_err(failed)? {
            platform::kill_strays_of(&dead.path);
            let swept = parts.store.bury(&dead.id).await.map_err(|error| error.to_string())?;
            parts.store.leave(&dead.id).await.map_err(|error| error.to_string())?;
            let failed = swept.ended.len();
            info!(worker = dead.id, queued = swept.queued, failed, "took over from a worker that died");
            forget(&parts, &swept.ended).await;
            dead.remove();
        }
        let gpus = gpus::chosen(crate::machine::gpus().await, parts.config.gpus.as_ref())?;
        let root = Root::create(&parent, &installation).map_err(failed)?;
        let pool = gpus::Pool::of(&gpus, parts.store.clone());
        let who = presence::Who {
            id: root.id.to_string(),
            name: parts.config.name.clone(),
            slots: parts.config.concurrency,
            labels: parts.config.labels.clone(),
            gpus,
        };
        let (store, blobs) = (parts.store.clone(), parts.blobs.clone());
        let mut presence = presence::Presence::new(
            store,
            blobs,
            Some((parts.jobspecs.clone(), parts.plugins.clone())),
            who,
            parts.config.lease,
        );
        presence.first().await?;
        let draining = CancellationToken::new();
        let shared = Arc::new(Shared {
            leases: Leases::default(),
            gpus: pool,
            root,
            parts,
            scope: presence.scope(),
            stale: presence.stale(),
            groups: presence.groups(),
            tasks: TaskTracker::new(),
            untidy: Notify::new(),
            last_chance: Arc::new(Semaphore::new(1)),
            draining: draining.clone(),
            ending: CancellationToken::new(),
        });
        // Before anything is claimed: what runs elsewhere since before this start has its GPUs still.
        shared.look_for_gpus().await.map_err(|error| error.to_string())?;
        let thread = own_thread().map_err(|error| format!("the worker's thread can't be started: {error}"))?;
        metrics::slots(shared.parts.config.concurrency);
        let slots = (0..shared.parts.config.concurrency).map(|_| thread.spawn(slot::run(Arc::clone(&shared))));
        let slots = slots.collect();
        let keepers = vec![
            tokio::spawn(leases::renew(Arc::clone(&shared))),
            tokio::spawn(leases::watch(Arc::clone(&shared))),
            tokio::spawn(leases::cancel(Arc::clone(&shared))),
            tokio::spawn(sweep(Arc::clone(&shared))),
            tokio::spawn(adopt()),
            tokio::spawn(elsewhere::tidy(Arc::clone(&shared))),
        ];
        let mut slots: Vec<_> = slots;
        for name in shared.parts.plugins.names() {
            let room = Arc::new(Semaphore::new(elsewhere::room(&shared, name)));
            slots.push(thread.spawn(slot::run_group(Arc::clone(&shared), name.to_owned(), Arc::clone(&room))));
            slots.push(thread.spawn(elsewhere::take_over(Arc::clone(&shared), name.to_owned(), room)));
        }
        Ok(Worker { shared, slots, keepers, announced: presence.go_on(draining) })
    }

    /// Waits until the store turns out to be another one than that of the other processes, and gives what is wrong:
    /// this worker has to end, and what it runs must not end here.
    pub async fn misplaced(&self) -> String {
        self.announced.misplaced().await
    }

    /// Claims nothing more, lets running jobs finish for the configured time, then ends them and gives them back.
    /// `force` ends them at once when it is cancelled. Returns when nothing of any job is left.
    pub async fn drain(self, force: CancellationToken) {
        self.shared.draining.cancel();
        let patience = self.shared.parts.config.drain;
        let ending = self.shared.ending.clone();
        let enforcer = tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience) => warn!("the time to drain is over; ending the running jobs"),
                () = force.cancelled() => {}
            }
            ending.cancel();
        });
        for slot in self.slots {
            if let Err(error) = slot.await {
                warn!(%error, "a slot of the worker failed");
            }
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        enforcer.abort();
        self.keepers.iter().for_each(JoinHandle::abort);
        // What is not cleaned up now is cleaned up after the next start.
        drop(tokio::time::timeout(LAST_TIDY, elsewhere::tidy_once(&self.shared)).await);
        self.announced.end().await;
        self.shared.root.remove();
    }
}

/// A thread with a runtime of its own, for the slots: what wakes them wakes no other thread, and jobs that write much
/// don't slow the API down. It ends with the process.
fn own_thread() -> std::io::Result<tokio::runtime::Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let forever = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("worker".into()).spawn(forever)?;
    Ok(handle)
}

/// Takes back jobs whose lease has run out, whoever held it.
async fn sweep(shared: Arc<Shared>) {
    let every = SWEEP.min(shared.parts.config.lease);
    let mut nameless = Nameless::default();
    loop {
        match shared.parts.store.sweep().await {
            Ok(swept) => {
                metrics::swept(swept.queued, swept.ended.len(), swept.overdue.len());
                if swept.queued > 0 || !swept.ended.is_empty() {
                    crash::at(crash::Point::AfterSweep);
                    warn!(queued = swept.queued, ended = swept.ended.len(), "took back jobs whose lease ran out");
                }
                if !swept.overdue.is_empty() {
                    info!(jobs = swept.overdue.len(), "ended jobs that waited for longer than they may");
                }
                forget(&shared.parts, &swept.ended).await;
            }
            Err(error) => warn!(%error, "can't look for expired leases"),
        }
        if let Err(error) = shared.look_for_gpus().await {
            warn!(%error, "can't look which GPUs others have");
        }
        if let Err(error) = nameless.look(&shared).await {
            warn!(%error, "can't look for jobs that no worker can run");
        }
        tokio::time::sleep(every).await;
    }
}

/// Removes what the attempts of jobs uploaded that were ended without a result.
async fn forget(parts: &Parts, jobs: &[JobId]) {
    for job in jobs {
        let prefix = keys::of_job(parts.store.installation(), *job);
        if let Err(error) = parts.blobs.delete_prefix(&prefix).await {
            warn!(job, %error, "objects of a job that was given up stay for now");
        }
    }
}

/// Ends and reaps what dead runners left: this process adopts it.
async fn adopt() {
    loop {
        tokio::time::sleep(SWEEP).await;
        end_orphans().await;
    }
}

async fn end_orphans() {
    let ended = tokio::task::spawn_blocking(platform::end_orphans).await.unwrap_or_default();
    if ended > 0 {
        warn!(processes = ended, "ended processes that a dead runner or the fork server left");
    }
}
