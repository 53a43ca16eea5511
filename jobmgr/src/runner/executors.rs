//! The executors that this binary has.

use jobmgr_executor_process::Process;
use jobmgr_plugin_api::schemars::{Schema, schema_for};
use jobmgr_plugin_api::{Context, Error, Executor, Job, Outcome, Result};
use serde_json::Value;

/// The names by which a jobspec may select an executor.
pub const NAMES: [&str; 1] = [Process::NAME];

/// Runs a job with the executor of this name.
pub(super) fn run(name: &str, job: Job<Value>, ctx: &Context<'_>) -> Result<Outcome> {
    match name {
        Process::NAME => with::<Process>(job, ctx),
        _ => Err(Error::invalid(unknown(name))),
    }
}

/// Checks a jobspec's `[Options]` as the executor sees them.
///
/// # Errors
/// One line that names the executor or the option.
pub fn check_options(name: &str, options: &Value) -> Result<(), String> {
    match name {
        Process::NAME => parse::<Process>(options).map(drop).map_err(|error| error.to_string()),
        _ => Err(unknown(name)),
    }
}

/// The JSON Schema of the executor's options.
pub fn options_schema(name: &str) -> Option<Schema> {
    (name == Process::NAME).then(|| schema_for!(<Process as Executor>::Options))
}

fn unknown(name: &str) -> String {
    format!("Executor = \"{name}\": there is no such executor; this jobmgr has: {}", NAMES.join(", "))
}

fn parse<E: Executor>(options: &Value) -> Result<E::Options> {
    if !options.is_object() {
        return Err(Error::invalid("[Options] must be a table"));
    }
    serde_json::from_value(options.clone()).map_err(|error| Error::invalid(format!("[Options]: {error}")))
}

fn with<E: Executor>(mut job: Job<Value>, ctx: &Context<'_>) -> Result<Outcome> {
    let options = parse::<E>(&job.options)?;
    let config = serde_json::from_value(Value::Object(Default::default()));
    let executor = E::new(config.map_err(|error| Error::invalid(error.to_string()))?)?;
    executor.validate(&options)?;
    let mut typed = Job::new(std::mem::take(&mut job.id), job.attempt, std::mem::take(&mut job.key), options);
    typed.command = job.command;
    typed.env = job.env;
    typed.dir = job.dir;
    typed.working_directory = job.working_directory;
    typed.limits = job.limits;
    executor.run(&typed, ctx)
}
