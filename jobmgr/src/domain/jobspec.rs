//! Jobspecs: what a TOML file says about how a job runs. (Skeleton.)

use std::collections::BTreeMap;
use std::time::Duration;

/// How a job runs.
#[derive(Debug, Clone)]
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
    /// How long it may run.
    pub timeout: Duration,
    /// How long it may take to end when it is asked to.
    pub kill_grace: Duration,
    /// Which executor runs it.
    pub executor: String,
    /// The executor's options.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The priority of jobs that name none.
    pub priority: i64,
    /// What may be given to it.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a jobspec.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `string`, `int`, `float`, `bool` or `enum`.
    pub kind: ParameterType,
    /// One line for people.
    pub description: Option<String>,
    /// The value when none is given.
    pub default: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
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
}
