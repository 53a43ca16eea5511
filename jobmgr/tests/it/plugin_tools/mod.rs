//! The tools for those who write executors, and their examples.

/// `jobmgr plugin check`: what is right passes, and each point can fail.
mod check;
/// The executors in `executors/examples`.
mod examples;
/// `jobmgr plugin list` and `run`.
mod run;
/// What `jobmgr schema` says of executors.
mod schema;
/// From `jobmgr plugin new` to a job, as README.md has it.
mod team;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::libraries::{built, install};
use crate::support::programs::{or_skip, run};
use crate::support::server::Home;

/// The folder of the whole project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Puts the library of a package into the folder `plugins`.
fn plugin(home: &Home, package: &str, name: &str) -> PathBuf {
    install(&built(package), &home.path("plugins"), name)
}

/// Compiles a source in C into the folder `plugins`; `None`, after saying so, where there is no compiler.
fn plugin_in_c(home: &Home, source: &str, name: &str, flags: &[&str]) -> Option<PathBuf> {
    or_skip("gcc", run(Command::new("gcc").arg("--version")))?;
    let folder = home.path("plugins");
    std::fs::create_dir_all(&folder).unwrap();
    let library = folder.join(format!("lib{name}.so"));
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared", "-pthread"]);
    gcc.args(flags).arg("-I").arg(root().join("plugin-api/include")).arg("-o").arg(&library).arg(root().join(source));
    run(&mut gcc).unwrap_or_else(|why| panic!("{why}"));
    Some(library)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
