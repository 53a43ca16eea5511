//! The API as other people's programs take it: clients that are generated from the document, a tool that tries whatever
//! the document allows, and the page in a real browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::programs;
use crate::support::server::{Home, Server};

/// The page in a real browser.
mod browser;
/// A real browser.
mod chromium;
/// A client for Python.
mod python;
/// What the README says about calling.
mod readme;
/// A client for Rust.
mod rust;
/// Whatever the document allows, and what it forbids.
mod schemathesis;
/// A client for TypeScript.
mod typescript;

/// Jobs wait for nobody here.
const CONFIG: &str = "[Worker]\nConcurrency = 4\n";

/// Both documents: that of the program, and that which a server with the samples gives out.
fn documents(home: &Home, server: &Server) -> [(&'static str, PathBuf); 2] {
    let served = home.path("served.json");
    fs::write(&served, server.client().get("/openapi.json").body).unwrap();
    [("committed", Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json")), ("served", served)]
}

/// A folder with what is in `tests/clients/NAME`.
fn copy(home: &Home, name: &str, to: &str) -> PathBuf {
    let folder = home.path(to);
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(sources(name)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    folder
}

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a program to its end.
///
/// # Panics
/// When it fails, with all that it said.
fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {}\n{said}{}", done.status, String::from_utf8_lossy(&done.stderr));
    said
}

/// What a generated client is told: where the server is.
fn address(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// Node.js, with npm.
fn node() -> Option<()> {
    let npm = programs::run(Command::new("npm").arg("--version"));
    programs::or_skip("Node.js", programs::run(Command::new("node").arg("--version")).and(npm)).map(drop)
}
