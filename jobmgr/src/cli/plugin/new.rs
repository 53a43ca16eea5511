//! `jobmgr plugin new`: a crate with an executor.
//!
//! What is written is `executors/examples/template`, which is built and tested with jobmgr, under another name.

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::{BAD_CONFIG, complain, say};
use crate::domain::jobspec::DEFAULT_EXECUTOR;

const SOURCE: &str = include_str!("../../../../executors/examples/template/src/lib.rs");
/// Where the crate of the interface is in a clone of jobmgr.
const API: &str = "plugin-api";

/// What to write.
#[derive(Args)]
pub(in crate::cli) struct New {
    /// The executor's name, by which jobspecs select it: a-z, 0-9 and -
    name: String,
    /// The folder to write; it must not be there yet [default: jobmgr-executor-NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Where the crate jobmgr-plugin-api comes from: its folder in a clone of jobmgr, or the address of a git
    /// repository, with #REVISION where it is to be a certain one [default: plugin-api/ here or in a folder above]
    #[arg(long, value_name = "DIR|URL")]
    api: Option<String>,
}

/// Writes it; says what comes next.
pub(super) fn new(what: &New) -> ExitCode {
    match written(what) {
        Ok(folder) => {
            say(stdout(), next(&what.name, &folder));
            ExitCode::SUCCESS
        }
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

fn written(what: &New) -> Result<PathBuf, String> {
    let name = checked(&what.name)?;
    let folder = what.path.clone().unwrap_or_else(|| format!("jobmgr-executor-{name}").into());
    let api = dependency(what.api.as_deref())?;
    if folder.exists() {
        return Err(format!("{}: is there already; --path names another folder", folder.display()));
    }
    let files = [
        ("Cargo.toml", manifest(name, &api)),
        ("src/lib.rs", source(name)),
        ("README.md", readme(name)),
        (".gitignore", "/target\n".to_owned()),
    ];
    for (file, text) in files {
        let path = folder.join(file);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(folder)
}

/// It becomes the name of a crate, of a type and of a table in config.toml.
fn checked(name: &str) -> Result<&str, String> {
    let wrong = |why: &str| Err(format!("'{}' can't be an executor's name: {why}", name.escape_debug()));
    if name == DEFAULT_EXECUTOR {
        return wrong("it is the one that is built in");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return wrong("it begins with a letter of a-z");
    }
    if name.len() > 40 || name.ends_with('-') || name.contains("--") {
        return wrong("it has at most 40 characters, and single dashes between others");
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return wrong("it has a-z, 0-9 and - only");
    }
    Ok(name)
}

/// Where the interface comes from, as a value of TOML.
fn dependency(given: Option<&str>) -> Result<String, String> {
    let is_api = |folder: &Path| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.contains("name = \"jobmgr-plugin-api\"")
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let by_path = |folder: &Path| {
        let folder = std::path::absolute(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(format!("{{ path = {} }}", quoted(&folder.display().to_string())))
    };
    match given {
        Some(url) if url.contains("://") || url.starts_with("git@") => {
            let (url, revision) = url.split_once('#').map_or((url, None), |(url, revision)| (url, Some(revision)));
            let revision = revision.map_or_else(String::new, |revision| format!(", rev = {}", quoted(revision)));
            Ok(format!("{{ git = {}{revision} }}", quoted(url)))
        }
        Some(folder) => {
            let folder = Path::new(folder);
            // The clone itself will do too.
            let found = [folder.to_owned(), folder.join(API)].into_iter().find(|folder| is_api(folder));
            let found =
                found.ok_or_else(|| format!("--api: there is no crate jobmgr-plugin-api in {}", folder.display()));
            by_path(&found?)
        }
        None => {
            let here = std::env::current_dir().map_err(|error| error.to_string())?;
            let found = here.ancestors().map(|folder| folder.join(API)).find(|folder| is_api(folder));
            let unknown = "where is the crate jobmgr-plugin-api? It is in the folder plugin-api of jobmgr's source: say \
                           --api FOLDER for a clone of that, or --api URL for a git repository";
            by_path(&found.ok_or(unknown)?)
        }
    }
}

fn source(name: &str) -> String {
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    let kind: String = words.collect();
    SOURCE.replace("Template", &kind).replace("template", name)
}

fn manifest(name: &str, api: &str) -> String {
    format!(
        r#"[package]
name = "jobmgr-executor-{name}"
version = "0.1.0"
edition = "2024"
publish = false

# A crate of its own, whatever lies in the folders above.
[workspace]

[lib]
# cdylib is what jobmgr opens; a dylib would need the very same compiler.
crate-type = ["cdylib"]

[dependencies]
jobmgr-plugin-api = {api}
schemars = "1"
serde = {{ version = "1", features = ["derive"] }}

[profile.release]
# So that a panic fails one job with its text; with "abort" it ends the process.
panic = "unwind"
"#
    )
}

fn readme(name: &str) -> String {
    let file = file(name);
    format!(
        r#"# jobmgr-executor-{name}

An executor for jobmgr: it runs a job's command behind another program.

```sh
cargo test
cargo build --release
jobmgr plugin check target/release/{file}
```

`config.toml` of jobmgr, with the library in `plugins/` beside it:

```toml
[Executors.{name}]
Plugin = "plugins/{file}"

[Executors.{name}.Config]
Before = ["nice", "-n", "10"]
```

A jobspec:

```toml
Command = "sh"
Arguments = ["-c", "echo hello"]
PreserveEnvVars = ["PATH"]
Executor = "{name}"
```

Put a new version in place by `mv`, not by `cp`: a library that is written over ends the processes that use it.
"#
    )
}

/// What cargo calls the library.
fn file(name: &str) -> String {
    let name = name.replace('-', "_");
    format!("{}jobmgr_executor_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

fn next(name: &str, folder: &Path) -> String {
    let (folder, file) = (folder.display(), file(name));
    format!(
        "wrote {folder}; next:\n  cd {folder}\n  cargo test && cargo build --release\n  jobmgr plugin check \
         target/release/{file}\nREADME.md there has the lines for config.toml and a jobspec"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "my-tool", "gpu2"] {
            assert_eq!(checked(good), Ok(good));
        }
        for (bad, why) in [
            ("", "begins with a letter"),
            ("2x", "begins with a letter"),
            ("process", "built in"),
            ("a_b", "a-z, 0-9 and -"),
            ("a/../b", "a-z, 0-9 and -"),
            ("a-", "single dashes"),
            ("a--b", "single dashes"),
        ] {
            assert!(checked(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn the_template_gets_the_name_everywhere() {
        let text = source("my-tool");
        assert!(text.contains("struct MyTool {") && text.contains("export_executor!(MyTool);"), "{text}");
        assert!(text.contains("const NAME: &'static str = \"my-tool\";"), "{text}");
        assert!(!text.to_lowercase().contains("template"), "{text}");
    }

    #[test]
    fn the_interface_comes_from_a_folder_or_a_repository() {
        let git = dependency(Some("https://example.com/jobmgr.git#abc")).unwrap();
        assert_eq!(git, r#"{ git = "https://example.com/jobmgr.git", rev = "abc" }"#);
        let clone = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for folder in [clone.to_owned(), clone.join("plugin-api")] {
            let found = dependency(folder.to_str()).unwrap();
            let table: toml::Table = toml::from_str(&format!("x = {found}")).unwrap();
            let path = Path::new(table["x"]["path"].as_str().unwrap());
            assert_eq!(path.canonicalize().unwrap(), clone.join("plugin-api").canonicalize().unwrap());
        }
        assert!(dependency(Some("/nowhere")).unwrap_err().contains("/nowhere"));
    }
}
