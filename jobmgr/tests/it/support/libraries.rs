//! Libraries with executors, built when a test needs them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// The library of a package of this workspace.
///
/// # Panics
/// When it can't be built.
pub fn built(package: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    built.entry(package.to_owned()).or_insert_with(|| build(package)).clone()
}

fn build(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--offline", "--message-format=json", "-q", "-p", package]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
    let suffix = std::env::consts::DLL_SUFFIX;
    let name = package.replace('-', "_");
    let made = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut files = made
        .filter(|message| message["target"]["name"].as_str() == Some(name.as_str()))
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from));
    files.find(|file| file.to_string_lossy().ends_with(suffix)).unwrap_or_else(|| panic!("{package} has no library"))
}

/// Puts a copy of a library to a place where nobody else may write, under another name, as an installation would.
pub fn install(library: &Path, folder: &Path, name: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let new = folder.join(format!(".{name}.new"));
    std::fs::copy(library, &new).unwrap();
    let file = folder.join(format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    std::fs::rename(new, &file).unwrap();
    file
}
