//! progenitor: a crate of its own makes clients of both documents when it is built.

use std::process::Command;

use super::{Servers, run, sources};
use crate::support::libraries::{cargo, needs_cargo, target};

#[test]
fn a_client_for_rust_does_all_that_callers_do() {
    if needs_cargo().is_none() {
        return;
    }
    let servers = Servers::start();
    let [(_, committed), (_, served)] = servers.documents();
    // Where it stays the same from run to run, what was compiled serves again.
    let target = target().join("clients");
    let kept = target.join("served.json");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::copy(served, &kept).unwrap();
    let mut build = cargo();
    build.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&target).current_dir(sources("rust"));
    run(build.env("COMMITTED_DOCUMENT", committed).env("SERVED_DOCUMENT", kept));
    for arguments in servers.arguments() {
        run(Command::new(target.join("debug/jobmgr-client-tests")).args(arguments));
    }
}
