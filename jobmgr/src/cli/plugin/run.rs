//! `jobmgr plugin run`: one job with a library.

use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jobmgr_plugin_api::{Ending, Outcome};
use serde_json::Value;

use super::here::Here;
use super::jobfile::JobFile;
use crate::cli::{BAD_CONFIG, complain, run, say};
use crate::config::{Config, Executor};
use crate::domain::jobspec::DEFAULT_EXECUTOR;
use crate::runner::plugin::{find, run_here};

/// What to run.
#[derive(Args)]
pub(in crate::cli) struct Run {
    /// The library
    library: PathBuf,
    /// The jobspec: a file NAME.toml with `Executor`
    jobspec: PathBuf,
    /// A parameter of the job; may be given many times
    #[arg(short, long = "parameter", value_name = "KEY=VALUE", value_parser = run::pair)]
    parameter: Vec<(String, String)>,
    /// What [Executors.NAME.Config] would say, as JSON or TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to save the job's artifacts
    #[arg(long, value_name = "DIR", conflicts_with = "in_process")]
    artifacts: Option<PathBuf>,
    /// Open the library in this process instead of one of its own, for a debugger: gdb --args jobmgr plugin run ...
    #[arg(long)]
    pub(in crate::cli) in_process: bool,
}

impl Run {
    fn job(&self) -> Result<JobFile, String> {
        let job = JobFile::read(&self.jobspec, &self.parameter)?;
        if job.spec.executor == DEFAULT_EXECUTOR {
            let file = self.jobspec.display();
            return Err(format!("{file}: 'Executor' is missing; any name will do, such as Executor = \"mine\""));
        }
        Ok(job)
    }
}

/// Runs it as `jobmgr run` does, with the library as the only executor beside the built-in one.
pub(super) async fn run(how: Run) -> ExitCode {
    match as_job(how) {
        Ok((what, config)) => match run::run_with(what, config).await {
            Ok(code) => code,
            Err(why) => complain(&why, BAD_CONFIG),
        },
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

fn as_job(how: Run) -> Result<(run::Run, Config), String> {
    let job = how.job()?;
    let odd = || format!("{}: is not a jobspec's file; those are called NAME.toml", how.jobspec.display());
    let name = how.jobspec.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"));
    let name = name.ok_or_else(odd)?.to_owned();
    let Value::Object(own) = super::config_of(how.config.as_deref())? else { return Err(odd()) };
    let executor = Executor {
        // Why it can't be used is said here, and not in the log.
        plugin: find(&super::library_of(&how.library)?)?.path,
        concurrency: None,
        memory: None,
        preserve_env_vars: Vec::new(),
        config: own,
        places: Default::default(),
    };
    let mut config = Config::default();
    config.server.jobspecs = how.jobspec.parent().filter(|at| *at != Path::new("")).unwrap_or(Path::new(".")).into();
    config.executors.insert(job.spec.executor, executor);
    Ok((run::Run { name, parameter: how.parameter, artifacts: how.artifacts }, config))
}

/// Runs it in this process, on this thread.
pub(super) fn in_process(how: &Run) -> ExitCode {
    match here(how) {
        Ok(outcome) => {
            let text = serde_json::to_string(&outcome).unwrap_or_default();
            say(stderr(), format_args!("jobmgr: {text}"));
            match outcome.ending {
                Ending::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                _ => ExitCode::FAILURE,
            }
        }
        Err(why) => complain(&why, 1),
    }
}

fn here(how: &Run) -> Result<Outcome, String> {
    let found = find(&super::library_of(&how.library)?)?;
    let config = super::config_of(how.config.as_deref())?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let job = how.job()?.job(scratch.path(), "jm-here-1-1")?;
    let host = Here::new(Path::new(&job.dir));
    let json = serde_json::to_vec(&job).map_err(|error| error.to_string())?;
    run_here(&found.path, &config, &json, &host).map_err(|error| error.to_string())
}
