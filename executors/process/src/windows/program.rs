//! Programs: what is one, and why one did not start.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation as code;

/// How messages name the search path.
pub const PATH: &str = "%PATH%";

/// Whether a command is looked up in `PATH`.
pub fn is_bare(name: &str) -> bool {
    !name.contains(['/', '\\', ':'])
}

/// The names that a file may have on disk: with each ending of `PATHEXT`, and as it is.
pub fn spellings(path: &Path) -> Vec<PathBuf> {
    let endings = std::env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".into());
    let mut all: Vec<PathBuf> =
        endings.split(';').filter(|ending| !ending.is_empty()).map(|ending| with(path, ending)).collect();
    all.insert(if path.extension().is_some() { 0 } else { all.len() }, path.into());
    all
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// A file; the system says whether it can be run.
pub fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Whether `cmd.exe` would read it. The system passes over dots and spaces at the end of a name (CVE-2024-43402).
pub fn is_batch(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name.ends_with(".bat") || name.ends_with(".cmd")
}

/// Whether a process can start in this directory.
pub fn check_directory(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Whether the system was short of something, so that another try may do.
pub fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [u32; 6] = [
        code::ERROR_TOO_MANY_OPEN_FILES,
        code::ERROR_NOT_ENOUGH_MEMORY,
        code::ERROR_OUTOFMEMORY,
        code::ERROR_SHARING_VIOLATION,
        code::ERROR_NO_SYSTEM_RESOURCES,
        code::ERROR_COMMITMENT_LIMIT,
    ];
    number(error).is_some_and(|number| SHORTAGES.contains(&number))
}

/// More than the error number says, if there is more.
pub fn explain(error: &io::Error, _program: &Path) -> Option<String> {
    match number(error)? {
        code::ERROR_BAD_EXE_FORMAT | code::ERROR_EXE_MACHINE_TYPE_MISMATCH => {
            Some("exec format error (not a program of this machine)".into())
        }
        code::ERROR_ELEVATION_REQUIRED => Some("permission denied (it asks for an administrator)".into()),
        _ => None,
    }
}

fn number(error: &io::Error) -> Option<u32> {
    error.raw_os_error().map(i32::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_files_are_known_under_all_their_names() {
        for name in [r"C:\x.bat", r"C:\x.CMD", r"C:\x.bat. .", r"C:\x.cmd ", r"C:\x.bat::$DATA"] {
            assert!(is_batch(Path::new(name)), "{name}");
        }
        assert!(!is_batch(Path::new(r"C:\x.bat\y.exe")));
    }
}
