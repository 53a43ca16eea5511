//! `jobmgr schema`: what editors complete and check TOML files with.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// Which schema.
#[derive(Args)]
pub(super) struct SchemaOf {
    /// Of which file
    #[arg(value_enum, default_value_t = File::Jobspec)]
    file: File,
}

#[derive(Clone, Copy, ValueEnum)]
enum File {
    /// jobspecs/NAME.toml
    Jobspec,
    /// config.toml
    Config,
}

/// Prints it as JSON.
pub(super) fn print(what: &SchemaOf) -> ExitCode {
    let schema = match what.file {
        File::Jobspec => crate::domain::jobspec::schema(),
        File::Config => crate::config::schema(),
    };
    super::say(std::io::stdout(), format_args!("{schema:#}"));
    ExitCode::SUCCESS
}
