//! `config.toml` and the environment: one struct per section.
//!
//! Every key can also be set by a variable: `JOBMGR_`, the section, two underscores, the key
//! (`JOBMGR_SERVER__LISTEN`), without regard to case. A variable goes over the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::duration::{self, GoDuration};
use crate::domain::settings;

mod check;
mod load;
mod redacted;
#[cfg(test)]
mod tests;
mod values;

pub use load::{ConfigError, FILE};
use values::{Listen, Size};

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
#[schemars(title = "jobmgr config.toml")]
pub struct Config {
    /// The HTTP server.
    pub server: Server,
    /// Where jobs are queued and remembered.
    pub database: Database,
    /// Where artifacts and large logs are kept.
    pub storage: Storage,
    /// The original's way to name a bucket; instead of Storage.
    #[serde(rename = "AWS")]
    pub aws: Option<Aws>,
    /// How jobs are run.
    pub worker: Worker,
}

/// `[Server]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Server {
    /// Where to listen: an IP address or localhost, and a port; port 0 is any free one.
    #[serde(with = "values::listen")]
    #[schemars(with = "Listen")]
    pub listen: SocketAddr,
    /// Unset: only this machine can reach the server. "none": anybody who can reach it may run anything that the
    /// jobspecs offer.
    pub auth: Option<String>,
    /// Further names by which clients call this server (the Host header), beside its addresses and its own name.
    pub hosts: Vec<String>,
    /// How many connections are served at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// How much of a job's standard output the result holds, in bytes or as "16MiB"; the log has all of it.
    #[serde(with = "values::size")]
    #[schemars(with = "Size")]
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
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Database {
    /// sqlite:FILE; default sqlite:jobmgr.db.
    #[serde(rename = "URL")]
    #[schemars(extend("writeOnly" = true))]
    pub url: Option<String>,
    /// The original's MySQL server; not supported by this version yet, as the three below.
    pub host: Option<String>,
    /// The MySQL user.
    pub username: Option<String>,
    /// The MySQL password.
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<String>,
    /// The MySQL database.
    pub database: Option<String>,
}

/// `[Storage]`
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Storage {
    /// file:, s3:, gs:, az: or memory:; default file:artifacts-store, or the bucket of AWS.
    #[serde(rename = "URL")]
    #[schemars(extend("writeOnly" = true))]
    pub url: Option<String>,
    /// Passed to the store as they are (endpoint, region, access_key_id, ...).
    #[schemars(extend("writeOnly" = true))]
    pub options: BTreeMap<String, String>,
}

/// `[AWS]`
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Aws {
    /// The access key.
    #[serde(rename = "AccessKeyID")]
    pub access_key_id: String,
    /// Its secret.
    #[schemars(extend("writeOnly" = true))]
    pub secret_access_key: String,
    /// The bucket's region.
    pub region: String,
    /// The bucket for artifacts.
    pub artifacts_bucket: String,
}

/// `[Worker]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Worker {
    /// How many jobs run at once.
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: usize,
    /// Where the jobs' temporary directories are made; default the system's.
    pub temp_dir: Option<PathBuf>,
    /// How long the temporary directory of a failed job stays; 0s: not at all.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub keep_failed: Duration,
    /// How long a claim holds without being renewed. A job whose worker died is run again after this.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub lease: Duration,
    /// How often to look for work when nothing signals any.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub poll: Duration,
    /// How long running jobs may go on when the server is asked to stop; then they are ended, and run anew at the
    /// next start.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub drain: Duration,
    /// How much of each output stream is kept, in bytes or as "1GiB"; the beginning and the end of it.
    #[serde(with = "values::size")]
    #[schemars(with = "Size")]
    pub max_log_bytes: u64,
    /// How many artifacts a job may leave.
    pub max_artifacts: u64,
    /// How many bytes of artifacts a job may leave, or as "1TiB".
    #[serde(with = "values::size")]
    #[schemars(with = "Size")]
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

/// The JSON Schema of `config.toml`, for editors.
pub fn schema() -> serde_json::Value {
    settings::schema::<Config>()
}
