//! `jobmgr backup`: a whole copy of the database, while it is used.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{BAD_CONFIG, complain, say};
use crate::store;

/// Where to.
#[derive(clap::Args)]
pub(super) struct Backup {
    /// The new file; one that is there is not overwritten
    file: PathBuf,
}

/// Exit status 1 when the copy can't be made, 2 when it is the configuration or a server has the database.
pub(super) async fn backup(how: Backup) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(command) = config.database.dump_command(&how.file) {
        let why = format!(
            "{} is a server's, whose own tool makes backups while it is used:\n  {command}",
            config.database.describe()
        );
        return complain(&why, BAD_CONFIG);
    }
    match store::backup(&config.database, &how.file).await {
        Ok(bytes) => {
            let (file, from) = (how.file.display(), config.database.describe());
            say(stdout(), format_args!("{file}: {bytes} bytes, a whole copy of {from}"));
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error.to_string(), 1),
    }
}
