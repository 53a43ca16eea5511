//! The keys of a jobspec file. Their doc comments are what editors show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::duration::age::{self, Age};
use crate::domain::duration::{self, GoDuration};
use crate::domain::job::DEFAULT_PRIORITY;
use crate::domain::labels;

/// How a job runs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[schemars(title = "jobmgr jobspec")]
pub(super) struct Jobspec {
    /// One line for people: what the job does.
    #[serde(default)]
    pub description: Option<String>,
    /// The executable to run, without arguments. A relative path is looked for in the working directory, then in
    /// the server's directory; a bare name in the server's PATH.
    #[schemars(length(min = 1))]
    pub command: String,
    /// The arguments of the executable.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Where the executable starts. Default: the job's temporary directory.
    #[serde(default)]
    pub working_directory: Option<String>,
    /// Environment variables of the server that the job gets too, such as PATH. Default: none.
    #[serde(default)]
    pub preserve_env_vars: Vec<String>,
    /// Environment variables with fixed values.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How long the job may run, such as "1m30s".
    #[serde(default = "default_timeout", with = "duration")]
    #[schemars(with = "GoDuration")]
    pub timeout: Duration,
    /// How long the job may take to end after it was asked to, before it is killed.
    #[serde(default = "default_kill_grace", with = "duration")]
    #[schemars(with = "GoDuration")]
    pub kill_grace: Duration,
    /// The executor that runs the job.
    #[serde(default = "default_executor")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$"))]
    pub executor: String,
    /// Options of the executor; each executor has its own.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The priority of jobs that are submitted without one. Lower numbers run first.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0, max = 100))]
    pub priority: i64,
    /// What may be given to a job; each parameter becomes an environment variable.
    #[serde(default, rename = "Parameter")]
    pub parameters: Vec<Parameter>,
    /// The labels that a worker must have to run the job: words such as "gpu", or words with a value such as
    /// "os=linux".
    #[serde(default)]
    #[schemars(inner(regex(pattern = labels::PATTERN)))]
    pub requires: Vec<String>,
    /// How many of the worker's GPUs the job has, for itself alone. Default: it is given none.
    #[serde(default)]
    #[schemars(range(min = 1, max = 64))]
    pub gpus: Option<i64>,
    /// How many jobs of this jobspec may run at once, over all workers. Default: as many as workers will.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_running: Option<i64>,
    /// How long a job may wait for its first start; then it fails. Default: for ever.
    #[serde(default)]
    pub queue_timeout: Option<GoDuration>,
    /// Run the job again after it failed. Default: it is not.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// Whether the job is run again when its worker died while it ran. false for jobs that must not begin twice.
    #[serde(default = "yes")]
    pub rerun_after_crash: bool,
    /// How long ended jobs are kept, such as "30d". Default: as Retention in config.toml says.
    #[serde(default, with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep: Option<Duration>,
    /// How long failed jobs are kept. Default: Keep of this jobspec, else as Retention in config.toml says.
    #[serde(default, with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep_failed: Option<Duration>,
    /// How long artifacts are kept, at most as long as their job. Default: as Retention in config.toml says.
    #[serde(default, with = "age")]
    #[schemars(with = "Option<Age>")]
    pub keep_artifacts: Option<Duration>,
}

fn yes() -> bool {
    true
}

/// How a job is run again after it failed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Retry {
    /// How often it is run again.
    #[schemars(range(min = 1, max = 100))]
    pub max: i64,
    /// The pause before the first time, up to "24h"; each later one is twice as long, up to an hour.
    #[serde(default = "default_backoff", with = "duration")]
    #[schemars(with = "GoDuration")]
    pub backoff: Duration,
    /// The reasons of a failure after which it is run again.
    #[serde(default = "default_on")]
    #[schemars(with = "Vec<RetryReason>")]
    pub on: Vec<String>,
}

fn default_backoff() -> Duration {
    super::Retry::default().backoff
}

fn default_on() -> Vec<String> {
    super::Retry::default().on.into_iter().map(|reason| reason.as_str().to_owned()).collect()
}

// For the schema alone, as TypeName.
/// Why a job failed.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
#[allow(dead_code)]
enum RetryReason {
    /// Its process exited with another code than 0.
    ExitCode,
    /// A signal ended its process.
    Signal,
    /// It ran longer than Timeout.
    Timeout,
    /// Its executor failed.
    ExecutorError,
    /// It left more or larger artifacts than allowed.
    ArtifactLimit,
    /// A process that it started could not be ended.
    Unkillable,
    /// It was killed since it needed more memory than it may have.
    OomKilled,
    /// The system that ran it gave its place to another job.
    Preempted,
    /// The machine that it ran on, in the hands of another system, is gone.
    NodeLost,
}

/// The original's default; also what a `Timeout` of zero means.
pub(super) fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_kill_grace() -> Duration {
    Duration::from_secs(5)
}

fn default_executor() -> String {
    super::DEFAULT_EXECUTOR.to_owned()
}

fn default_priority() -> i64 {
    DEFAULT_PRIORITY
}

/// A value that is given to a job.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Parameter {
    /// Its name; `message` becomes the variable JOBMGR_PARAMETER_MESSAGE.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What its value must be.
    #[schemars(with = "TypeName")]
    pub r#type: String,
    /// The values to choose from, for the type enum.
    #[serde(default)]
    pub values: Vec<Scalar>,
    /// One line for people: what it does.
    #[serde(default)]
    pub description: Option<String>,
    /// The value when none is given.
    #[serde(default)]
    pub default: Option<Scalar>,
    /// Whether it may be left out; there is no variable then.
    #[serde(default)]
    pub optional: bool,
    /// Whether its value is encrypted in the database and shown to nobody but the job.
    #[serde(default)]
    pub secret: bool,
}

/// The types of parameters, for the schema alone: the word itself is read as text, for a better error.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[allow(dead_code)]
enum TypeName {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Float,
    /// true or false.
    Bool,
    /// One of Values.
    Enum,
    /// A file that is uploaded with the job; its variable holds the path.
    File,
}

/// A value as text, whether it was written in quotes or not.
#[derive(Debug)]
pub(super) struct Scalar(pub String);

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

struct AnyScalar;

impl Visitor<'_> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}
