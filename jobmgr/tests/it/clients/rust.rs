//! progenitor: a crate of its own makes clients of both documents when it is built.

use std::process::Command;

use super::{CONFIG, address, documents, run, sources};
use crate::support::libraries::{cargo, needs_cargo, target};
use crate::support::server::Home;

#[test]
fn a_client_for_rust_does_all_that_callers_do() {
    if needs_cargo().is_none() {
        return;
    }
    let home = Home::with_samples(CONFIG);
    let server = home.serve();
    let [(_, committed), (_, served)] = documents(&home, &server);
    // Where it stays the same from run to run, what was compiled serves again.
    let target = target().join("clients");
    let kept = target.join("served.json");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::copy(served, &kept).unwrap();
    let mut build = cargo();
    build.args(["build", "--locked", "--quiet", "--target-dir"]).arg(&target).current_dir(sources("rust"));
    run(build.env("COMMITTED_DOCUMENT", committed).env("SERVED_DOCUMENT", kept));
    run(Command::new(target.join("debug/jobmgr-client-tests")).arg(address(&server)));
}
