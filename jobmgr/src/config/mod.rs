//! `config.toml` and the environment: one struct per section.
//!
//! Every key can also be set by a variable: `JOBMGR_`, the section, two underscores, the key
//! (`JOBMGR_SERVER__LISTEN`), without regard to case. A variable goes over the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::duration::age::{self, Age};
use crate::domain::duration::{self, GoDuration};
use crate::domain::{labels, settings};

mod check;
mod database;
mod load;
mod redacted;
#[cfg(test)]
mod tests;
mod values;

pub use load::{ConfigError, FILE};
use values::Listen;

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
    /// How long things are kept.
    pub retention: Retention,
    /// Who is told of what becomes of jobs.
    pub webhooks: Webhooks,
    /// The key for values that nobody may read.
    pub secrets: Secrets,
    /// How much callers may ask for.
    pub limits: Limits,
    /// Where traces go.
    pub telemetry: Telemetry,
    /// Executors in libraries, by the names by which jobspecs select them.
    pub executors: BTreeMap<String, Executor>,
}

/// `[Server]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Server {
    /// Where to listen: an IP address or localhost, and a port; port 0 is any free one.
    #[serde(with = "values::listen")]
    #[schemars(with = "Listen")]
    pub listen: SocketAddr,
    /// "token": who calls needs a token. "none": anybody who can reach the server may do everything. Unset: only this
    /// machine can reach it, and a token is needed as soon as there is one.
    pub auth: Option<Auth>,
    /// Further names by which clients call this server (the Host header), beside its addresses and its own name.
    pub hosts: Vec<String>,
    /// Where other machines reach this server, http://HOST:PORT: jobs that run there upload their artifacts to it where
    /// the store can't sign addresses of its own. HOST is one of this server's names (Hosts).
    #[serde(rename = "PublicURL")]
    pub public_url: Option<String>,
    /// The certificate and the key with which connections are encrypted; unset: they are not.
    #[serde(rename = "TLS")]
    pub tls: Option<TlsFiles>,
    /// Whether the log has a line for each request.
    pub access_log: bool,
    /// How large an uploaded file may be, and all files of one submission together, in bytes or as "16GiB".
    #[serde(with = "values::size")]
    #[schemars(with = "Size")]
    pub max_upload_bytes: u64,
    /// How many uploaded files a job may be given.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_inputs: usize,
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
            public_url: None,
            tls: None,
            access_log: false,
            max_upload_bytes: 16 << 30,
            max_inputs: 100,
            max_connections: 4096,
            max_result_bytes: 16 << 20,
            jobspecs: "jobspecs".into(),
        }
    }
}

/// `[Server] Auth`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Who calls needs a token.
    Token,
    /// Everybody may do everything.
    None,
}

/// `[Server] TLS`: two PEM files, which are read anew when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, and after it those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
}

/// `[Database]`
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Database {
    /// sqlite:FILE, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://... (also for MariaDB); default
    /// sqlite:jobmgr.db.
    #[serde(rename = "URL")]
    #[schemars(extend("writeOnly" = true))]
    pub url: Option<String>,
    /// The original's way to name a MySQL or MariaDB server, instead of URL: its host, and a port if it is not 3306;
    /// an IPv6 address in brackets.
    pub host: Option<String>,
    /// The user at Host.
    pub username: Option<String>,
    /// The user's password.
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<String>,
    /// The database at Host.
    pub database: Option<String>,
    /// Whether connections to a server are encrypted; default prefer.
    #[serde(rename = "TLS")]
    pub tls: Option<Tls>,
    /// With TLS = "verify": a PEM file of certificates to trust beside the system's.
    #[serde(rename = "CACertificate")]
    pub ca_certificate: Option<PathBuf>,
    /// How many connections to a server there are at most; SQLite does without.
    #[schemars(range(min = 2, max = 1000))]
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            host: None,
            username: None,
            password: None,
            database: None,
            tls: None,
            ca_certificate: None,
            max_connections: 8,
        }
    }
}

/// `[Database] TLS`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Never.
    Off,
    /// If the server can.
    Prefer,
    /// Always; who the server is is not checked.
    Require,
    /// Always, and the server's certificate and its name are checked.
    Verify,
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
    /// The name by which others know this worker; default the machine's host name.
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    /// What jobs may require of a worker: words such as "gpu", or words with a value such as "os=linux".
    #[schemars(inner(regex(pattern = labels::PATTERN)))]
    pub labels: Vec<String>,
    /// Which of the machine's GPUs jobs are given, by their ids or numbers; default all of them.
    pub gpus: Option<Vec<String>>,
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
            name: None,
            labels: Vec::new(),
            gpus: None,
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

