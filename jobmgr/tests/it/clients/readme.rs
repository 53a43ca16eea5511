//! What the README says about calling the API, done as a newcomer does it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{node, python, typescript};
use crate::papers::{markdown, read};
use crate::support::programs::or_skip;
use crate::support::server::{Home, Server};

/// The tools, which the README says how to install.
struct Tools {
    /// What comes before the other places for programs.
    path: String,
    packages: std::path::PathBuf,
}

impl Tools {
    fn here() -> Option<Self> {
        let python = or_skip("openapi-python-client", python::tools())?;
        let packages = node().and_then(|()| or_skip("openapi-typescript", typescript::packages()))?;
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", python.display(), packages.join(".bin").display());
        Some(Self { path, packages })
    }

    fn run(&self, program: &str, arguments: &[&str], folder: &Path) -> String {
        let mut command = Command::new("/usr/bin/env");
        super::run(command.arg(program).args(arguments).current_dir(folder).env("PATH", &self.path))
    }

    /// Runs a program that is shown; gives what it prints.
    fn program(&self, kind: &str, text: &str, folder: &Path) -> String {
        match kind {
            "sh" => self.run("sh", &["-ec", text], folder),
            // What is to be installed is here, in the versions that are tested.
            "bash" => {
                let lines = text.lines().filter(|line| !line.contains(" install "));
                // With a copy that is there already, npx asks nobody.
                let lines: Vec<String> = lines.map(|line| line.replace("npx ", "npx --no-install ")).collect();
                self.run("sh", &["-ec", &lines.join("\n")], folder)
            }
            "python" => {
                fs::write(folder.join("program.py"), text).unwrap();
                self.run("python", &["program.py"], folder)
            }
            "ts" => {
                fs::write(folder.join("program.ts"), text).unwrap();
                let tsconfig = super::sources("typescript").join("tsconfig.json");
                fs::copy(tsconfig, folder.join("tsconfig.json")).unwrap();
                self.run("tsc", &[], folder);
                self.run("node", &["out/program.js"], folder)
            }
            other => panic!("a block of {other}"),
        }
    }
}

/// Whether `shown` is a part of `printed`; `"..."` stands for anything.
fn is_part(shown: &Value, printed: &Value) -> bool {
    match (shown, printed) {
        (Value::String(any), _) if any == "..." => true,
        (Value::Object(shown), Value::Object(printed)) => {
            shown.iter().all(|(key, value)| printed.get(key).is_some_and(|printed| is_part(value, printed)))
        }
        (Value::Array(shown), Value::Array(printed)) => {
            shown.len() == printed.len() && shown.iter().zip(printed).all(|(shown, printed)| is_part(shown, printed))
        }
        _ => shown == printed,
    }
}

#[test]
fn a_part_is_found() {
    let printed = serde_json::json!({ "a": 1, "b": [{ "c": "x", "d": null }] });
    for (shown, is) in [
        (r#"{"a": 1}"#, true),
        (r#"{"a": 2}"#, false),
        (r#"{"b": [{"c": "..."}]}"#, true),
        (r#"{"b": [{"e": "..."}]}"#, false),
        (r#"{"b": []}"#, false),
    ] {
        assert_eq!(is_part(&serde_json::from_str(shown).unwrap(), &printed), is, "{shown}");
    }
}

fn follow(section: &str, tools: &Tools, home: &Home, server: &Server) -> usize {
    let blocks = markdown::blocks(section);
    let mut count = 0;
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| !matches!(&*block.kind, "json" | "text")) {
        let text = block.text.replace("9845", &server.address.port().to_string());
        let printed = tools.program(&block.kind, &text, home.dir.path());
        let shown = blocks.get(place + 1).map_or(("", ""), |next| (next.kind.as_str(), next.text.as_str()));
        match shown {
            ("text", shown) => assert_eq!(printed, shown, "{}", block.text),
            ("json", shown) => {
                let (shown, printed) = (serde_json::from_str(shown).unwrap(), serde_json::from_str(&printed).unwrap());
                assert!(is_part(&shown, &printed), "{}\nprints {printed:#}\nand not {shown:#}", block.text);
            }
            _ => {}
        }
        count += 1;
    }
    count
}

#[test]
fn callers_do_as_the_readme_says() {
    let Some(tools) = Tools::here() else { return };
    let home = Home::with_samples("");
    std::os::unix::fs::symlink(&tools.packages, home.path("node_modules")).unwrap();
    // For tsc: what it compiles are modules.
    fs::write(home.path("package.json"), r#"{"type": "module"}"#).unwrap();
    let server = home.serve();
    let readme = read("README.md");
    let count = follow(markdown::section(&readme, "## Calling it"), &tools, &home, &server);
    assert!(count >= 10, "only {count} blocks");
    assert!(fs::read(home.path("picture.png")).unwrap().starts_with(b"\x89PNG"));
}
