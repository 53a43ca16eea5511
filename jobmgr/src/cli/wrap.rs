//! `jobmgr wrap`: no configuration, no database, hardly any start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::complain;
use crate::domain::duration::GoDuration;
use crate::wrap::{self, Options};

/// What to run, and where what it leaves goes.
#[derive(clap::Args)]
pub(super) struct Wrap {
    /// The file of grants that the executor wrote, or the JSON itself; default $JOBMGR_GRANTS. Without, nothing is
    /// fetched or uploaded
    #[arg(long, value_name = "FILE")]
    grants: Option<String>,
    /// Where the exit status is written, as a number and a line feed, after everything else; default $JOBMGR_EXIT_FILE
    #[arg(long, value_name = "FILE")]
    exit_file: Option<PathBuf>,
    /// Upload the whole output too, which is passed through in either case
    #[arg(long)]
    log: bool,
    /// For how long an upload, or an input file, is tried again while the store or the server is away
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    patience: Duration,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: Result<GoDuration, _> = text.parse();
    duration.ok().and_then(GoDuration::to_std).ok_or_else(|| "write a duration such as \"1m30s\"".to_owned())
}

/// Runs the command.
pub(super) fn wrap(what: Wrap) -> ExitCode {
    let options = Options {
        grants: what.grants.or_else(|| std::env::var("JOBMGR_GRANTS").ok()).filter(|text| !text.is_empty()),
        exit_file: what.exit_file.or_else(|| std::env::var_os("JOBMGR_EXIT_FILE").map(PathBuf::from)),
        log: what.log,
        patience: what.patience,
        command: what.command,
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(wrap::run(options))),
        Err(error) => complain(&format!("no runtime: {error}"), wrap::NOT_RUN),
    }
}
