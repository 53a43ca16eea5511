//! `jobmgr plugin`: for those who write executors.

/// `jobmgr plugin check`
mod check;
/// A host in this very process.
mod here;
/// A jobspec's file as a job.
mod jobfile;
/// `jobmgr plugin list`
mod list;
/// `jobmgr plugin new`
mod new;
/// `jobmgr plugin run`
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

/// What to do.
#[derive(Subcommand)]
pub(super) enum Plugin {
    /// Write a new executor: a crate in Rust that builds, with a test
    New(new::New),
    /// Try what executors have to keep to, one line for each thing; exit status 1 when something is wrong
    ///
    /// Everything happens in processes of its own, so that nothing that the library does can end the check.
    Check(check::Check),
    /// List the executors of config.toml, and the one that is built in
    List,
    /// Run one job with a library, without a line in config.toml, and show its output as it comes
    ///
    /// The exit status is that of `jobmgr run`.
    Run(run::Run),
}

/// Whether it does without a runtime: a debugger sees one thread then.
pub(super) fn is_alone(what: &Plugin) -> bool {
    matches!(what, Plugin::New(_)) || matches!(what, Plugin::Run(how) if how.in_process)
}

/// What needs no runtime.
pub(super) fn alone(what: Plugin) -> ExitCode {
    match what {
        Plugin::New(what) => new::new(&what),
        Plugin::Run(how) => run::in_process(&how),
        Plugin::Check(_) | Plugin::List => ExitCode::FAILURE,
    }
}

/// What needs one.
pub(super) async fn plugin(what: Plugin) -> ExitCode {
    match what {
        Plugin::Check(what) => check::check(what).await,
        Plugin::List => list::list().await,
        Plugin::Run(how) => run::run(how).await,
        Plugin::New(what) => new::new(&what),
    }
}

/// `[Executors.NAME.Config]` from a file: JSON, or TOML where it is called so.
fn config_of(file: Option<&Path>) -> Result<Value, String> {
    let Some(file) = file else { return Ok(Value::Object(Default::default())) };
    let failed = |why: String| format!("{}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let config: Value = if file.extension().is_some_and(|end| end == "toml") {
        toml::from_str(&text).map_err(|error| failed(error.to_string()))?
    } else {
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?
    };
    if config.is_object() { Ok(config) } else { Err(failed("the configuration is an object: {\"Key\": value}".into())) }
}

/// A library as somebody names it who is in its folder: `lib.so` is a file here, whatever the system would look for.
fn library_of(given: &Path) -> Result<PathBuf, String> {
    std::path::absolute(given).map_err(|error| format!("{}: {error}", given.display()))
}
