//! Objects that somebody else uploads: addresses for that, and what arrived.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::{Stream, StreamExt};
use object_store::ObjectStoreExt;
use object_store::signer::{Method, SignedUrlOptions};
use sha2::{Digest, Sha256};

use super::upload::{Failure, Parts, Uploaded, hex, part_size};
use super::{BlobError, Blobs, Kind};

/// An address to which a store takes an object, and the headers that it wants with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Where the bytes are `PUT`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl Blobs {
    /// An address at which the store itself takes an object for `valid`; `None` where it can't sign.
    ///
    /// # Errors
    /// When the credentials can't sign.
    pub async fn signed_upload(&self, key: &str, valid: Duration) -> Result<Option<Granted>, BlobError> {
        let path = self.path(key)?;
        let Kind::Remote(Some(signing)) = &self.0.kind else { return Ok(None) };
        let url = signing.signer.signed_url_opts(Method::PUT, &path, valid, &SignedUrlOptions::new()).await;
        let url = url.map_err(|error| self.error(&path, error))?.into();
        // Only Azure's URLs carry no overrides, and only Azure asks what kind of blob it is.
        let headers = if signing.overrides { Vec::new() } else { vec![("x-ms-blob-type", "BlockBlob")] };
        Ok(Some(Granted { url, headers }))
    }

    /// How large an object is, in bytes.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there.
    pub async fn size(&self, key: &str) -> Result<u64, BlobError> {
        let path = self.path(key)?;
        let found = self.0.store.head(&path).await.map_err(|error| self.error(&path, error))?;
        Ok(found.size)
    }

    /// Reads an object through, at bounded memory.
    ///
    /// # Errors
    /// [`BlobError::Missing`] where it is not there.
    pub async fn digest(&self, key: &str) -> Result<Uploaded, BlobError> {
        let mut bytes = self.get(key, None).await?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(piece) = bytes.try_next().await? {
            hash.update(&piece);
            size += piece.len() as u64;
        }
        Ok(Uploaded { size, sha256: hex(&hash.finalize()) })
    }

    /// Uploads bytes as they come, at bounded memory; their number, or `None` when they are more than `most`: then
    /// nothing is kept.
    ///
    /// # Errors
    /// [`BlobError::Source`] when the bytes fail: nothing is kept.
    pub async fn put_stream(
        &self,
        key: &str,
        bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
        most: u64,
    ) -> Result<Option<u64>, BlobError> {
        let path = self.path(key)?;
        let upload = self.0.store.put_multipart(&path).await.map_err(|error| self.error(&path, error))?;
        let mut parts = Parts::new(upload);
        let part = usize::try_from(part_size(&self.0.kind, most.min(64 << 30))).unwrap_or(usize::MAX);
        let sent = match parts.send_stream(bytes, most, part).await {
            Ok(Some(0)) => {
                parts.abort().await;
                // Not every store takes an object of no parts.
                return self.put_bytes(key, Bytes::new()).await.map(|uploaded| Some(uploaded.size));
            }
            Ok(Some(size)) => parts.complete().await.map(|()| Some(size)),
            other => other,
        };
        if !matches!(sent, Ok(Some(_))) {
            parts.abort().await;
        }
        sent.map_err(|failure| match failure {
            Failure::Source(error) => BlobError::Source(error),
            Failure::Store(error) => self.error(&path, error),
        })
    }
}

impl Blobs {
    /// [`Blobs::put_stream`], and what the bytes are.
    ///
    /// # Errors
    /// As [`Blobs::put_stream`].
    pub async fn put_hashed(
        &self,
        key: &str,
        bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
        most: u64,
    ) -> Result<Option<Uploaded>, BlobError> {
        let mut hash = Sha256::new();
        let hashed = bytes.inspect_ok(|piece| hash.update(piece));
        let size = self.put_stream(key, hashed, most).await?;
        Ok(size.map(|size| Uploaded { size, sha256: hex(&hash.finalize()) }))
    }
}

impl Parts {
    /// `None`: they are more than `most`.
    async fn send_stream(
        &mut self,
        mut bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
        most: u64,
        part: usize,
    ) -> Result<Option<u64>, Failure> {
        let (mut size, mut full) = (0, BytesMut::new());
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(Failure::Source)?;
            size += piece.len() as u64;
            if size > most {
                return Ok(None);
            }
            full.extend_from_slice(&piece);
            while full.len() >= part {
                let whole = full.split_to(part).freeze();
                self.begin(whole).await?;
            }
        }
        if !full.is_empty() {
            self.begin(full.freeze()).await?;
        }
        self.finish_all().await?;
        Ok(Some(size))
    }
}
