//! `config.toml` and the environment: one struct per section.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be set. (Skeleton: loading, schema and checks are to come.)
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `[Server]`
    pub server: Server,
    /// `[Database]`
    pub database: Database,
    /// `[Storage]`
    pub storage: Storage,
    /// `[AWS]`, the original's way to name a bucket.
    pub aws: Option<Aws>,
    /// `[Worker]`
    pub worker: Worker,
}

/// `[Server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// `None`: loopback only. `"none"`: anybody who can reach the port may do anything.
    pub auth: Option<String>,
    /// Further names by which clients may call this server (the `Host` header).
    pub hosts: Vec<String>,
    /// How many connections at once.
    pub max_connections: usize,
    /// How much of a job's standard output `result` holds, in bytes.
    pub max_result_bytes: u64,
    /// The folder of jobspecs.
    pub jobspecs: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9845)),
            auth: None,
            hosts: Vec::new(),
            max_connections: 4096,
            max_result_bytes: 16 << 20,
            jobspecs: "jobspecs".into(),
        }
    }
}

/// `[Database]`
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// `sqlite:FILE`; default `sqlite:jobmgr.db`.
    pub url: Option<String>,
    /// The original's MySQL keys.
    pub host: Option<String>,
    /// MySQL user.
    pub username: Option<String>,
    /// MySQL password.
    pub password: Option<String>,
    /// MySQL database.
    pub database: Option<String>,
}

/// `[Storage]`
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// `file:`, `s3:`, `gs:`, `az:` or `memory:`; default `file:artifacts-store`, or the bucket of `[AWS]`.
    pub url: Option<String>,
    /// Passed to the store as they are (`endpoint`, `region`, `access_key_id`, ...).
    pub options: BTreeMap<String, String>,
}

/// `[AWS]`
#[derive(Debug, Clone)]
pub struct Aws {
    /// `AccessKeyID`
    pub access_key_id: String,
    /// `SecretAccessKey`
    pub secret_access_key: String,
    /// `Region`
    pub region: String,
    /// `ArtifactsBucket`
    pub artifacts_bucket: String,
}

/// `[Worker]`
#[derive(Debug, Clone)]
pub struct Worker {
    /// How many jobs at once.
    pub concurrency: usize,
    /// Where the jobs' temporary directories are made; default the system's.
    pub temp_dir: Option<PathBuf>,
    /// How long the temporary directory of a failed job stays; zero: not at all.
    pub keep_failed: Duration,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How often to look for work when nothing signals any.
    pub poll: Duration,
    /// How long running jobs may go on when the server is asked to stop.
    pub drain: Duration,
    /// How much of each output stream is kept, in bytes; the beginning and the end of it.
    pub max_log_bytes: u64,
    /// How many artifacts a job may leave.
    pub max_artifacts: u64,
    /// How many bytes of artifacts a job may leave.
    pub max_artifact_bytes: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            concurrency: 1,
            temp_dir: None,
            keep_failed: Duration::ZERO,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            max_log_bytes: 1 << 30,
            max_artifacts: 100_000,
            max_artifact_bytes: 1 << 40,
        }
    }
}
