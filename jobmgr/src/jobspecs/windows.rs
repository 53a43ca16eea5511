//! Files as Windows has them.

use std::fs::{File, Metadata};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// When the file came to be: another one in its place mostly has another time. One of the same size whose times are
/// all set to the first's goes unseen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Identity {
    created: u64,
}

/// See [`Identity`].
pub(super) fn identity(metadata: &Metadata) -> Identity {
    Identity { created: metadata.creation_time() }
}

/// Windows tells no more than when the content changed.
pub(super) fn changed(_identity: &Identity) -> Option<SystemTime> {
    None
}

/// Opens for reading. Folders hold no pipes here.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Whether the system takes this as the name of a file, and not of a device.
/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>
pub(super) fn is_file_name(name: &str) -> bool {
    if name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return false;
    }
    let name = name.to_uppercase();
    let numbered = |device: &str| {
        let number = name.strip_prefix(device).map(|rest| rest.chars().collect::<Vec<_>>());
        matches!(number.as_deref(), Some(['0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}']))
    };
    let device = matches!(name.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$");
    !device && !numbered("COM") && !numbered("LPT")
}
