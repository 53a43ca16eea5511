//! The `jobmgr` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobmgr::cli::main()
}
