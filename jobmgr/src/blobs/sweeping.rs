//! What a sweep of the store needs: its clock, the end of many objects at once, and uploads that were never finished.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::ObjectStoreExt;

use super::{BlobError, Blobs, Kind, Object, folder};

impl Blobs {
    /// The store's own clock, in Unix milliseconds: what it says of an object that was written just now. It may be up
    /// to a second behind, never ahead.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clock_ms(&self) -> Result<i64, BlobError> {
        let key = format!("check/{}", uuid::Uuid::new_v4());
        let path = self.path(&key)?;
        self.put_bytes(&key, Bytes::from_static(b"jobmgr asks for the time\n")).await?;
        let found = self.0.store.head(&path).await;
        self.delete(&key).await?;
        Ok(found.map_err(|error| self.error(&path, error))?.last_modified.timestamp_millis())
    }

    /// Removes objects; those that are not there are no error, nor are keys that no object can have.
    ///
    /// # Errors
    /// The first that the store says; the others are removed all the same.
    pub async fn delete_all(&self, keys: &[String]) -> Result<(), BlobError> {
        let paths: Vec<_> = keys.iter().filter_map(|key| self.path(key).ok()).collect();
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let mut deleted = self.0.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        let mut failed = None;
        while let Some(one) = deleted.next().await {
            match one.map_err(|error| self.error(&first, error)) {
                Ok(_) | Err(BlobError::Missing(_)) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.tidy(keys).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Uploads below `prefix` that were never finished, or are not yet, where the store is a folder. A bucket keeps
    /// such parts to itself; a rule of the bucket removes them.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub async fn unfinished(&self, prefix: &str) -> Result<Vec<Object>, BlobError> {
        self.path(prefix)?;
        match &self.0.kind {
            Kind::Folder(root) => folder::unfinished(root.clone(), prefix.to_owned()).await,
            Kind::Memory | Kind::Remote(_) => Ok(Vec::new()),
        }
    }

    /// Removes an upload that [`unfinished`](Self::unfinished) gave; one that is not there is no error.
    ///
    /// # Errors
    /// When the folder fails.
    pub async fn delete_unfinished(&self, upload: &Object) -> Result<(), BlobError> {
        match &self.0.kind {
            Kind::Folder(root) => folder::delete_unfinished(root.clone(), upload.key.clone()).await,
            Kind::Memory | Kind::Remote(_) => Ok(()),
        }
    }
}
