//! openapi-typescript and openapi-fetch: the document becomes types, by which tsc checks every call.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Servers, copy, node, run, sources};
use crate::support::programs::{self, cached};

/// The packages of `package-lock.json`, installed once per machine.
pub fn packages() -> Result<PathBuf, String> {
    let read = |name: &str| fs::read_to_string(sources("typescript").join(name)).unwrap();
    let files = ["package.json", "package-lock.json"].map(|name| (name, read(name)));
    let version: String = files.iter().map(|(_, text)| text.as_str()).collect();
    let folder = cached("typescript-client", &version, |folder| {
        for (name, text) in &files {
            fs::write(folder.join(name), text).map_err(|e| e.to_string())?;
        }
        programs::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder)).map(drop)
    })?;
    Ok(folder.join("node_modules"))
}

/// Makes types of the document and compiles what is in the folder; the programs are below `out`.
pub fn compile(folder: &Path, document: &Path, packages: &Path) {
    symlink(packages, folder.join("node_modules")).unwrap();
    let tool = |name: &str| {
        let mut command = Command::new(packages.join(".bin").join(name));
        command.current_dir(folder);
        command
    };
    run(tool("openapi-typescript").arg(document).args(["-o", "document.ts"]));
    run(&mut tool("tsc"));
}

#[test]
fn a_client_for_typescript_does_all_that_callers_do() {
    let Some(packages) = node().and_then(|()| programs::or_skip("openapi-typescript", packages())) else { return };
    let servers = Servers::start();
    for (name, document) in servers.documents() {
        let folder = copy(&servers.home, "typescript", name);
        if name == "committed" {
            fs::remove_file(folder.join("typed.ts")).unwrap();
        }
        compile(&folder, &document, &packages);
        let programs: &[&str] = if name == "served" { &["out/walk.js", "out/typed.js"] } else { &["out/walk.js"] };
        for arguments in servers.arguments() {
            for program in programs {
                run(Command::new("node").arg(program).args(&arguments).current_dir(&folder));
            }
        }
    }
}
