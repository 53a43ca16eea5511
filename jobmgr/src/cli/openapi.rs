//! `jobmgr openapi`: the document from which clients are generated.

use std::process::ExitCode;

/// Prints it as JSON.
pub(super) fn print() -> ExitCode {
    print!("{}", crate::http::openapi());
    ExitCode::SUCCESS
}
