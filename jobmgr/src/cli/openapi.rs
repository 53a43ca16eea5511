//! `jobmgr openapi`: the document from which clients are generated.

use std::process::ExitCode;

/// Prints it as JSON.
pub(super) fn print() -> ExitCode {
    super::say(std::io::stdout(), crate::http::openapi().trim_end());
    ExitCode::SUCCESS
}
