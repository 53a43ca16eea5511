//! Artifacts and large logs; the only room that names object_store.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};

use crate::metrics;

/// S3, Google Cloud Storage and Azure.
mod cloud;
/// What the store's errors mean for us.
mod errors;
/// The store that is a folder.
mod folder;
/// Objects that somebody else uploads.
mod incoming;
/// `[Storage]` and `[AWS]` to a store.
mod open;
/// `[Storage] Options` and the environment.
mod options;
/// What a sweep of the store needs.
mod sweeping;
/// From a file to an object, at bounded memory.
mod upload;

pub use errors::BlobError;
pub use incoming::Granted;
pub use upload::{Shown, Uploaded};

/// The object that names the store.
const IDENTITY: &str = "store-id";

/// A handle to the object store; cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    /// What stands before every key.
    prefix: Path,
    /// Where objects go, for people.
    place: String,
}

enum Kind {
    Memory,
    Folder(PathBuf),
    Remote(Option<Signing>),
}

/// How a store signs URLs.
struct Signing {
    signer: Arc<dyn Signer>,
    /// Whether a URL can set the type and the disposition of the answer.
    overrides: bool,
}

/// An object that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in Unix milliseconds of the store's clock.
    pub modified_ms: i64,
}

impl Blobs {
    /// Uploads exactly `size` bytes of `file` from its start, at bounded memory: at most 8 MiB, or three parts of a
    /// file that is sent in parts (8 MiB each; more above 70 GiB).
    ///
    /// # Errors
    /// [`BlobError::Source`] when the file is shorter or can't be read.
    pub async fn put_file(&self, key: &str, file: File, size: u64) -> Result<Uploaded, BlobError> {
        self.put_file_as(key, file, size, None).await
    }

    /// [`Blobs::put_file`], with what the store is to tell those who download the object, where it can.
    ///
    /// # Errors
    /// As [`Blobs::put_file`].
    pub async fn put_file_as(
        &self,
        key: &str,
        file: File,
        size: u64,
        shown: Option<&Shown<'_>>,
    ) -> Result<Uploaded, BlobError> {
        upload::put_file(self, &self.path(key)?, file, size, shown).await
    }

