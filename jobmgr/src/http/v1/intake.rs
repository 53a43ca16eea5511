//! Files on their way into the store.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;

use super::super::Api;
use super::problem::{Code, Problem};
use crate::blobs::{BlobError, Uploaded};
use crate::domain::input::{InputId, NewInput, name};
use crate::domain::keys;

/// Takes files; those that are not kept are removed again, also when the client goes away.
pub struct Intake {
    api: Arc<Api>,
    keys: Vec<String>,
    files: Vec<File>,
    /// How many bytes may still come.
    left: u64,
}

/// A file that is in the store.
pub struct File {
    /// What its client calls it.
    pub name: String,
    /// What it is.
    pub uploaded: Uploaded,
    key: String,
}

impl Intake {
    /// Takes as much as the server's configuration allows.
    pub fn new(api: &Arc<Api>) -> Self {
        Self { api: Arc::clone(api), keys: Vec::new(), files: Vec::new(), left: api.config.max_upload_bytes }
    }

    /// Takes a file as it comes.
    ///
    /// # Errors
    /// `too_large`, `incomplete` when its bytes fail, `unavailable`.
    pub async fn take(
        &mut self,
        given: &str,
        bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<(), Problem> {
        let key = keys::of_input(self.api.store.installation(), &uuid::Uuid::new_v4().simple().to_string());
        self.keys.push(key.clone());
        let uploaded = self.api.blobs.put_hashed(&key, bytes, self.left).await.map_err(|error| match error {
            BlobError::Source(_) => Problem::new(Code::Incomplete, "the body did not arrive as a whole"),
            error => {
                tracing::error!(%error, "an uploaded file can't be stored");
                Problem::unavailable()
            }
        })?;
        let uploaded = uploaded.ok_or_else(|| too_large(self.api.config.max_upload_bytes))?;
        self.left = self.left.saturating_sub(uploaded.size);
        self.files.push(File { name: name(given), uploaded, key });
        Ok(())
    }

    /// What was taken, in its order.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Gives the files numbers, in their order; they are this user's.
    ///
    /// # Errors
    /// `unavailable`; what has a number then is removed with what no job uses.
    pub async fn keep(mut self, user_id: i64) -> Result<Vec<InputId>, Problem> {
        // A row may be there although its answer was lost, so from here on a sweep removes what is not used.
        self.keys.clear();
        let mut ids = Vec::with_capacity(self.files.len());
        for File { name, uploaded: Uploaded { size, sha256 }, key } in std::mem::take(&mut self.files) {
            let input = NewInput { user_id, name, size, sha256, key };
            ids.push(self.api.store.add_input(input).await.map_err(|error| Problem::failed(&error))?);
        }
        Ok(ids)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if keys.is_empty() {
            return;
        }
        let blobs = self.api.blobs.clone();
        runtime.spawn(async move {
            if let Err(error) = blobs.delete_all(&keys).await {
                tracing::warn!(%error, "uploaded files that were refused stay until they are swept");
            }
        });
    }
}

/// More came than may.
pub fn too_large(most: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("the files may have {most} bytes at most"))
}

/// Removes files that no job has after all.
pub async fn forget(api: &Api, ids: Vec<InputId>) {
    let gone = match api.store.drop_inputs(ids).await {
        Ok(keys) => api.blobs.delete_all(&keys).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = gone {
        tracing::warn!(error, "uploaded files that no job has stay until they are swept");
    }
}
