//! The executors that this binary has.

use std::sync::Arc;

use jobmgr_executor_process::Process;
use jobmgr_plugin_api::{Context, Error, Executor, Job, Outcome, Result};
use serde_json::Value;

use super::plugin::{Plugins, Wrong};
use crate::domain::executor::Executor as Known;
use crate::domain::jobspec::ExecutorCheck;

/// The names by which a jobspec may select an executor.
pub const NAMES: [&str; 1] = [Process::NAME];

/// Runs a job with the executor of this name.
pub(super) fn run(name: &str, job: Job<Value>, ctx: &Context<'_>) -> Result<Outcome> {
    match name {
        Process::NAME => with::<Process>(job, ctx),
        _ => Err(Error::invalid(format!("'Executor': {}", unknown(name, &NAMES)))),
    }
}

/// Whether there is such an executor, and takes these options: the [check](ExecutorCheck) of jobspecs.
pub fn check(plugins: &Plugins) -> Arc<ExecutorCheck> {
    let plugins = plugins.clone();
    Arc::new(move |name, options| match name {
        Process::NAME => examine::<Process>(options),
        _ if plugins.has(name) => plugins.check(name, options),
        _ => {
            let known: Vec<&str> = NAMES.into_iter().chain(plugins.names()).collect();
            Err(("Executor".to_owned(), unknown(name, &known)))
        }
    })
}

/// Why a job of this command could not be started on this machine now, where the executor is one that can tell.
/// `directory`: its working directory; `None`: one of its own.
pub fn lacking(name: &str, command: &str, directory: Option<&str>) -> Option<String> {
    let lacking = (name == Process::NAME).then(|| jobmgr_executor_process::lacking(command, directory.unwrap_or("")));
    lacking.flatten().map(|error| error.to_string())
}

/// Whether an executor takes these options, as far as it can say without a job.
fn examine<E: Executor>(options: &Value) -> Result<(), Wrong> {
    let complaint = |options: &Value| {
        let parsed = parse::<E>(options);
        parsed.and_then(|options| make::<E>()?.validate(&options).map_err(|error| error.to_string())).err()
    };
    let Some(why) = complaint(options) else { return Ok(()) };
    // It does not say where. The option that is meant is the one without which it says something else.
    let meant = options.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| {
        let others = options.as_object().into_iter().flatten().filter(|(other, _)| other != key);
        let others = others.map(|(key, value)| (key.clone(), value.clone())).collect();
        complaint(&Value::Object(others)).as_ref() != Some(&why)
    });
    Err((meant.map_or_else(|| "Options".to_owned(), |key| format!("Options.{key}")), why))
}

/// What is to be known of all executors, by name.
pub fn known(plugins: &Plugins) -> Vec<Known> {
    let mut all = vec![built_in::<Process>()];
    all.extend(plugins.known());
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn built_in<E: Executor>() -> Known {
    Known {
        name: E::NAME.to_owned(),
        built_in: true,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        abi: None,
        sha256: None,
        recovers: false,
        cleans_up: false,
        concurrent: false,
        options: Some(schemars::schema_for!(E::Options).to_value()),
        error: None,
    }
}

fn make<E: Executor>() -> Result<E, String> {
    let config = serde_json::from_value(Value::Object(Default::default())).map_err(|error| error.to_string())?;
    E::new(config).map_err(|error| error.to_string())
}

fn unknown(name: &str, known: &[&str]) -> String {
    format!("there is no executor '{name}'; this jobmgr has: {}", known.join(", "))
}

fn parse<E: Executor>(options: &Value) -> Result<E::Options, String> {
    if !options.is_object() {
        return Err("must be a table".to_owned());
    }
    serde_json::from_value(options.clone()).map_err(|error| error.to_string())
}

fn with<E: Executor>(job: Job<Value>, ctx: &Context<'_>) -> Result<Outcome> {
    let options = parse::<E>(&job.options).map_err(|why| Error::invalid(format!("'Options': {why}")))?;
    let executor = make::<E>().map_err(Error::invalid)?;
    executor.validate(&options)?;
    executor.run(&job.split().0.with(options), ctx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::jobspec::Jobspec;

    fn mistake(lines: &str) -> String {
        Jobspec::parse_checked(&format!("Command = 'x'\n{lines}"), &*check(&Plugins::default()))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_jobspec_for_another_executor_or_with_other_options_is_a_mistake_with_its_place() {
        let table = [
            ("Executor = 'foo'", "line 2, column 12: 'Executor': there is no executor 'foo'; this jobmgr has: process"),
            (
                "[Options]\nAllowBatch = true\nAlowBatch = true",
                "line 4, column 13: 'Options': unknown key 'AlowBatch'; did you mean 'AllowBatch'?",
            ),
            (
                "Options.Shell = 1",
                "line 2, column 17: 'Options': unknown key 'Shell'; the keys here are AllowBatch, User, Limits, Sandbox",
            ),
            (
                "Options.Limits.Memory = '1K'",
                "line 2, column 9: 'Options': 'Limits.Memory' must be at least 1MiB, and is 1KiB; leave it out for no limit",
            ),
            (
                "Options = { AllowBatch = 'x' }",
                "line 2, column 26: 'Options': invalid type: string \"x\", expected true or false",
            ),
        ];
        for (lines, expected) in table {
            assert_eq!(mistake(lines), expected, "{lines}");
        }
        assert!(
            Jobspec::parse_checked("Command = 'x'\nOptions = { AllowBatch = true }", &*check(&Plugins::default()))
                .is_ok()
        );
    }
}
