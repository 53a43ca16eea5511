//! Libraries with executors: crates of the workspace, which `cargo test` does not build, and sources in C.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::programs::{or_skip, run};

/// Names a folder with libraries that were built before, where tests can't build them.
const BUILT_BEFORE: &str = "JOBMGR_TEST_LIBRARIES";

/// A library of that folder.
fn built_before(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(BUILT_BEFORE)?;
    Some(Path::new(&folder).join(format!("{name}{}", std::env::consts::DLL_SUFFIX)))
}

/// The library of a crate of the workspace, built once per process; `None` after saying aloud that there is no cargo.
///
/// # Panics
/// When it can't be built.
pub fn of_crate(package: &str) -> Option<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, Result<PathBuf, String>>>> = Mutex::new(None);
    let name = format!("{}{}", std::env::consts::DLL_PREFIX, package.replace('-', "_"));
    if let Some(library) = built_before(&name) {
        return Some(library);
    }
    // A test that failed in here has said so.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    needs_cargo()?;
    let library = built.entry(package.to_owned()).or_insert_with(|| build(package, &target(), &[])).clone();
    Some(library.unwrap_or_else(|why| panic!("{why}")))
}

/// The same where it has to be there.
///
/// # Panics
/// When it can't be built, or there is no cargo.
pub fn built(package: &str) -> PathBuf {
    of_crate(package).expect("cargo is installed")
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

/// As [`of_crate`], in a target folder of its own, with variables for cargo.
pub fn of_crate_with(package: &str, folder: &str, variables: &[(&str, &str)]) -> Option<PathBuf> {
    needs_cargo()?;
    Some(build(package, &target().join(folder), variables).unwrap_or_else(|why| panic!("{why}")))
}

/// Cargo without what it tells a test about itself, which must not make crates look changed.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from(env!("CARGO"))));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR") {
            command.env_remove(name);
        }
    }
    command
}

/// `None` after saying aloud that there is no cargo.
pub fn needs_cargo() -> Option<()> {
    or_skip("cargo", run(cargo().arg("--version"))).map(drop)
}

/// Where cargo has put this test: `target/PROFILE/deps/it-...`.
pub fn target() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(3).unwrap().to_owned()
}

fn build(package: &str, target: &Path, variables: &[(&str, &str)]) -> Result<PathBuf, String> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut command = cargo();
    command.args(["build", "--locked", "--message-format=json", "-p", package, "--profile", profile]);
    command.arg("--target-dir").arg(target).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let said = run(command.envs(variables.iter().copied()))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let files = messages.filter(|message| message["reason"] == "compiler-artifact").filter(|message| {
        message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
    });
    let names = files.filter_map(|message| Some(message["filenames"].as_array()?.clone())).flatten();
    let mut libraries = names.filter_map(|name| Some(PathBuf::from(name.as_str()?)));
    libraries.find(|name| name.extension().is_some_and(|end| end == "so")).ok_or_else(|| format!("{package} has none"))
}

/// Compiles `tests/plugins/c/SOURCE` to `to`, with what the compiler is to be told; `None` after saying aloud that
/// there is no compiler.
///
/// # Panics
/// When the compiler does not like the source.
pub fn of_c(source: &str, to: &Path, flags: &[&str]) -> Option<()> {
    let stem = source.split('.').next().unwrap_or(source);
    if let Some(library) = built_before(stem) {
        std::fs::copy(library, to).unwrap();
        return Some(());
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/c");
    let compiler = if source.ends_with(".cpp") { "g++" } else { "gcc" };
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-o"]).arg(to).args(flags);
    // The folder of a frozen version comes before that of today's.
    command.arg("-I").arg(tests.join("../../../../plugin-api/include")).arg(tests.join(source));
    or_skip(compiler, run(Command::new(compiler).arg("--version")))?;
    run(&mut command).unwrap_or_else(|why| panic!("{why}"));
    Some(())
}
