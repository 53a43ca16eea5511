//! Which program a command means, and what is said when it can't be started.

use std::io;
use std::path::{Path, PathBuf};

use jobmgr_plugin_api::{Error, Job, Result};

use crate::{Options, platform};

/// The absolute path of the job's program.
///
/// An absolute command is taken as it is; a relative one with a separator is looked for in the working directory, then
/// in the directory of this process; a bare name in the `PATH` of this process.
///
/// # Errors
/// When it names nothing; that it can't be run is left to the system to say.
pub fn resolve(job: &Job<Options>) -> Result<PathBuf> {
    let Some(name) = job.command.first().filter(|name| !name.is_empty()) else {
        return Err(Error::invalid("the command is empty"));
    };
    locate(name, &job.working_directory)
}

/// What a job of this command would say if it were started now; `None`: it could be started, as far as can be seen.
/// `directory`: the working directory; empty where the job has one of its own.
pub fn lacking(name: &str, directory: &str) -> Option<Error> {
    // Checked first, as in `explain`.
    if let Err(error) = check_directory(directory) {
        return Some(error);
    }
    let program = match locate(name, directory) {
        Ok(program) => program,
        Err(error) => return Some(error),
    };
    if platform::is_program(&program) {
        return None;
    }
    let why = match program.metadata() {
        Err(error) => reason(&error),
        Ok(found) if found.is_dir() => "is a directory".into(),
        Ok(_) => reason(&io::ErrorKind::PermissionDenied.into()),
    };
    Some(Error::invalid(format!("fork/exec {}: {why}", program.display())))
}

fn locate(name: &str, directory: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_absolute() {
        return Ok(first(path, Path::exists).unwrap_or_else(|| path.into()));
    }
    if platform::is_bare(name) {
        return search(name);
    }
    let places = [Path::new(directory), Path::new("")];
    for place in places {
        if let Some(found) = first(&place.join(path), Path::exists) {
            return std::path::absolute(&found).map_err(|error| Error::failed(sentence(&name, &error)));
        }
    }
    check_directory(directory)?;
    Err(Error::invalid(sentence(&name, &io::ErrorKind::NotFound.into())))
}

/// Looks a bare name up in `PATH`. Entries that are not absolute are passed over: what they mean would depend on where
/// the server was started.
fn search(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .find_map(|folder| first(&folder.join(name), platform::is_program));
    found.ok_or_else(|| Error::invalid(format!("exec: {name:?}: executable file not found in {}", platform::PATH)))
}

/// The first of a file's possible names that will do.
fn first(path: &Path, will_do: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    platform::spellings(path).into_iter().find(|path| will_do(path))
}

/// Says why a program did not start, as precisely as can be found out now.
pub fn explain(error: &io::Error, program: &Path, job: &Job<Options>) -> Error {
    if platform::is_shortage(error) {
        return Error::retry(sentence(&program.display(), error));
    }
    // Checked first: the system reports a missing directory and a missing program alike.
    if let Err(error) = check_directory(&job.working_directory) {
        return error;
    }
    if error.kind() == io::ErrorKind::InvalidInput {
        return Error::invalid(format!(
            "fork/exec {}: the command, an argument or a variable: {error}",
            program.display()
        ));
    }
    if program.is_dir() {
        return Error::invalid(format!("fork/exec {}: is a directory", program.display()));
    }
    match platform::explain(error, program) {
        Some(more) => Error::invalid(format!("fork/exec {}: {more}", program.display())),
        None => Error::invalid(sentence(&program.display(), error)),
    }
}

fn check_directory(directory: &str) -> Result<()> {
    if directory.is_empty() {
        return Ok(());
    }
    platform::check_directory(Path::new(directory))
        .map_err(|error| Error::invalid(format!("chdir {directory}: {}", reason(&error))))
}

fn sentence(program: &dyn std::fmt::Display, error: &io::Error) -> String {
    format!("fork/exec {program}: {}", reason(error))
}

/// The system's words for an error, in lower case and without its number; the same on every platform where there is
/// a common word.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => return "no such file or directory".into(),
        io::ErrorKind::PermissionDenied => return "permission denied".into(),
        io::ErrorKind::NotADirectory => return "not a directory".into(),
        _ => {}
    }
    let text = error.to_string();
    let text = text.rsplit_once(" (os error").map_or(&*text, |(text, _)| text);
    text.trim_end_matches('.').to_lowercase()
}