    /// Uploads bytes that are in memory already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_bytes(&self, key: &str, bytes: Bytes) -> Result<Uploaded, BlobError> {
        upload::put_bytes(self, &self.path(key)?, bytes).await
    }

    /// The bytes of an object, or the given part of them; a part that reaches over the end stops there.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there.
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        let path = self.path(key)?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.0.store.get_opts(&path, options).await.map_err(|e| self.error(&path, e))?;
        let blobs = self.clone();
        Ok(match found.payload {
            GetResultPayload::File(file, _) => folder::stream(file, found.range),
            GetResultPayload::Stream(bytes) => bytes.map_err(move |e| blobs.error(&path, e)).boxed(),
        })
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key)?;
        match self.0.store.delete(&path).await.map_err(|e| self.error(&path, e)) {
            Ok(()) => self.tidy(&[key.to_owned()]).await,
            Err(BlobError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// Where the store is a folder, the folders go that these objects leave empty; a key that no object can have leads
    /// out of it, maybe, and is passed over.
    async fn tidy(&self, keys: &[String]) -> Result<(), BlobError> {
        match &self.0.kind {
            Kind::Folder(root) => {
                let keys = keys.iter().filter(|key| self.path(key).is_ok());
                folder::tidy(root.clone(), keys.cloned().collect()).await
            }
            _ => Ok(()),
        }
    }

    /// The objects below `prefix` (`jobs/17` has `jobs/17/1`, not `jobs/170/1`; `""` has all), in no order.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, BlobError>> {
        let blobs = self.clone();
        match self.below(prefix) {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok(path) => self
                .0
                .store
                .list(Some(&path))
                .map(move |found| match found {
                    Ok(meta) => Ok(blobs.object(&meta)),
                    Err(error) => Err(blobs.error(&path, error)),
                })
                .boxed(),
        }
    }

    /// Removes everything below `prefix`, what an upload left half-way included where the store shows it; says how
    /// many objects went.
    ///
    /// # Errors
    /// When the store fails, or `prefix` is empty.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64, BlobError> {
        let path = self.path(prefix)?;
        if let Kind::Folder(root) = &self.0.kind {
            return folder::delete_prefix(root.clone(), prefix.to_owned()).await;
        }
        let keys = self.0.store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        let mut deleted = self.0.store.delete_stream(keys);
        let mut count = 0;
        while let Some(one) = deleted.next().await {
            match one.map_err(|e| self.error(&path, e)) {
                Ok(_) => count += 1,
                Err(BlobError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// A URL that the store itself serves for `valid`, with this type and disposition; `None` where it can't sign.
    /// (Azure's carry no type and disposition: it answers with those of the upload.)
    ///
    /// # Errors
    /// When the credentials can't sign.
    pub async fn signed_url(
        &self,
        key: &str,
        valid: Duration,
        mime: &str,
        disposition: &str,
    ) -> Result<Option<String>, BlobError> {
        let path = self.path(key)?;
        let Kind::Remote(Some(signing)) = &self.0.kind else { return Ok(None) };
        let options = if signing.overrides {
            SignedUrlOptions::new()
                .with_query([("response-content-type", mime), ("response-content-disposition", disposition)])
        } else {
            SignedUrlOptions::new()
        };
        let url = signing.signer.signed_url_opts(Method::GET, &path, valid, &options).await;
        Ok(Some(url.map_err(|e| self.error(&path, e))?.into()))
    }

    /// The file that holds an object, where the store is a folder; it need not exist.
    pub fn local_file(&self, key: &str) -> Option<PathBuf> {
        match &self.0.kind {
            Kind::Folder(root) if check_key(key).is_ok() => Some(folder::file(root, key)),
            _ => None,
        }
    }

    /// Writes, reads and deletes a small object.
    ///
    /// # Errors
    /// What the store said.
    pub async fn check(&self) -> Result<(), BlobError> {
        let key = format!("check/{}", uuid::Uuid::new_v4());
        let written = Bytes::from_static(b"jobmgr checks that this store keeps what it is given\n");
        self.put_bytes(&key, written.clone()).await?;
        let read: Vec<Bytes> = self.get(&key, None).await?.try_collect().await?;
        self.delete(&key).await?;
        if read.concat() != written {
            return Err(BlobError::Unusable(format!("{} gives back other bytes than it was given", self.0.place)));
        }
        Ok(())
    }

    /// Which store this is: the same for everybody who uses it, another one for every other store. A small object in
    /// it says so; made where it is not there yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn identity(&self) -> Result<String, BlobError> {
        for _ in 0..3 {
            match self.get(IDENTITY, None).await {
                Ok(bytes) => {
                    let bytes: Vec<Bytes> = bytes.try_collect().await?;
                    return Ok(String::from_utf8_lossy(&bytes.concat()).trim().to_owned());
                }
                Err(BlobError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
            // Somebody else may do the same: whoever is first is right, and both read that.
            let identity = Bytes::from(format!("{}\n", uuid::Uuid::new_v4()));
            upload::put_new(self, &self.path(IDENTITY)?, identity).await?;
        }
        Err(BlobError::Unusable(format!("{} does not keep the object '{IDENTITY}'", self.0.place)))
    }

    /// Where objects go, for people, without secrets.
    pub fn describe(&self) -> String {
        self.0.place.clone()
    }

    /// The object's path in the store.
    fn path(&self, key: &str) -> Result<Path, BlobError> {
        check_key(key)?;
        self.below(key)
    }

    fn below(&self, key: &str) -> Result<Path, BlobError> {
        let full = format!("{}/{key}", self.0.prefix);
        Path::parse(full.trim_matches('/')).map_err(|e| BlobError::Unusable(format!("the key '{key}': {e}")))
    }

    /// The key of a path in the store.
    fn key(&self, path: &Path) -> String {
        let full = path.as_ref();
        full.strip_prefix(self.0.prefix.as_ref()).unwrap_or(full).trim_start_matches('/').to_owned()
    }

    fn object(&self, meta: &object_store::ObjectMeta) -> Object {
        Object { key: self.key(&meta.location), size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }

    fn error(&self, path: &Path, error: object_store::Error) -> BlobError {
        let error = errors::classify(error, &self.key(path), &self.0.place);
        match &error {
            BlobError::Missing(_) | BlobError::Source(_) => {}
            BlobError::Unavailable(_) => metrics::storage_error("unavailable"),
            BlobError::Unusable(_) => metrics::storage_error("unusable"),
        }
        error
    }
}

/// Keys are what every store and every file system takes as it is: other characters would be stored encoded.
fn check_key(key: &str) -> Result<(), BlobError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
    if key.split('/').all(part) {
        return Ok(());
    }
    Err(BlobError::Unusable(format!(
        "'{}' is not a key: parts of A-Z a-z 0-9 . _ - with / between",
        key.escape_debug()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain() {
        for good in ["jobs/17/2/1", "3/1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8", "a", "..a/b."] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a b", "é", "a%2fb", "a\\b", "a#1", "a\nb", "c:x"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