/// `[Retention]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Retention {
    /// How long ended jobs are kept, such as "30d"; default for ever.
    #[serde(with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep: Option<Duration>,
    /// How long failed jobs are kept; default as Keep says.
    #[serde(with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep_failed: Option<Duration>,
    /// How long artifacts are kept, at most as long as their job; default as long.
    #[serde(with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep_artifacts: Option<Duration>,
    /// How long the audit log is kept.
    #[serde(with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep_audit: Option<Duration>,
    /// How many bytes the artifacts of all jobs may have, or as "1TiB"; the oldest go first. Default any number.
    #[serde(with = "values::optional_size")]
    #[schemars(with = "Option<Size>")]
    pub max_artifact_bytes: Option<u64>,
    /// How long it is known when a job came to which status; who reads events may be away for so long.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub events: Duration,
    /// How often old things are looked for.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub every: Duration,
    /// How old an object of the store that belongs to no job must be before it is removed.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub grace: Duration,
    /// How long an uploaded file stays that no job uses.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub unused_inputs: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            keep: None,
            keep_failed: None,
            keep_artifacts: None,
            keep_audit: Some(90 * 24 * hour),
            max_artifact_bytes: None,
            events: 24 * hour,
            every: hour,
            grace: hour,
            unused_inputs: 24 * hour,
        }
    }
}

/// `[Limits]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Limits {
    /// How many jobs of one user may be queued; a token may have its own limit.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_queued: u64,
    /// How many requests a token may make in a minute, all of them at once if it likes; a token may have its own limit.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_minute: u64,
    /// How many wrong tokens may come from one address in a minute; further ones are not looked at.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub bad_tokens_per_minute: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_queued: 10_000_000, requests_per_minute: 600_000, bad_tokens_per_minute: 600 }
    }
}

/// `[Secrets]`
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Secrets {
    /// The key that encrypts secret parameters in the database: 32 random bytes in base64. All processes on a database
    /// need the same one.
    #[schemars(extend("writeOnly" = true))]
    pub key: Option<String>,
    /// A file of such keys, one a line: the first encrypts, all of them decrypt. Default jobmgr.key beside the database,
    /// made when it is needed.
    pub key_file: Option<PathBuf>,
}

/// `[Webhooks]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Webhooks {
    /// Hosts to which webhooks may lead though their addresses are not public: names and IP addresses.
    pub allowed_hosts: Vec<String>,
    /// Networks to which webhooks may lead though they are not public, such as "10.0.0.0/8".
    pub allowed_networks: Vec<String>,
    /// After which pauses a message is sent again that was not taken; after the last one it is given up.
    #[serde(with = "values::durations")]
    #[schemars(with = "Vec<GoDuration>")]
    pub retry_after: Vec<Duration>,
    /// How long a receiver may take to answer.
    #[serde(with = "duration")]
    #[schemars(with = "GoDuration")]
    pub timeout: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        let [second, minute, hour] = [1, 60, 3600].map(Duration::from_secs);
        let pauses =
            [5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour];
        Self {
            allowed_hosts: Vec::new(),
            allowed_networks: Vec::new(),
            retry_after: pauses.into(),
            timeout: 15 * second,
        }
    }
}

/// `[Telemetry]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct Telemetry {
    /// Where traces are sent to, by OTLP over HTTP: http://HOST:4318. Needs a jobmgr that was built with the feature otel.
    #[serde(rename = "OTLP")]
    pub otlp: Option<String>,
}

/// `[Executors.NAME]`
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Executor {
    /// The library's file; libNAME.so, NAME.dll or just NAME, as the platform calls it.
    pub plugin: PathBuf,
    /// How many jobs an executor that runs several at once runs, beside the worker's slots; default 100.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: Option<usize>,
    /// How much memory the process may have in which the library runs, in bytes or as "1GiB"; default any.
    #[serde(default, with = "values::optional_size")]
    #[schemars(with = "Option<Size>")]
    pub memory: Option<u64>,
    /// Variables of the server that this process gets too.
    #[serde(default)]
    pub preserve_env_vars: Vec<String>,
    /// What the executor itself wants to know; each has its own keys.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Where all this stands.
    #[serde(skip)]
    pub places: settings::Places,
}

impl Executor {
    /// What is wrong with the value at `path` (`Config.Folder`), with its place in the file or the variable it is from.
    pub fn mistake(&self, path: &str, text: &str) -> String {
        let key = path.split('.').next().unwrap_or(path);
        ConfigError::from(self.places.mistake(path, format!("'{key}': {text}"))).to_string()
    }
}

/// The JSON Schema of `config.toml`, for editors.
pub fn schema() -> serde_json::Value {
    settings::schema::<Config>()
}
