//! Jobspecs: what a TOML file says about how a job runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::labels;
use super::settings::{self, Mistake};

mod about;
mod check;
mod file;
mod names;
mod retry;
#[cfg(test)]
mod tests;

pub use about::{About, Declared};
pub use names::variables_of;
pub use retry::Retry;

/// The executor of a jobspec that names none.
pub const DEFAULT_EXECUTOR: &str = "process";

/// Says whether there is an executor of this name and whether it takes these options. The error is the key that is
/// wrong, `Executor`, `Options` or one below that such as `Options.Image`, and what would be right; serde's words will do.
pub type ExecutorCheck = dyn Fn(&str, &Value) -> Result<(), (String, String)> + Send + Sync;

/// How a job runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Jobspec {
    /// One line for people.
    pub description: Option<String>,
    /// The executable, without arguments.
    pub command: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it starts; `None`: the job's temporary directory.
    pub working_directory: Option<String>,
    /// Variables of the server that it gets too.
    pub preserve_env_vars: Vec<String>,
    /// Fixed variables.
    pub env: BTreeMap<String, String>,
    /// How long it may run; never zero.
    pub timeout: Duration,
    /// How long it may take to end when it is asked to.
    pub kill_grace: Duration,
    /// Which executor runs it.
    pub executor: String,
    /// The executor's options.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The priority of jobs that name none; 0 to 100.
    pub priority: i64,
    /// What may be given to it.
    pub parameters: Vec<Parameter>,
    /// The labels that a worker must have to run it.
    pub requires: Vec<String>,
    /// How many of the worker's GPUs it has for itself.
    pub gpus: usize,
    /// How many jobs of it may run at once, over all workers; `None`: as many as workers will.
    pub max_running: Option<u64>,
    /// How long a job may wait for its first start; more than zero. `None`: for ever.
    pub queue_timeout: Option<Duration>,
    /// Whether it is run again after it failed; `None`: it is not.
    pub retry: Option<Retry>,
    /// Whether it is run again when its worker died or was stopped while it ran.
    pub rerun_after_crash: bool,
    /// How long its ended jobs are kept; `None`: as `[Retention]` says. More than zero, like the two below.
    pub keep: Option<Duration>,
    /// The same for failed jobs; `None`: as `keep`, where that is set.
    pub keep_failed: Option<Duration>,
    /// The same for its artifacts.
    pub keep_artifacts: Option<Duration>,
    /// SHA-256 of the file's text, in lower-case hexadecimal.
    pub hash: String,
}

/// A parameter of a jobspec.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `string`, `int`, `float`, `bool`, `enum` or `file`.
    pub kind: ParameterType,
    /// One line for people.
    pub description: Option<String>,
    /// The value when none is given, as the job gets it.
    pub default: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether its value is shown to nobody.
    pub secret: bool,
    /// The environment variables that hold its value: `JOBMGR_PARAMETER_OTHER-OPTION`, and, where no shell could
    /// read that, `JOBMGR_PARAMETER_OTHER_OPTION` too, unless another parameter has that name.
    pub variables: Vec<String>,
}

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// Any text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// One of these.
    Enum(Vec<String>),
    /// An uploaded file: its id; the job gets its path.
    File,
}

impl ParameterType {
    /// The word for it in jobspecs.
    pub fn as_str(&self) -> &'static str {
        match self {
            ParameterType::String => "string",
            ParameterType::Int => "int",
            ParameterType::Float => "float",
            ParameterType::Bool => "bool",
            ParameterType::Enum(_) => "enum",
            ParameterType::File => "file",
        }
    }
}

impl Jobspec {
    /// Reads a jobspec file's text, whatever executors there are.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str) -> Result<Jobspec, Mistake> {
        Self::parse_checked(text, &|_, _| Ok(()))
    }

    /// Reads a jobspec file's text for the executors that `check` knows.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse_checked(text: &str, check: &ExecutorCheck) -> Result<Jobspec, Mistake> {
        let document = settings::Document::read::<file::Jobspec>(text)?;
        let mut jobspec = check::jobspec(document.value()?, &document)?;
        check::executor(&jobspec, check, &document)?;
        jobspec.hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(jobspec)
    }

    /// Whether a worker with these labels may run it.
    ///
    /// # Errors
    /// The labels that it lacks, in one line.
    pub fn matches(&self, labels: &[String]) -> Result<(), String> {
        labels::have(labels, &self.requires)
    }
}

/// The JSON Schema of jobspec files, for editors.
pub fn schema() -> serde_json::Value {
    settings::schema::<file::Jobspec>()
}
