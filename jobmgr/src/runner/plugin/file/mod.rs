use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(windows), path = "unix.rs")]
mod platform;

/// What there is to do about others' rights.
const REMEDY: &str = "chmod or chown it";

/// A library's file, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is: absolute, without links.
    pub path: PathBuf,
    /// Its content, in lower-case hexadecimal.
    pub sha256: String,
    /// What changes when the file is replaced.
    pub looks: Looks,
}

/// What changes when a file is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looks {
    size: u64,
    modified: Option<SystemTime>,
    identity: (u64, u64),
}

impl Looks {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok(), identity: platform::identity(metadata) }
    }
}

/// The names that a library may have on this platform: as given, and as its tools call it.
fn names(given: &Path) -> Vec<PathBuf> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    let mut names = vec![given.to_owned()];
    let Some(name) = given.file_name().and_then(|name| name.to_str()) else { return names };
    // libfoo.so in a configuration that is shared with Windows, foo.dll in one from there.
    let stem = name.strip_suffix(".so").or_else(|| name.strip_suffix(".dll")).unwrap_or(name);
    let bare = if stem == name { stem } else { stem.strip_prefix("lib").unwrap_or(stem) };
    for stem in [stem, bare] {
        names.push(given.with_file_name(format!("{stem}{DLL_SUFFIX}")));
        names.push(given.with_file_name(format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}")));
    }
    names
}

/// How the file that the configuration names looks now; cheap.
///
/// # Errors
/// One line that names the file: it is not there, or others may write to it.
pub(super) fn look(given: &Path) -> Result<(PathBuf, Looks), String> {
    let shown = given.file_name().map_or_else(|| given.display().to_string(), |name| name.display().to_string());
    let failed = |error: io::Error| format!("{shown}: {error}");
    let there = names(given).into_iter().find(|name| name.exists()).unwrap_or_else(|| given.to_owned());
    let path = there.canonicalize().map_err(failed)?;
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{shown}: is not a file"));
    }
    // Who may write to a folder above it may put another folder there, under the same name.
    for part in path.ancestors() {
        if let Some(who) = platform::writable_by(&part.metadata().map_err(failed)?) {
            let part = part.display();
            return Err(format!("{shown}: {who} may write to {part}, and so decide what runs here; {REMEDY}"));
        }
    }
    Ok((path, Looks::of(&metadata)))
}

/// The file that the configuration names, read once.
///
/// # Errors
/// One line that names the file: it is not there, can't be read, or others may write to it.
pub fn find(given: &Path) -> Result<Found, String> {
    let (path, looks) = look(given)?;
    let sha256 = digest(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Found { path, sha256, looks })
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 128 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_found_by_any_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let real = format!("{}foo{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        std::fs::write(folder.path().join(&real), "x").unwrap();
        for given in ["foo", "libfoo.so", "foo.dll", real.as_str()] {
            let found = find(&folder.path().join(given)).unwrap();
            assert!(found.path.ends_with(&real), "{given}: {found:?}");
            assert_eq!(found.sha256, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
        }
        let missing = find(&folder.path().join("bar")).unwrap_err();
        assert!(missing.starts_with("bar: ") && missing.contains("os error 2"), "{missing}");
    }
}
