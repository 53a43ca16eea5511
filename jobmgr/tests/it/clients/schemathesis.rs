//! schemathesis: requests of all kinds that the document allows, and of some that it forbids, alone and one after the
//! other; each answer has to be one of which the document tells.

use std::path::Path;
use std::process::Command;

use super::{CONFIG, GUARDED, address, run, sources, token_of};
use crate::support::programs;
use crate::support::server::{Home, Server};

/// Webhooks may lead to where nobody listens.
const HOOKS: &str = "[Webhooks]\nAllowedHosts = [\"127.0.0.1\"]\n";
/// What asks a worker to take no more jobs, after which there is nothing more to see.
const LAST: &str = "drainWorker";

/// The tool, and how many requests of a kind it tries.
fn tool(few: &'static str) -> Option<(std::path::PathBuf, &'static str)> {
    let requirements = std::fs::read_to_string(sources("schemathesis").join("requirements.txt")).unwrap();
    let folder = programs::or_skip("schemathesis", programs::venv("schemathesis", &requirements))?;
    let long = std::env::var_os("JOBMGR_LONG_TESTS").is_some();
    Some((folder.join("bin/schemathesis"), if long { "300" } else { few }))
}

fn attack(tool: &Path, examples: &str, server: &Server, operations: &[&str], home: &Home) {
    let mut command = Command::new(tool);
    command.arg("--config-file").arg(sources("schemathesis").join("schemathesis.toml"));
    command.args(["run", &format!("{}/openapi.json", address(server)), "--max-examples", examples, "--seed", "1"]);
    // What it notes for another time.
    command.args(operations).current_dir(home.dir.path());
    command.env("SCHEMATHESIS_HOOKS", sources("schemathesis").join("hooks.py"));
    run(&mut command);
}

/// All operations, as somebody with a token of these scopes or without one; few requests of a kind.
fn attack_as(few: &'static str, token: Option<&str>, config: &str, spared: &[&str]) {
    let Some((tool, examples)) = tool(few) else { return };
    let home = Home::with_samples(&format!("{config}{HOOKS}"));
    // It counts down from any number there is.
    let countdown = home.path("jobspecs/countdown.toml");
    let text = std::fs::read_to_string(&countdown).unwrap();
    std::fs::write(countdown, text.replace("Timeout = \"10m\"", "Timeout = \"1s\"")).unwrap();
    let token = token.map(|scopes| token_of(&home, scopes));
    let server = home.serve();
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let header: Vec<&str> = header.iter().flat_map(|header| ["--header", header.as_str()]).collect();
    let spared = spared.iter().chain(&[LAST]).flat_map(|id| ["--exclude-operation-id", id]);
    attack(&tool, examples, &server, &[&header[..], &spared.collect::<Vec<_>>()].concat(), &home);
    attack(&tool, examples, &server, &[&header[..], &["--include-operation-id", LAST]].concat(), &home);
    assert!(!home.log().contains("panicked"), "a handler panicked");
}

#[test]
fn every_answer_is_one_of_which_the_document_tells() {
    attack_as("12", None, CONFIG, &[]);
}

#[test]
fn every_answer_to_a_token_is_one_of_which_the_document_tells() {
    // It would revoke its own.
    attack_as("4", Some("read,submit,admin"), &format!("{CONFIG}{GUARDED}"), &["revokeToken"]);
}

#[test]
fn every_answer_to_a_token_that_may_little_is_one_of_which_the_document_tells() {
    attack_as("3", Some("submit"), &format!("{CONFIG}{GUARDED}"), &[]);
}
