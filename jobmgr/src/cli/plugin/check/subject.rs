use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobmgr_plugin_api::Job;
use serde_json::Value;

use super::super::jobfile::JobFile;
use super::{Check, Verdict};
use crate::runner::Failure;
use crate::runner::plugin::{Call, Load, Loading, Runner, Work, environment};

/// How long a library may take to open.
const OPENING: Duration = Duration::from_secs(10);

/// A library, and what is tried with it.
pub(super) struct Subject {
    /// Absolute.
    pub(super) path: PathBuf,
    config: Value,
    job: Option<JobFile>,
    /// Whether it has to recover.
    pub(super) recover: bool,
    scratch: tempfile::TempDir,
    /// Part of every key, so that no earlier check's job has the same.
    random: String,
    jobs: AtomicU32,
}

impl Subject {
    pub(super) fn new(what: &Check) -> Result<Self, String> {
        let job = what.job.as_deref().map(|file| JobFile::read(file, &what.parameter)).transpose()?;
        if job.is_none() && !what.parameter.is_empty() {
            return Err("-p: parameters are those of a job; name its jobspec with --job FILE".into());
        }
        Ok(Self {
            path: super::super::library_of(&what.library)?,
            config: super::super::config_of(what.config.as_deref())?,
            job,
            recover: what.recover,
            scratch: tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?,
            random: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            jobs: AtomicU32::new(0),
        })
    }

    /// Begins to open the library in a new runner.
    pub(super) async fn load(&self, path: PathBuf, shown: Option<&str>) -> Result<Loading, String> {
        let load = Load { path, config: self.config.clone(), memory: None, shown: shown.map(ToOwned::to_owned) };
        Loading::start(&load, environment(&[])).await.map_err(|error| format!("no runner can be started: {error}"))
    }

    /// A runner with the library in it, which is shown an older or a newer jobmgr.
    pub(super) async fn open_as(&self, shown: Option<&str>) -> Result<Runner, String> {
        let mut loading = self.load(self.path.clone(), shown).await?;
        match tokio::time::timeout(OPENING, loading.ready(|_| Ok(()))).await {
            Ok(Ok(runner)) => Ok(runner),
            Ok(Err(failure)) => {
                let printed = loading.end().await;
                Err(format!("{failure}{}", quote(&printed)))
            }
            Err(_) => Err(format!("is not open after {OPENING:?}")),
        }
    }

    /// A runner with the library in it.
    pub(super) async fn open(&self) -> Result<Runner, String> {
        self.open_as(None).await
    }

    /// The options that jobs have here.
    pub(super) fn options(&self) -> Value {
        self.job.as_ref().map_or_else(|| Value::Object(Default::default()), |job| job.spec.options.clone().into())
    }

    /// A new job, or why there is none.
    pub(super) fn job(&self) -> Result<Job<Value>, Verdict> {
        let Some(job) = &self.job else {
            return Err(Verdict::Skipped("needs a job: --job FILE".into()));
        };
        let number = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        job.job(self.scratch.path(), &format!("jm-check-{}-{number}", self.random)).map_err(Verdict::Skipped)
    }

    /// How long a job may take in all.
    pub(super) fn limit(&self) -> Duration {
        self.job.as_ref().map_or(Duration::from_secs(10), |job| job.spec.timeout)
    }

    /// How long a job may take to stop.
    pub(super) fn grace(&self) -> Duration {
        self.job.as_ref().map_or(Duration::from_secs(5), |job| job.spec.kill_grace)
    }
}

/// Begins a call with a job.
pub(super) async fn call(runner: &Runner, work: Work, job: &Job<Value>) -> Result<Call, Failure> {
    let json = serde_json::to_vec(job).map_err(|error| Failure::Executor(error.to_string()))?;
    runner.call(&work, &json).await
}

/// What a library has printed, for a line; nothing where it is nothing.
pub(super) fn quote(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let mut shown: String = text.trim().chars().take(300).collect();
    if shown.len() < text.trim().len() {
        shown.push('…');
    }
    if shown.is_empty() { String::new() } else { format!("; it printed {shown:?}") }
}
