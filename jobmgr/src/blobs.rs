//! Artifacts and large logs; the only room that names object_store. (Skeleton.)

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::config;

/// A handle to the object store; cheap to clone.
#[derive(Clone)]
pub struct Blobs {}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no object of this key.
    #[error("the store has no object {0}")]
    Missing(String),
    /// The store can't be reached or refuses now: trying again may help.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
    /// The configuration can't serve.
    #[error("{0}")]
    Unusable(String),
    /// The local file that was to be uploaded failed.
    #[error("{0}")]
    Source(#[from] std::io::Error),
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Blobs {
    /// Opens the store of `[Storage]`, or the bucket of `[AWS]`, or the folder `artifacts-store`.
    ///
    /// # Errors
    /// [`BlobError::Unusable`] with the key that is wrong and what would be right.
    pub fn open(_storage: &config::Storage, _aws: Option<&config::Aws>) -> Result<Blobs, BlobError> {
        unimplemented!()
    }

    /// Uploads exactly `size` bytes of `file` from its start, at bounded memory.
    ///
    /// # Errors
    /// [`BlobError::Source`] when the file is shorter.
    pub async fn put_file(&self, _key: &str, _file: std::fs::File, _size: u64) -> Result<Uploaded, BlobError> {
        unimplemented!()
    }

    /// The bytes of an object, or the given part of them.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there.
    pub async fn get(
        &self,
        _key: &str,
        _range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BlobError>>, BlobError> {
        unimplemented!()
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, _key: &str) -> Result<(), BlobError> {
        unimplemented!()
    }

    /// A URL that the store itself serves for `valid`, with this type and disposition; `None` where it can't sign.
    ///
    /// # Errors
    /// When the credentials can't sign.
    pub async fn signed_url(
        &self,
        _key: &str,
        _valid: Duration,
        _mime: &str,
        _disposition: &str,
    ) -> Result<Option<String>, BlobError> {
        unimplemented!()
    }

    /// Writes, reads and deletes a small object.
    ///
    /// # Errors
    /// What the store said.
    pub async fn check(&self) -> Result<(), BlobError> {
        unimplemented!()
    }

    /// Where objects go, for people, without secrets.
    pub fn describe(&self) -> String {
        unimplemented!()
    }
}
