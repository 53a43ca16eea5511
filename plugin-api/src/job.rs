//! What an executor is given to run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One attempt of one job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job<O> {
    /// The job's id, in decimal.
    pub id: String,
    /// Counts from 1; rises with every run of the same job.
    pub attempt: u32,
    /// Unique for ever, at most 63 bytes of `[a-z0-9-]`: name remote things after it.
    pub key: String,
    /// The jobspec's `Command` and its `Arguments`.
    #[serde(default)]
    pub command: Vec<String>,
    /// The whole environment of the job; nothing else may be in it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The attempt's own temporary directory, absolute; `artifacts/` in it exists.
    #[serde(default)]
    pub dir: String,
    /// Where the job starts: the jobspec's `WorkingDirectory`, or `dir`.
    #[serde(default)]
    pub working_directory: String,
    /// Bounds that the executor keeps.
    #[serde(default)]
    pub limits: Limits,
    /// What of standard output and standard error jobmgr already has: where `recover` goes on.
    #[serde(default)]
    pub logged: [Logged; 2],
    /// The jobspec's `[Options]`.
    pub options: O,
}

impl<O> Job<O> {
    /// A job with nothing but its names and options; the other fields are set afterwards.
    pub fn new(id: impl Into<String>, attempt: u32, key: impl Into<String>, options: O) -> Self {
        Self {
            id: id.into(),
            attempt,
            key: key.into(),
            command: Vec::new(),
            env: BTreeMap::new(),
            dir: String::new(),
            working_directory: String::new(),
            limits: Limits::default(),
            logged: Default::default(),
            options,
        }
    }

    /// The same job with other options.
    pub fn with<P>(self, options: P) -> Job<P> {
        Job {
            id: self.id,
            attempt: self.attempt,
            key: self.key,
            command: self.command,
            env: self.env,
            dir: self.dir,
            working_directory: self.working_directory,
            limits: self.limits,
            logged: self.logged,
            options,
        }
    }

    /// The job without its options, and those.
    pub fn split(self) -> (Job<()>, O) {
        let rest = Job {
            id: self.id,
            attempt: self.attempt,
            key: self.key,
            command: self.command,
            env: self.env,
            dir: self.dir,
            working_directory: self.working_directory,
            limits: self.limits,
            logged: self.logged,
            options: (),
        };
        (rest, self.options)
    }
}

/// How much of a stream jobmgr has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Logged {
    /// The bytes from the stream's beginning.
    pub bytes: u64,
    /// When the last of them was written, as [`log_at`](crate::Context::log_at) said it; 0: that is not known.
    pub time_ns: u64,
}

impl Logged {
    /// So many bytes, written at a time that is not known.
    pub fn bytes(bytes: u64) -> Self {
        Self { bytes, time_ns: 0 }
    }
}

/// Bounds of one job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Limits {
    /// How long a job that was asked to stop may take, in milliseconds, before it is killed.
    pub kill_grace_ms: u64,
    /// How long the job may run in all, in milliseconds, for systems that keep to it themselves; jobmgr asks for a stop
    /// when it is over. `None`: for ever.
    pub timeout_ms: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kill_grace_ms: 5_000, timeout_ms: None }
    }
}

/// For executors that have no configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// For executors that have no options.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}
