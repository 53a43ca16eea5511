//! What the papers say is so: committed descriptions, links, references, and the README's shell lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub mod markdown;
#[cfg(unix)]
mod readme;

/// The folder of the whole project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("\r\n", "\n")
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_jobmgr")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All Markdown files, as paths below the root.
fn papers() -> Vec<PathBuf> {
    let mut papers = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                let built = name.starts_with('.') || name == "target" || name == "node_modules" || name == "shared";
                folders.extend((!built).then_some(path));
            } else if name.ends_with(".md") {
                papers.push(path);
            }
        }
    }
    papers
}

#[test]
fn committed_descriptions_are_what_the_binary_prints() {
    for (file, arguments) in [
        ("openapi/openapi.json", &["openapi"][..]),
        ("openapi/jobspec.schema.json", &["schema"]),
        ("openapi/config.schema.json", &["schema", "config"]),
    ] {
        let remedy = format!("renew it: jobmgr {} > {file}", arguments.join(" "));
        assert!(read(file) == printed(arguments), "{file} is not what the binary prints; {remedy}");
    }
}

#[test]
fn links_lead_somewhere() {
    let papers = papers();
    assert!(papers.len() >= 5, "{papers:?}");
    for paper in papers {
        let text = read(&paper);
        for link in markdown::links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { paper.clone() } else { paper.with_file_name("").join(file) };
            assert!(root().join(&target).exists(), "{}: {link} leads nowhere", paper.display());
            let known = anchor.is_empty() || markdown::anchors(&read(&target)).iter().any(|known| known == anchor);
            assert!(known, "{}: {link}: there is no such heading", paper.display());
        }
    }
}

#[test]
fn the_architecture_names_what_is_there() {
    let text = read("ARCHITECTURE.md");
    let tops = ["jobmgr/", "executors/", "plugin-api/", "jobspecs/", "openapi/"];
    let paths = markdown::code(&text).into_iter().filter(|code| tops.iter().any(|top| code.starts_with(top)));
    let mut count = 0;
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md: {path} is not there");
        count += 1;
    }
    assert!(count > 20, "only {count} paths");
}

/// The row of a table whose first cell is, or begins with, this key.
fn row<'t>(table: &'t str, key: &str) -> &'t str {
    let cell = |line: &&str| line.split('|').nth(1).is_some_and(|cell| markdown::code(cell).contains(&key));
    table.lines().find(cell).unwrap_or_else(|| panic!("README.md has no row for `{key}`"))
}

#[test]
fn the_readme_has_every_key_of_the_configuration() {
    let readme = read("README.md");
    let section = markdown::section(&readme, "## Configuration reference");
    let mut table = "";
    let mut count = 0;
    for line in read("jobmgr/config.example.toml").lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let start = section.find(&format!("`[{name}]`"));
            table = start.map_or(section, |start| &section[start..]);
            assert!(start.is_some() || name == "Storage.Options", "README.md has no [{name}]");
        } else if let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| is_key(key)) {
            let row = row(table, key);
            // The others are examples and have no default.
            let shown = value.contains("# example") || row.contains(&format!("`{value}`"));
            assert!(shown, "README.md: the default of {key} is {value}, and not in: {row}");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} keys");
}

/// Prose has no such word before ` = `; the options of a store are its own.
fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[test]
fn the_readme_has_every_key_of_a_jobspec() {
    let readme = read("README.md");
    let section = markdown::section(&readme, "## Jobspec reference");
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let (own, parameters) = section.split_once("\nA parameter has:\n").unwrap();
    let (own, retry) = own.split_once("\n`Retry` has:\n").unwrap();
    let inner = &schema["definitions"];
    for (table, shape) in [(own, &schema), (retry, &inner["Retry"]), (parameters, &inner["Parameter"])] {
        let required: Vec<&Value> = shape["required"].as_array().unwrap().iter().collect();
        for (key, property) in shape["properties"].as_object().unwrap() {
            let row = row(table, key);
            assert_eq!(row.contains("*required*"), required.contains(&&Value::from(key.as_str())), "{row}");
            let default = &property["default"];
            let written = default.to_string().replace("\",\"", "\", \"");
            let shown = default.is_null() || row.contains(&format!("`{written}`"));
            assert!(shown, "README.md: the default of {key} is {default}, and not in: {row}");
        }
    }
    for kind in ["string", "int", "float", "bool", "enum"] {
        row(parameters.split_once("\n| type |").unwrap().1, kind);
        assert!(schema.to_string().contains(&format!("\"{kind}\"")), "{kind}");
    }
}
