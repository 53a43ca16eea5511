use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::SecretsError;
use super::key::Key;
use crate::config;

/// The name of the file where the configuration names none; beside the database if that is a file, else in the working
/// directory.
pub const DEFAULT_FILE: &str = "jobmgr.key";

/// How large a file of keys may be, in bytes.
const MOST: u64 = 64 << 10;

/// Stands above the key in a file that we make.
const HEAD: &str = "# The key that encrypts the secrets in jobmgr's database. Who loses it loses them; keep a copy, but not with the\n\
                    # backups of the database. Further keys, one a line, only decrypt.\n";

/// Where the keys are.
pub(super) enum Source {
    /// In the configuration itself.
    Given(String),
    /// In a file that has to be there.
    File(PathBuf),
    /// In a file that is made when it is needed.
    Own(PathBuf),
    /// In memory alone.
    Nowhere,
}

impl Source {
    pub(super) fn of(config: &config::Secrets, database: &config::Database) -> Self {
        match (&config.key, &config.key_file) {
            (Some(key), _) => Source::Given(key.clone()),
            (None, Some(file)) => Source::File(file.clone()),
            (None, None) => Source::Own(database.folder().join(DEFAULT_FILE)),
        }
    }

    /// The keys that there are; none where they are still to be made.
    pub(super) fn read(&self) -> Result<Vec<Key>, SecretsError> {
        match self {
            Source::Given(key) => Ok(vec![Key::read(key).map_err(|why| SecretsError::Keys(format!("Key: {why}")))?]),
            Source::File(file) => in_file(file),
            Source::Own(file) if !file.exists() => Ok(Vec::new()),
            Source::Own(file) => in_file(file),
            Source::Nowhere => Ok(Vec::new()),
        }
    }

    /// Makes a key, unless somebody else just did.
    pub(super) fn make(&self) -> Result<Vec<Key>, SecretsError> {
        let Source::Own(file) = self else { return self.read() };
        let failed = |error: io::Error| SecretsError::Keys(format!("{} can't be made: {error}", file.display()));
        let key = Key::random()?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Nobody else may read it, and nobody finds half of it.
        let mut made = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        made.write_all(format!("{HEAD}{}\n", key.text()).as_bytes()).map_err(failed)?;
        made.as_file().sync_all().map_err(failed)?;
        match made.persist_noclobber(file) {
            Ok(_) => tracing::info!(file = %file.display(), "made a key for secrets: keep a copy of it"),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
        in_file(file)
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Source::File(file) | Source::Own(file) => Some(file),
            Source::Given(_) | Source::Nowhere => None,
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Source::Given(_) => "[Secrets] Key".to_owned(),
            Source::File(file) | Source::Own(file) => file.display().to_string(),
            Source::Nowhere => "memory".to_owned(),
        }
    }
}

/// A key a line; empty lines and those that begin with `#` are for people.
fn in_file(file: &Path) -> Result<Vec<Key>, SecretsError> {
    let wrong = |why: String| SecretsError::Keys(format!("{}: {why}", file.display()));
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("the keys can't be read: {error}")))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|(at, line)| Key::read(line).map_err(|why| wrong(format!("line {}: {why}", at + 1))));
    let keys: Vec<Key> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(wrong("there is no key in it".to_owned())) } else { Ok(keys) }
}
