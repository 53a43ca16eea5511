//! `jobmgr openapi`: the document from which clients are generated.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::domain::jobspec::About;
use crate::http;
use crate::jobspecs::Jobspecs;

/// Which document.
#[derive(Debug, clap::Args)]
pub(super) struct Openapi {
    /// Adds an operation for each jobspec in this folder, as a server that has them does
    #[arg(long, value_name = "DIR")]
    jobspecs: Option<PathBuf>,
}

/// Prints it as JSON.
pub(super) fn print(which: Openapi) -> ExitCode {
    let document = match which.jobspecs {
        None => http::openapi(),
        Some(folder) => match read(folder) {
            Ok(document) => document,
            Err(why) => return super::complain(&why, 2),
        },
    };
    super::say(std::io::stdout(), document.trim_end());
    ExitCode::SUCCESS
}

/// The document with what is in the folder; a jobspec that can't be read would be missing in it.
fn read(folder: PathBuf) -> Result<String, String> {
    let jobspecs = Jobspecs::new(folder);
    jobspecs.check()?;
    let read = jobspecs.list().into_iter().map(|(name, read)| Ok((name, About::of(&*read?))));
    Ok(http::openapi_with(&read.collect::<Result<_, String>>()?))
}
