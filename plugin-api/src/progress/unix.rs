use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Opens a file that somebody else may have replaced by anything: links are not followed, pipes not waited for.
pub fn open_untrusted(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    let sole = file.metadata()?.nlink() == 1;
    if sole { Ok(file) } else { Err(io::Error::other("it is a hard link")) }
}
