//! The command line: one file per subcommand.

/// `jobmgr audit`
mod audit;
/// `jobmgr backup`
mod backup;
/// `jobmgr check`
mod check;
/// `jobmgr gc`
mod gc;
/// What log lines may hold.
mod logs;
/// `jobmgr openapi`
mod openapi;
/// What the platforms say in their own ways.
mod platform;
/// `jobmgr plugin`
mod plugin;
/// `jobmgr run`
mod run;
/// `jobmgr schema`
mod schema;
/// `jobmgr serve`
mod serve;
/// What `serve` and `worker` have in common.
mod service;
/// `jobmgr token`
mod token;
/// `jobmgr worker`
mod worker;
/// `jobmgr wrap`
mod wrap;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Config;

/// Exit status for a configuration that can't serve.
const BAD_CONFIG: u8 = 2;

/// Takes jobs over HTTP, queues them, runs them one by one (or a few at once) and keeps what they make.
///
/// A job is a name and parameters. The name picks a jobspec, jobspecs/NAME.toml, which says how to run it.
/// Without a subcommand, jobmgr serves: it needs no configuration, and says where it listens.
#[derive(Parser)]
#[command(name = "jobmgr", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTP API and run the queued jobs (what jobmgr does without a subcommand)
    ///
    /// Reads config.toml in the working directory, if it is there, and JOBMGR_SECTION__KEY variables.
    Serve(serve::Serve),
    /// Run queued jobs, without an HTTP API: any number of these share a database with any number of servers
    ///
    /// Needs a database server that all of them reach, and a store for artifacts that is the same for all of them.
    Worker,
    /// Run one job here and now, without a server, and show its output as it comes
    ///
    /// Uses the jobspecs of the working directory and a queue that is thrown away. The exit status is the job's own:
    /// 128 + N after signal N, 124 after a timeout, 1 if it could not be run.
    Run(run::Run),
    /// Look at configuration, jobspecs, database and store, and say what is wrong and where
    Check,
    /// Remove the jobs and files that have been kept for long enough, now; running servers do that by themselves
    ///
    /// How long is said by [Retention] in config.toml, and by Keep, KeepFailed and KeepArtifacts in jobspecs.
    Gc(gc::Gc),
    /// Copy the SQLite database to a new file while it is used; for a server, say how its own tool does that
    Backup(backup::Backup),
    /// Make, list and revoke the tokens with which clients call
    #[command(subcommand)]
    Token(token::Token),
    /// Show who did what: tokens, cancels, deletes, retries, drains, submissions in short, and refused attempts
    Audit(audit::Audit),
    /// Write, check, list and try executors of your own
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Print the JSON Schema of a jobspec (or of config.toml), with which editors complete and check it
    ///
    /// Knows the options of the executors that config.toml in the working directory names.
    Schema(schema::SchemaOf),
    /// Print the OpenAPI document of the HTTP API
    Openapi(openapi::Openapi),
    /// Run a job's command where jobs run elsewhere, and upload what it leaves; for scripts of clusters and containers
    ///
    /// The command finds a folder for artifacts in JOBMGR_ARTIFACTS_DIR and a file for a structured result in
    /// JOBMGR_OUTPUT. When it has ended, both are uploaded by the grants that the job's executor got from jobmgr, then a
    /// report of it, and last of all the exit file is written. Signals are passed on. The exit status is the command's
    /// own: 128 + N after signal N, 126 or 127 if it can't be run, 74 if it ended well and something could not be
    /// uploaded, 125 if it was not run because of what stands before it.
    Wrap(wrap::Wrap),
    /// The process in which jobs run; jobmgr starts it by itself
    #[command(hide = true)]
    Runner {
        /// For a library
        #[arg(long)]
        plugin: bool,
        /// Forks those for libraries
        #[arg(long, requires = "plugin")]
        forks: bool,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    // Before anything else: a job waits for it.
    crate::runner::launch();
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or_else(|| Command::Serve(serve::Serve::default())) {
        Command::Runner { plugin: false, .. } => crate::runner::main(),
        Command::Runner { forks: false, .. } => crate::runner::plugin::main(),
        Command::Runner { forks: true, .. } => crate::runner::plugin::forks(),
        Command::Schema(what) => within(arguments.log_format, "error", schema::print(what)),
        Command::Plugin(what) if plugin::is_alone(&what) => plugin::alone(what),
        Command::Plugin(what) => within(arguments.log_format, "error", plugin::plugin(what)),
        Command::Wrap(what) => wrap::wrap(what),
        Command::Openapi(which) => openapi::print(which),
        Command::Serve(how) => within(arguments.log_format, "info", serve::serve(how)),
        Command::Worker => within(arguments.log_format, "info", worker::worker()),
        Command::Run(what) => within(arguments.log_format, "error", run::run(what)),
        Command::Check => within(arguments.log_format, "error", check::check()),
        Command::Gc(how) => within(arguments.log_format, "error", gc::gc(how)),
        Command::Token(what) => within(arguments.log_format, "error", token::token(what)),
        Command::Audit(which) => within(arguments.log_format, "error", audit::audit(which)),
        Command::Backup(how) => within(arguments.log_format, "error", backup::backup(how)),
    }
}

/// Runs `work` with logs and a runtime.
fn within(format: LogFormat, level: &str, work: impl Future<Output = ExitCode>) -> ExitCode {
    start_logs(format, level);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // Blocking reads (standard input, a hung file system) must not hold the exit up.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            code
        }
        Err(error) => complain(&format!("no runtime: {error}"), 1),
    }
}

fn start_logs(format: LogFormat, level: &str) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_env("JOBMGR_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let colors = std::io::stderr().is_terminal() && format == LogFormat::Text;
    let logs = logs.with_writer(move || logs::Clean::new(std::io::stderr(), colors));
    match format {
        LogFormat::Text => logs.with_ansi(colors).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

/// Writes a line. That its reader is gone (`| head`) is no failure and stops nothing; `println!` would panic.
fn say(mut to: impl Write, line: impl std::fmt::Display) {
    drop(writeln!(to, "{line}").and_then(|()| to.flush()));
}

/// One line to standard error.
fn complain(what: &str, status: u8) -> ExitCode {
    say(std::io::stderr(), format_args!("jobmgr: {what}"));
    ExitCode::from(status)
}

/// The configuration of the working directory.
fn config() -> Result<Config, ExitCode> {
    Config::load(
        Path::new("."),
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
    .map_err(|error| complain(&error.to_string(), BAD_CONFIG))
}
