//! Programs: what is one, and why one did not start.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags};
use rustix::io::Errno;

use crate::command::reason;

/// How messages name the search path.
pub const PATH: &str = "$PATH";

/// Whether a command is looked up in `PATH`.
pub fn is_bare(name: &str) -> bool {
    !name.contains('/')
}

/// The names that a file may have on disk.
pub fn spellings(path: &Path) -> [PathBuf; 1] {
    [path.into()]
}

/// A file that somebody may execute.
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether a process can start in this directory.
pub fn check_directory(path: &Path) -> io::Result<()> {
    if !path.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(path, Access::EXEC_OK)?)
}

/// Whether the system was short of something, so that another try may do.
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY))
}

/// More than the error number says, if there is more.
pub fn explain(error: &io::Error, program: &Path) -> Option<String> {
    let interpreter = || {
        let name = shebang(program)?;
        let path = Path::new(&name);
        let problem = match path.metadata() {
            Err(error) => error,
            Ok(_) if !is_program(path) => io::ErrorKind::PermissionDenied.into(),
            Ok(_) => return None,
        };
        Some(format!("interpreter {}: {}", path.display(), reason(&problem)))
    };
    match Errno::from_io_error(error)? {
        Errno::NOENT if program.exists() => {
            interpreter().or_else(|| Some("the loader that it names is missing: no such file or directory".into()))
        }
        Errno::ACCESS => interpreter(),
        Errno::NOEXEC if shebang(program).is_none() => {
            Some("exec format error (neither a program of this machine nor a script that begins with #!)".into())
        }
        _ => None,
    }
}

/// The interpreter that a script's first line names.
fn shebang(program: &Path) -> Option<std::ffi::OsString> {
    let mut start = Vec::new();
    open_untrusted(&program.canonicalize().ok()?).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.trim_ascii().split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    Some(std::ffi::OsStr::from_bytes(name).into())
}

/// Opens a file that a job made: a link is not followed, a FIFO does not block. One that has other names too may be
/// somebody else's, whom this process may read and the job may not.
fn open_untrusted(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let sole = file.metadata()?.nlink() == 1;
    if sole { Ok(file) } else { Err(io::Error::other("it is a hard link")) }
}
