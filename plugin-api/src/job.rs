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
    /// How many of the last bytes were written at that time. For systems that give output from a time on: what they
    /// give of that time begins with these.
    pub time_bytes: u64,
}

impl Logged {
    /// So many bytes, written at a time that is not known.
    pub fn bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// So many more bytes, written at this time; 0: that is not known.
    pub fn add(&mut self, time_ns: u64, bytes: u64) {
        let same = time_ns != 0 && time_ns == self.time_ns;
        self.time_bytes = match time_ns {
            0 => 0,
            _ if same => self.time_bytes + bytes,
            _ => bytes,
        };
        self.bytes += bytes;
        self.time_ns = time_ns;
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

#[cfg(test)]
mod tests {
    use super::Logged;

    #[test]
    fn the_bytes_of_the_last_time_are_counted() {
        let mut logged = Logged::default();
        let after = |time_ns, bytes, logged: &mut Logged| {
            logged.add(time_ns, bytes);
            (logged.bytes, logged.time_ns, logged.time_bytes)
        };
        assert_eq!(after(5, 3, &mut logged), (3, 5, 3));
        assert_eq!(after(5, 4, &mut logged), (7, 5, 7));
        assert_eq!(after(6, 2, &mut logged), (9, 6, 2));
        assert_eq!(after(0, 1, &mut logged), (10, 0, 0), "of the last one it is not known");
        assert_eq!(after(0, 1, &mut logged), (11, 0, 0));
        assert_eq!(after(6, 1, &mut logged), (12, 6, 1));
    }
}
