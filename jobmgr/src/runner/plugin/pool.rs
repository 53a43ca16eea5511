use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jobmgr_plugin_api::loaded::Capabilities;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answers::Answers;
use super::file::{self, Looks};
use super::schema::{self, Wrong};
use super::{Load, Loaded, Loading, Runner};
use crate::config;
use crate::domain::executor::Executor;
use crate::metrics;
use crate::runner::link::Failure;

/// How long a library may take to open when it is only looked at.
const OPENING: Duration = Duration::from_secs(10);
/// How long a start waits for that.
const START: Duration = Duration::from_secs(2);
/// How many jobs an executor that runs several runs at once.
const CONCURRENCY: usize = 100;
/// Variables that a runner of a library has from the server, beside those that its section names.
const ENVIRONMENT: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "USERPROFILE",
];

/// Which executor an attempt ran with; kept with the attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The name by which jobspecs select it.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the library's file, in lower-case hexadecimal.
    pub sha256: String,
}

/// A runner that is ready for a call.
pub struct Ready {
    /// The runner.
    pub runner: Runner,
    /// What is in it.
    pub about: About,
    /// Whether other jobs use it too: it is not ended after this one.
    pub shared: bool,
}

/// The executors of `[Executors]`; cheap to clone.
#[derive(Clone, Default)]
pub struct Plugins {
    entries: Arc<BTreeMap<String, Arc<Entry>>>,
    changed: Changed,
}

/// Called when something is known of an executor that changes what jobspecs are taken for.
pub(super) type Changed = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

pub(super) struct Entry {
    pub(super) name: String,
    config: config::Executor,
    /// What is known of the file that was opened last.
    pub(super) known: Mutex<Option<Known>>,
    /// Why it could not be opened last time.
    failed: Mutex<Option<String>>,
    spare: Mutex<Option<Opened>>,
    /// Held while it is opened, so that it is opened once.
    shared: tokio::sync::Mutex<Option<Opened>>,
    /// What it says about options.
    pub(super) answers: Answers,
    pub(super) changed: Changed,
}

#[derive(Clone)]
pub(super) struct Known {
    looks: Looks,
    pub(super) sha256: String,
    loaded: Arc<Loaded>,
}

pub(super) struct Opened {
    looks: Looks,
    pub(super) sha256: String,
    pub(super) runner: Runner,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.entries.keys()).finish()
    }
}

impl Plugins {
    /// The executors of the configuration; no library is looked at yet.
    pub fn new(executors: &BTreeMap<String, config::Executor>) -> Self {
        let changed = Changed::default();
        let entry = |(name, config): (&String, &config::Executor)| {
            let (name, config) = (name.clone(), config.clone());
            let entry = Entry {
                name: name.clone(),
                config,
                known: Mutex::default(),
                failed: Mutex::default(),
                spare: Mutex::default(),
                shared: Default::default(),
                answers: Answers::default(),
                changed: Arc::clone(&changed),
            };
            (name, Arc::new(entry))
        };
        Self { entries: Arc::new(executors.iter().map(entry).collect()), changed }
    }

    /// The names by which jobspecs select them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Opens every library once, so that it is known what it takes; what is wrong with those that can't be opened.
    pub async fn look(&self) -> Vec<(String, Result<Arc<Loaded>, String>)> {
        let looks = self.entries.values().map(|entry| async { (entry.name.clone(), entry.look().await) });
        futures_util::future::join_all(looks).await
    }

    /// As [`look`](Self::look), and says it in the log. It does not wait long: a library that takes its time goes on
    /// being opened. `opened` is called for each that is open after that, and when one says later that options are wrong.
    pub async fn introduce(&self, opened: impl Fn() + Clone + Send + Sync + 'static) {
        self.changed.get_or_init(|| Box::new(opened.clone()));
        let patience = CancellationToken::new();
        let introduce = |entry: &Arc<Entry>| {
            let (entry, opened, patience) = (Arc::clone(entry), opened.clone(), patience.clone());
            tokio::spawn(async move {
                let is_open = entry.introduce().await;
                if is_open && patience.is_cancelled() {
                    opened();
                }
            })
        };
        let mut introductions: Vec<_> = self.entries.values().map(|entry| (&entry.name, introduce(entry))).collect();
        let all = introductions.iter_mut().map(|(_, introduction)| introduction);
        if tokio::time::timeout(START, futures_util::future::join_all(all)).await.is_ok() {
            return;
        }
        patience.cancel();
        for (name, _) in introductions.iter().filter(|(_, introduction)| !introduction.is_finished()) {
            warn!(executor = name, "[Executors.{name}] is still being opened after {START:?}; its jobs wait for it");
        }
        // One that was open in the moment before that was not.
        opened();
    }

    /// What is known of it; `None` for a library that could not be opened yet.
    pub fn loaded(&self, name: &str) -> Option<Arc<Loaded>> {
        lock(&self.entries.get(name)?.known).as_ref().map(|known| Arc::clone(&known.loaded))
    }

