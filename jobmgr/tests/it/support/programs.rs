//! Programs that tests need and a machine may lack.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a program to its end, and gives what it printed; what it said when it fails.
pub fn run(command: &mut Command) -> Result<String, String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{command:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim()))
}

/// The folder `name` below `~/.cache/jobmgr-tests`, filled by `install` on first use, and again where `version` is
/// not what is there.
pub fn cached(name: &str, version: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let home = env::var_os("HOME").ok_or("HOME is not set")?;
    let cache = Path::new(&home).join(".cache/jobmgr-tests");
    let folder = cache.join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // Another test process may be at it.
    let lock = File::create(cache.join(format!("{name}.lock"))).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let complete = folder.join("complete");
    if !fs::read_to_string(&complete).is_ok_and(|installed| installed == version) {
        install(&folder)?;
        fs::write(complete, version).map_err(|e| e.to_string())?;
    }
    Ok(folder)
}

/// A virtual environment with packages from PyPI, as lines of a requirements file; made once per machine.
pub fn venv(name: &str, requirements: &str) -> Result<PathBuf, String> {
    cached(name, requirements, |folder| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let file = folder.join("requirements.txt");
        fs::write(&file, requirements).map_err(|e| e.to_string())?;
        let mut pip = Command::new(folder.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(file)).map(drop)
    })
}

/// What a test needs, or `None` after saying aloud that it is not here.
///
/// # Panics
/// Where it is not here and `CI=true`.
pub fn or_skip<T>(needed: &str, had: Result<T, String>) -> Option<T> {
    match had {
        Ok(had) => Some(had),
        // Wine can't start them; the same tests run on Linux.
        Err(why) if cfg!(unix) && env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no {needed}: {why}"),
        Err(why) => {
            eprintln!("\n*** SKIPPED: no {needed}, so nothing about it is tested here: {why} ***\n");
            None
        }
    }
}
