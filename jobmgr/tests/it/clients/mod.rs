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

/// A server with the samples that asks nobody who they are, and one that asks for a token.
struct Servers {
    home: Home,
    open: Server,
    _guarded_home: Home,
    guarded: Server,
    token: String,
}

impl Servers {
    fn start() -> Self {
        let (home, guarded_home) = (Home::with_samples(CONFIG), Home::with_samples(&format!("{CONFIG}{GUARDED}")));
        let token = token_of(&guarded_home, "read,submit,admin");
        let (open, guarded) = (home.serve(), guarded_home.serve());
        Self { home, open, _guarded_home: guarded_home, guarded, token }
    }

    /// Both documents: that of the program, and that which a server with the samples gives out.
    fn documents(&self) -> [(&'static str, PathBuf); 2] {
        let served = self.home.path("served.json");
        fs::write(&served, self.open.client().get("/openapi.json").body).unwrap();
        [("committed", Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json")), ("served", served)]
    }

    /// What a caller is told of each: where it is, and the token.
    fn arguments(&self) -> [Vec<String>; 2] {
        [vec![address(&self.open)], vec![address(&self.guarded), self.token.clone()]]
    }
}

/// Callers have a token.
const GUARDED: &str = "[Server]\nAuth = \"token\"\n";

/// A new token with these scopes.
fn token_of(home: &Home, scopes: &str) -> String {
    let mut create = home.jobmgr(&["token", "create", "caller", "--scopes", scopes]);
    run(&mut create).trim().to_owned()
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

/// Where a server is.
fn address(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// Node.js, with npm.
fn node() -> Option<()> {
    let npm = programs::run(Command::new("npm").arg("--version"));
    programs::or_skip("Node.js", programs::run(Command::new("node").arg("--version")).and(npm)).map(drop)
}