    /// What is known of all of them.
    pub fn known(&self) -> impl Iterator<Item = Executor> {
        self.entries.values().map(|entry| entry.told())
    }

    /// What it can do, as far as is known.
    pub fn capabilities(&self, name: &str) -> Capabilities {
        self.loaded(name).map(|loaded| loaded.capabilities).unwrap_or_default()
    }

    /// How many of its jobs run beside those in the worker's slots; `None`: they run in those.
    pub fn concurrency(&self, name: &str) -> Option<usize> {
        let can = self.capabilities(name);
        let entry = self.entries.get(name)?;
        (can.concurrent && can.recover).then(|| entry.config.concurrency.unwrap_or(CONCURRENCY))
    }

    /// How many of its jobs run beside those in the worker's slots, if it turns out to be one of that kind.
    pub fn room(&self, name: &str) -> usize {
        self.entries.get(name).and_then(|entry| entry.config.concurrency).unwrap_or(CONCURRENCY)
    }

    /// Whether the executor takes these options, as far as its schema and it itself have said: it is asked when they
    /// are seen for the first time, and they count as right until it has [answered](Self::answered).
    ///
    /// # Errors
    /// The key that is wrong, and what would be right.
    pub fn check(&self, name: &str, options: &Value) -> Result<(), Wrong> {
        // One that can't be opened says why when a job needs it.
        let (Some(entry), Some(loaded)) = (self.entries.get(name), self.loaded(name)) else { return Ok(()) };
        schema::check(&loaded.description.options_schema, options)?;
        entry.validated(options)
    }

    /// Waits until all executors have said what they think of the options that they were asked about.
    pub async fn answered(&self) {
        futures_util::future::join_all(self.entries.values().map(|entry| entry.answers.all())).await;
    }

    /// A runner with the library as its file is now. May be cancelled.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ready(&self, name: &str) -> Result<Ready, Failure> {
        let unknown = || Failure::Executor(format!("there is no [Executors.{name}] in the configuration"));
        let entry = self.entries.get(name).ok_or_else(unknown)?;
        if self.concurrency(name).is_some() {
            return entry.shared().await;
        }
        let opened = entry.at_hand().await?;
        // Found out just now that it is one to share.
        if self.concurrency(name).is_some() {
            *entry.shared.lock().await = Some(opened);
            return entry.shared().await;
        }
        Ok(entry.ready(opened, false))
    }

    /// Makes spares where there are none: after a job, whose time is not taken for it.
    pub fn refill(&self) {
        for entry in self.entries.values() {
            let lacks = lock(&entry.known).is_some() && lock(&entry.spare).is_none();
            if lacks && self.concurrency(&entry.name).is_none() {
                let entry = Arc::clone(entry);
                tokio::spawn(async move { entry.refill().await });
            }
        }
    }
}

