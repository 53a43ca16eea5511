//! Jobs, their states and how they end.
//!
//! ```text
//! queued  --claim-->  started  --finish-->  completed | failed | canceled
//! queued  --cancel->  canceled
//! started --cancel->  canceled  (its worker ends it first)
//! started --lease ran out / released / retried-->  queued (next attempt)  |  failed (crash_limit, worker_lost)
//! ```
//! A terminal state never changes. Every move is one guarded UPDATE in `store`.

use std::collections::BTreeMap;
use std::fmt;

use super::submission::Labels;

/// The number by which a job is known; ids rise in the order of submission.
pub type JobId = i64;

/// The priority of a job that names none. Lower numbers run first; the range is 0 to 100.
pub const DEFAULT_PRIORITY: i64 = 50;

/// How often a job may be running when its worker or runner dies, unless its jobspec says otherwise.
pub const CRASH_LIMIT: i64 = 3;

/// A job's values by parameter name, as they were submitted; sorted, as clients see them.
pub type Parameters = BTreeMap<String, String>;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Started,
    /// Ended well.
    Completed,
    /// Ended badly; [`Reason`] says how.
    Failed,
    /// Was ended on request.
    Canceled,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 5] = [Status::Queued, Status::Started, Status::Completed, Status::Failed, Status::Canceled];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Started => "started",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }

    /// The status that a stored word names.
    pub fn from_word(word: &str) -> Option<Status> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether it never changes again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Canceled)
    }

    /// Whether a job may move from this status to `next`.
    pub fn may_become(self, next: Status) -> bool {
        match self {
            Status::Queued => matches!(next, Status::Started | Status::Canceled),
            Status::Started => next != Status::Started,
            Status::Completed | Status::Failed | Status::Canceled => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job is not `completed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its process exited with another code than 0.
    ExitCode,
    /// A signal ended its process.
    Signal,
    /// It ran longer than its jobspec allows.
    Timeout,
    /// Somebody asked for its end.
    Canceled,
    /// Its worker went away, and it may not be run again.
    WorkerLost,
    /// It was running each of the times that its worker or runner died.
    CrashLimit,
    /// Its executor failed.
    ExecutorError,
    /// Its jobspec, its parameters or its command can't serve.
    InvalidJob,
    /// It left more or larger artifacts than allowed.
    ArtifactLimit,
    /// A process that it started could not be ended.
    Unkillable,
    /// Its row in the database can't be read.
    CorruptRow,
    /// It waited longer for its first start than its jobspec allows.
    QueueTimeout,
    /// It was killed since it needed more memory than it may have.
    OomKilled,
    /// The system that ran it gave its place to another job.
    Preempted,
    /// The machine that it ran on, in the hands of another system, is gone.
    NodeLost,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 15] = [
        Reason::ExitCode,
        Reason::Signal,
        Reason::Timeout,
        Reason::Canceled,
        Reason::WorkerLost,
        Reason::CrashLimit,
        Reason::ExecutorError,
        Reason::InvalidJob,
        Reason::ArtifactLimit,
        Reason::Unkillable,
        Reason::CorruptRow,
        Reason::QueueTimeout,
        Reason::OomKilled,
        Reason::Preempted,
        Reason::NodeLost,
    ];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::ExitCode => "exit_code",
            Reason::Signal => "signal",
            Reason::Timeout => "timeout",
            Reason::Canceled => "canceled",
            Reason::WorkerLost => "worker_lost",
            Reason::CrashLimit => "crash_limit",
            Reason::ExecutorError => "executor_error",
            Reason::InvalidJob => "invalid_job",
            Reason::ArtifactLimit => "artifact_limit",
            Reason::Unkillable => "unkillable",
            Reason::CorruptRow => "corrupt_row",
            Reason::QueueTimeout => "queue_timeout",
            Reason::OomKilled => "oom_killed",
            Reason::Preempted => "preempted",
            Reason::NodeLost => "node_lost",
        }
    }

    /// The reason that a stored word names.
    pub fn from_word(word: &str) -> Option<Reason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A job as readers see it. Times are Unix milliseconds of the database's clock.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Where it stands.
    pub status: Status,
    /// Why it is not completed, once it has ended otherwise.
    pub reason: Option<Reason>,
    /// 0 to 100; lower numbers run first.
    pub priority: i64,
    /// The name of its jobspec.
    pub name: String,
    /// Its values.
    pub parameters: Parameters,
    /// Whose it is.
    pub user_id: i64,
    /// What its client sorts it by.
    pub labels: Labels,
    /// How often it is run again after it failed; `None`: as its jobspec says.
    pub max_retries: Option<i64>,
    /// The job that it repeats.
    pub retry_of: Option<JobId>,
    /// What its client called its submission.
    pub key: Option<String>,
    /// Before when it does not start, in Unix milliseconds; 0: it may start.
    pub run_after_ms: i64,
    /// How often it was started.
    pub attempt: i64,
    /// When it was submitted.
    pub created_ms: i64,
    /// When its last attempt started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// When somebody asked for its end while it ran.
    pub cancel_asked_ms: Option<i64>,
    /// The id of the worker that has it, or had it last.
    pub worker: Option<String>,
    /// Which library's executor its last attempt was given to; `None`: one of jobmgr's own.
    pub executor: Option<serde_json::Value>,
    /// The ids of the GPUs that its last attempt was given.
    pub gpus: Vec<String>,
    /// How far it says that it is.
    pub progress: Option<Progress>,
    /// What it left, once it has ended.
    pub ended: Option<Ended>,
}

/// How far a job says that it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// What it is doing.
    pub message: String,
}

/// What a job left, as readers see it.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// One line that says why it is not completed.
    pub error: Option<String>,
    /// The exit code, where there is one.
    pub exit_code: Option<i64>,
    /// The signal, where one ended it.
    pub signal: Option<i64>,
    /// What it wrote to standard output.
    pub stdout: Log,
    /// What it wrote to standard error.
    pub stderr: Log,
    /// The JSON that it wrote to `JOBMGR_OUTPUT`.
    pub output: Option<serde_json::Value>,
    /// What its owner should know.
    pub warnings: Vec<String>,
    /// Its files, in the order of their names.
    pub artifacts: Vec<Artifact>,
    /// Files in `artifacts/` that were not taken.
    pub skipped: Vec<Skipped>,
    /// The end of what the executor had to say for itself.
    pub executor_log: Log,
}

/// A kept stream of output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// How many bytes the job wrote.
    pub written: u64,
    /// What is kept of it.
    pub body: LogBody,
}

/// Where a stream's bytes are: small ones in the database, large ones in the store.
#[derive(Debug, Clone, PartialEq)]
pub enum LogBody {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// An object of the store.
    Object {
        /// Its key.
        key: String,
        /// Its size in bytes.
        size: u64,
    },
}

impl Default for LogBody {
    fn default() -> Self {
        LogBody::Inline(Vec::new())
    }
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// The job that left it.
    pub job_id: JobId,
    /// Its path below `artifacts/`, with `/` between the parts.
    pub name: String,
    /// Its MIME type, by its extension.
    pub mime: String,
    /// Its size in bytes.
    pub size: u64,
    /// A random name (UUID version 4).
    pub uuid: String,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its key in the object store.
    pub key: String,
    /// When it was stored, in Unix milliseconds; 0 until then.
    pub created_ms: i64,
}

/// A file in `artifacts/` that was not taken.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Its path below `artifacts/`.
    pub name: String,
    /// Why: `symlink`, `fifo`, `socket`, `device`, `hard link`, `not readable`, ...
    pub reason: String,
}

/// An attempt that a worker holds: the right to run a job, until its lease ends.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// Rises by one at every claim; a write with an older one changes nothing.
    pub epoch: i64,
    /// Which run of the job this is, from 1.
    pub attempt: i64,
    /// The name of its jobspec.
    pub name: String,
    /// Its values, or why its row can't be read.
    pub parameters: Result<Parameters, String>,
    /// How often it was queued again because of what it did itself.
    pub tries: i64,
    /// How often it may be; `None`: as its jobspec says.
    pub max_retries: Option<i64>,
    /// Its holders died so often that it is given up when this one does, too.
    pub last_chance: bool,
    /// When it was claimed, in Unix milliseconds of the database's clock.
    pub started_ms: i64,
    /// When it was submitted, by the same clock.
    pub created_ms: i64,
    /// When it could start, by the same clock; 0: as soon as it was submitted.
    pub run_after_ms: i64,
    /// The trace that its submission belongs to, as a `traceparent`.
    pub trace_parent: Option<String>,
    /// Whose it is.
    pub worker: String,
}

/// An attempt that did not end its job.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Which run of the job this was, from 1.
    pub attempt: i64,
    /// What became of it.
    pub ending: AttemptEnding,
    /// Who ran it.
    pub worker: String,
    /// When it was claimed, in Unix milliseconds.
    pub started_ms: Option<i64>,
    /// When it ended, or was given up.
    pub ended_ms: i64,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// One line about its end.
    pub error: Option<String>,
    /// The exit code, where there is one.
    pub exit_code: Option<i64>,
    /// The signal, where one ended it.
    pub signal: Option<i64>,
    /// The end of what it wrote to standard output.
    pub stdout: Log,
    /// The end of what it wrote to standard error.
    pub stderr: Log,
    /// Which library's executor ran it: its name, version and sha256; `None`: one of jobmgr's own.
    pub executor: Option<serde_json::Value>,
}

/// Why a job goes on after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnding {
    /// It failed, and its jobspec says that it is tried again.
    Failed,
    /// It could not be run or not be ended by its worker, and was given back.
    Released,
    /// Its runner died.
    Crashed,
    /// Its worker went away.
    Lost,
}

impl AttemptEnding {
    /// All of them.
    pub const ALL: [AttemptEnding; 4] =
        [AttemptEnding::Failed, AttemptEnding::Released, AttemptEnding::Crashed, AttemptEnding::Lost];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptEnding::Failed => "failed",
            AttemptEnding::Released => "released",
            AttemptEnding::Crashed => "crashed",
            AttemptEnding::Lost => "lost",
        }
    }

    /// The ending that a stored word names.
    pub fn from_word(word: &str) -> Option<AttemptEnding> {
        Self::ALL.into_iter().find(|ending| ending.as_str() == word)
    }
}

/// An attempt after which its job is tried again: what its row tells of it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Why it failed.
    pub reason: Reason,
    /// One line about its end.
    pub error: Option<String>,
    /// The exit code, where there is one.
    pub exit_code: Option<i64>,
    /// The signal, where one ended it.
    pub signal: Option<i64>,
    /// The end of what it wrote to standard output.
    pub stdout: Log,
    /// The end of what it wrote to standard error.
    pub stderr: Log,
}

/// The end of an attempt, written in one transaction.
#[derive(Debug, Clone)]
pub struct Finish {
    /// A terminal status.
    pub status: Status,
    /// Why it is not `completed`.
    pub reason: Option<Reason>,
    /// Which run of the job this was.
    pub attempt: i64,
    /// Whether pieces of its output were written while it ran.
    pub chunks: bool,
    /// What it left; the artifacts' `id` and `created_ms` are set by the store.
    pub ended: Ended,
}
