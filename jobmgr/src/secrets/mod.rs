//! Values that nobody may read: sealed before they are stored, and opened only for who needs them.
//!
//! A sealed value is ChaCha20-Poly1305 (RFC 8439) under a key that is made of one of ours and 12 random bytes, with 12
//! further random bytes as the nonce. It holds only for this installation and for what it was sealed for.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ring::rand::{SecureRandom, SystemRandom};

use crate::config;

/// One key, and what is done with it.
mod key;
/// Secret parameters of jobs.
mod parameters;
/// Where the keys are.
mod source;
#[cfg(test)]
mod tests;

use key::Key;
pub use parameters::Opened;
pub use source::DEFAULT_FILE;
use source::Source;

/// Why a value can't be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// There are no keys that could be used.
    #[error("[Secrets] {0}")]
    Keys(String),
    /// It was sealed with a key that this process does not have.
    #[error(
        "it was encrypted with the key {0}, which this process does not have; give all processes the same [Secrets] Key \
         or KeyFile"
    )]
    OtherKey(String),
    /// It is damaged, or was sealed for something else.
    #[error("it can't be decrypted: it is damaged, or belongs to something else")]
    Damaged,
}

/// Seals and opens; cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    source: Source,
    /// Values of another installation can't be opened.
    installation: String,
    /// The first one seals, all of them open; empty: none was needed yet.
    keys: RwLock<Arc<[Key]>>,
}

impl Secrets {
    /// The keys of this configuration. Where it names none they are those of a file beside the database, which is made
    /// when the first value is sealed.
    ///
    /// # Errors
    /// When the keys can't be read or are none.
    pub fn new(
        config: &config::Secrets,
        database: &config::Database,
        installation: &str,
    ) -> Result<Self, SecretsError> {
        let source = Source::of(config, database);
        let keys = source.read()?;
        Ok(Self::with(source, installation, keys))
    }

    /// A key that ends with this process.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn passing(installation: &str) -> Result<Self, SecretsError> {
        Ok(Self::with(Source::Nowhere, installation, vec![Key::random()?]))
    }

    fn with(source: Source, installation: &str, keys: Vec<Key>) -> Self {
        Self(Arc::new(Inner { source, installation: installation.to_owned(), keys: RwLock::new(keys.into()) }))
    }

    /// Seals a value for `context`, such as `webhook:17`; plain ASCII without spaces comes of it. Nobody learns more of
    /// the value than its length.
    ///
    /// # Errors
    /// When there is no key yet, and its file can't be made.
    pub fn seal(&self, context: &str, value: &[u8]) -> Result<String, SecretsError> {
        self.first()?.seal(&self.bound(context), value)
    }

    /// The value that was sealed for the same `context`.
    ///
    /// # Errors
    /// [`SecretsError::OtherKey`] with the name of the key that is needed; [`SecretsError::Damaged`].
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, SecretsError> {
        let bound = self.bound(context);
        let name = key::named(sealed).ok_or(SecretsError::Damaged)?;
        let of = |keys: &[Key]| keys.iter().find(|key| key.name() == name).map(|key| key.open(&bound, sealed));
        if let Some(opened) = of(&self.keys()) {
            return opened;
        }
        // The file may have one more by now.
        of(&self.reread()?).unwrap_or_else(|| Err(SecretsError::OtherKey(name.to_owned())))
    }

    /// What tells whether two values are the same, to nobody but us: one text per key, the newest key's first.
    ///
    /// # Errors
    /// As [`Secrets::seal`].
    pub fn digests(&self, context: &str, value: &[u8]) -> Result<Vec<String>, SecretsError> {
        self.first()?;
        let bound = self.bound(context);
        Ok(self.keys().iter().map(|key| key.digest(&bound, value)).collect())
    }

    /// Where the keys are, for people.
    pub fn describe(&self) -> String {
        self.0.source.describe()
    }

    /// The file that holds the keys, if one does.
    pub fn file(&self) -> Option<PathBuf> {
        self.0.source.file().map(PathBuf::from)
    }

    fn bound(&self, context: &str) -> Vec<u8> {
        [self.0.installation.as_bytes(), b"\0", context.as_bytes()].concat()
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that seals.
    fn first(&self) -> Result<Key, SecretsError> {
        if let Some(first) = self.keys().first() {
            return Ok(first.clone());
        }
        self.keep(self.0.source.make()?).first().cloned().ok_or_else(|| SecretsError::Keys("there is no key".into()))
    }

    fn reread(&self) -> Result<Arc<[Key]>, SecretsError> {
        let keys = self.0.source.read()?;
        // A key that was given or made in memory is in no file.
        Ok(if keys.is_empty() { self.keys() } else { self.keep(keys) })
    }

    fn keep(&self, keys: Vec<Key>) -> Arc<[Key]> {
        let keys: Arc<[Key]> = keys.into();
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        keys
    }
}

/// Random bytes, as good as the system has them.
fn random<const N: usize>() -> Result<[u8; N], SecretsError> {
    let mut bytes = [0; N];
    let failed = |_| SecretsError::Keys("the system gives no random bytes".into());
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