/// The environment of a runner of a library: what every program needs, and these variables.
pub fn environment(named: &[String]) -> Vec<(String, String)> {
    let named = named.iter().map(String::as_str);
    let names = ENVIRONMENT.into_iter().chain(named);
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

impl Entry {
    /// Opens it once and keeps that for the first job.
    async fn look(&self) -> Result<Arc<Loaded>, String> {
        match tokio::time::timeout(OPENING, self.open()).await {
            Ok(Ok(opened)) => {
                let loaded = opened.runner.loaded.clone();
                self.keep(opened);
                Ok(loaded)
            }
            Ok(Err(failure)) => Err(failure.to_string()),
            Err(_) => {
                let why = format!("{}: was not open within {OPENING:?}", self.config.plugin.display());
                *lock(&self.failed) = Some(why.clone());
                Err(why)
            }
        }
    }

    /// What is known of it.
    fn told(&self) -> Executor {
        let (known, failed) = (lock(&self.known).clone(), lock(&self.failed).clone());
        let loaded = known.as_ref().map(|known| Arc::clone(&known.loaded));
        let can = loaded.as_ref().map(|loaded| loaded.capabilities).unwrap_or_default();
        let unopened = || "its library has not been opened yet".to_owned();
        Executor {
            name: self.name.clone(),
            built_in: false,
            version: loaded.as_ref().map(|loaded| loaded.description.version.clone()),
            abi: loaded.as_ref().map(|loaded| loaded.abi),
            sha256: known.map(|known| known.sha256),
            recovers: can.recover,
            cleans_up: can.cleanup,
            concurrent: can.concurrent,
            error: failed.or_else(|| loaded.is_none().then(unopened)),
            options: loaded.map(|loaded| loaded.description.options_schema.clone()),
        }
    }

    /// As [`look`](Self::look), and says it in the log; whether it is open.
    async fn introduce(&self) -> bool {
        let name = &self.name;
        match self.look().await {
            Ok(loaded) => {
                let description = &loaded.description;
                info!(executor = name, version = description.version, "executor {} is there", description.name);
                true
            }
            Err(why) => {
                warn!(executor = name, "[Executors.{name}] can't be used now: {why}");
                false
            }
        }
    }

    fn ready(&self, opened: Opened, shared: bool) -> Ready {
        let version = opened.runner.loaded.description.version.clone();
        let about = About { name: self.name.clone(), version, sha256: opened.sha256 };
        Ready { runner: opened.runner, about, shared }
    }

    /// Keeps it for the next job, which may have opened one to share when it could not wait.
    pub(super) fn keep(&self, opened: Opened) {
        if !self.shared.try_lock().is_ok_and(|shared| shared.is_some()) {
            *lock(&self.spare) = Some(opened);
        }
    }

    /// The spare, or a new one.
    pub(super) async fn at_hand(&self) -> Result<Opened, Failure> {
        match self.spare() {
            Some(spare) => Ok(spare),
            None => self.open().await,
        }
    }

    /// The spare, unless the file was replaced since it was opened.
    fn spare(&self) -> Option<Opened> {
        let spare = lock(&self.spare).take()?;
        let (_, looks) = file::look(&self.config.plugin).ok()?;
        (spare.runner.is_alive() && spare.looks == looks).then_some(spare)
    }

    async fn shared(&self) -> Result<Ready, Failure> {
        let looks = file::look(&self.config.plugin).map_err(Failure::Executor)?.1;
        let mut shared = self.shared.lock().await;
        let usable = |opened: &&Opened| opened.runner.is_alive() && opened.looks == looks;
        let opened = match shared.as_ref().filter(usable) {
            Some(opened) => opened,
            None => {
                // Jobs that the old one runs end with it.
                shared.insert(self.at_hand().await?)
            }
        };
        let copy = Opened { looks: opened.looks.clone(), sha256: opened.sha256.clone(), runner: opened.runner.clone() };
        Ok(self.ready(copy, true))
    }

    async fn refill(&self) {
        if lock(&self.spare).is_some() {
            return;
        }
        if let Ok(Ok(opened)) = tokio::time::timeout(OPENING, self.open()).await {
            *lock(&self.spare) = Some(opened);
        }
    }

    /// Starts a runner, and has it open the library; what came of it is kept for those who ask.
    async fn open(&self) -> Result<Opened, Failure> {
        let opened = self.try_open().await;
        *lock(&self.failed) = opened.as_ref().err().map(ToString::to_string);
        opened
    }

    async fn try_open(&self) -> Result<Opened, Failure> {
        let (path, looks) = file::look(&self.config.plugin).map_err(Failure::Executor)?;
        let load =
            Load { path, config: Value::Object(self.config.config.clone()), memory: self.config.memory, shown: None };
        let started = Loading::start(&load, self.environment()).await;
        let mut loading = started.map_err(|error| Failure::Retry(format!("no runner can be started: {error}")))?;
        let opening =
            async { loading.ready(|loaded| self.sound(&looks, loaded)).await.map_err(|failure| (true, failure)) };
        let hashing = async { self.sha256(&load.path, &looks).await.map_err(|failure| (false, failure)) };
        let (runner, sha256) = match tokio::try_join!(opening, hashing) {
            Ok(opened) => {
                metrics::runner_started("library");
                opened
            }
            Err((false, failure)) => return Err(failure),
            Err((true, failure)) => {
                let printed = loading.end().await;
                if !printed.is_empty() {
                    let printed = String::from_utf8_lossy(&printed);
                    warn!(executor = self.name, %printed, "a library that can't be opened has printed something");
                }
                return Err(match failure {
                    // Its configuration is not the job's fault.
                    Failure::Invalid(why) => Failure::Executor(why),
                    other => other,
                });
            }
        };
        let known = Known { looks: looks.clone(), sha256: sha256.clone(), loaded: Arc::clone(&runner.loaded) };
        let before = lock(&self.known).replace(known);
        if before.is_some_and(|before| before.sha256 != sha256)
            && let Some(changed) = self.changed.get()
        {
            changed();
        }
        Ok(Opened { looks, sha256, runner })
    }

    /// Whether `[Executors.NAME.Config]` is what a library wants that was not opened before.
    fn sound(&self, looks: &Looks, loaded: &Loaded) -> Result<(), Failure> {
        if lock(&self.known).as_ref().is_some_and(|known| known.looks == *looks) {
            return Ok(());
        }
        schema::check_config(&loaded.description.config_schema, &Value::Object(self.config.config.clone()))
            .map_err(|(path, text)| Failure::Executor(self.config.mistake(&path, &text)))
    }

    /// Of the same file as last time it is known.
    async fn sha256(&self, path: &std::path::Path, looks: &Looks) -> Result<String, Failure> {
        if let Some(known) = lock(&self.known).as_ref().filter(|known| known.looks == *looks) {
            return Ok(known.sha256.clone());
        }
        let path: PathBuf = path.to_owned();
        let found = tokio::task::spawn_blocking(move || file::find(&path)).await;
        found.map_err(|error| Failure::Retry(error.to_string()))?.map(|found| found.sha256).map_err(Failure::Executor)
    }

    fn environment(&self) -> Vec<(String, String)> {
        environment(&self.config.preserve_env_vars)
    }
}
