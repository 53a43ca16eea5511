use std::fs::File;
use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};

use super::{BlobError, Blobs, Kind};

/// What is no larger goes in one request.
const SINGLE: u64 = 8 << 20;
/// A part of what is larger.
const PART: u64 = 8 << 20;
/// A part for a folder: there a request costs next to nothing, and small parts stay in the CPU's cache.
const FOLDER_PART: u64 = 1 << 20;
/// S3 takes 10,000.
const MOST_PARTS: u64 = 9_000;
/// Parts on their way while the next one is read.
const IN_FLIGHT: usize = 2;
/// Read and hashed at once, so that the hash finds it in the cache.
const CHUNK: usize = 128 << 10;

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What a store tells those who download an object.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The `Content-Type`.
    pub mime: &'a str,
    /// The `Content-Disposition`.
    pub disposition: &'a str,
}

pub(super) async fn put_bytes(blobs: &Blobs, path: &Path, bytes: Bytes) -> Result<Uploaded, BlobError> {
    let uploaded = Uploaded { size: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) };
    let put = blobs.0.store.put(path, bytes.into()).await;
    put.map_err(|e| blobs.error(path, e))?;
    Ok(uploaded)
}

/// An object that stays as it is where it is there already.
pub(super) async fn put_new(blobs: &Blobs, path: &Path, bytes: Bytes) -> Result<(), BlobError> {
    use object_store::Error as E;
    match blobs.0.store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await {
        Ok(_) | Err(E::AlreadyExists { .. } | E::Precondition { .. }) => Ok(()),
        // Not every store and file system knows how; where it failed for another reason, so does this.
        Err(_) => put_bytes(blobs, path, bytes).await.map(drop),
    }
}

pub(super) async fn put_file(
    blobs: &Blobs,
    path: &Path,
    file: File,
    size: u64,
    shown: Option<&Shown<'_>>,
) -> Result<Uploaded, BlobError> {
    let attributes = attributes(blobs, shown);
    let source = Source { file, hash: Sha256::new(), left: size, size };
    let source = if size <= SINGLE {
        put_whole(blobs, path, source, attributes).await?
    } else {
        put_parts(blobs, path, source, attributes).await?
    };
    Ok(Uploaded { size, sha256: hex(&source.hash.finalize()) })
}

async fn put_whole(blobs: &Blobs, path: &Path, source: Source, attributes: Attributes) -> Result<Source, BlobError> {
    let (source, bytes) = source.read(BytesMut::new(), source_len(SINGLE)).await?;
    let put = blobs.0.store.put_opts(path, bytes.into(), PutOptions::from(attributes)).await;
    put.map_err(|e| blobs.error(path, e))?;
    Ok(source)
}

async fn put_parts(blobs: &Blobs, path: &Path, source: Source, attributes: Attributes) -> Result<Source, BlobError> {
    let size = source.size;
    let upload = blobs.0.store.put_multipart_opts(path, PutMultipartOptions::from(attributes)).await;
    let mut parts = Parts::new(upload.map_err(|e| blobs.error(path, e))?);
    let sent = parts.send(source, part_size(&blobs.0.kind, size)).await;
    let sent = match sent {
        Ok(source) => parts.complete().await.map(|()| source),
        Err(error) => Err(error),
    };
    if sent.is_err() {
        parts.abort().await;
    }
    let source = sent.map_err(|failure| match failure {
        Failure::Source(error) => BlobError::Source(error),
        Failure::Store(error) => blobs.error(path, error),
    })?;
    verify(blobs, path, size).await?;
    Ok(source)
}

/// Asks a remote store how large the object became: it put the parts together on its own.
async fn verify(blobs: &Blobs, path: &Path, size: u64) -> Result<(), BlobError> {
    if !matches!(blobs.0.kind, Kind::Remote(_)) {
        return Ok(());
    }
    let stored = blobs.0.store.head(path).await.map_err(|e| blobs.error(path, e))?.size;
    if stored == size {
        return Ok(());
    }
    Err(BlobError::Unavailable(format!("{}: {path} has {stored} bytes, {size} were sent", blobs.0.place)))
}

/// An upload in parts: aborted unless it was completed, so that no store keeps (and bills) what nobody sees.
pub(super) struct Parts {
    upload: Option<Box<dyn MultipartUpload>>,
    /// Each ends with the bytes that it sent, to be filled anew.
    sending: JoinSet<Result<Bytes, object_store::Error>>,
}

pub(super) enum Failure {
    Source(io::Error),
    Store(object_store::Error),
}

impl Parts {
    pub(super) fn new(upload: Box<dyn MultipartUpload>) -> Self {
        Self { upload: Some(upload), sending: JoinSet::new() }
    }

    /// Reads one part while at most [`IN_FLIGHT`] others are on their way.
    async fn send(&mut self, mut source: Source, part: u64) -> Result<Source, Failure> {
        let mut spare = BytesMut::new();
        while source.left > 0 {
            let read = source.read(spare, source_len(part)).await;
            let (next, bytes) = read.map_err(Failure::Source)?;
            source = next;
            self.start(bytes);
            spare = BytesMut::new();
            while self.sending.len() > IN_FLIGHT {
                spare = self.finish_one().await?;
            }
        }
        self.finish_all().await?;
        Ok(source)
    }

    /// Sends a part, once at most [`IN_FLIGHT`] others are on their way.
    pub(super) async fn begin(&mut self, bytes: Bytes) -> Result<(), Failure> {
        while self.sending.len() >= IN_FLIGHT {
            self.finish_one().await?;
        }
        self.start(bytes);
        Ok(())
    }

    /// Waits for all that are on their way.
    pub(super) async fn finish_all(&mut self) -> Result<(), Failure> {
        while !self.sending.is_empty() {
            self.finish_one().await?;
        }
        Ok(())
    }

    fn start(&mut self, bytes: Bytes) {
        let Some(upload) = &mut self.upload else { return };
        let sent = upload.put_part(PutPayload::from(bytes.clone()));
        self.sending.spawn(async move { sent.await.map(|()| bytes) });
    }

    /// Waits for a part; gives its memory back, or an empty buffer where the store still holds it.
    async fn finish_one(&mut self) -> Result<BytesMut, Failure> {
        match self.sending.join_next().await {
            None => Ok(BytesMut::new()),
            Some(Ok(sent)) => Ok(sent.map_err(Failure::Store)?.try_into_mut().unwrap_or_default()),
            Some(Err(error)) => Err(Failure::Store(error.into())),
        }
    }

    pub(super) async fn complete(&mut self) -> Result<(), Failure> {
        if let Some(upload) = &mut self.upload {
            upload.complete().await.map_err(Failure::Store)?;
        }
        self.upload = None;
        Ok(())
    }

    /// What the store says to it does not matter: the upload failed already, and says why.
    pub(super) async fn abort(&mut self) {
        self.sending.shutdown().await;
        if let Some(mut upload) = self.upload.take() {
            let _ = upload.abort().await;
        }
    }
}

impl Drop for Parts {
    /// The upload was given up half-way, with the task that it was part of.
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.upload.take(), Handle::try_current()) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

/// The file, and what was read of it.
struct Source {
    file: File,
    hash: Sha256,
    left: u64,
    size: u64,
}

impl Source {
    /// The next bytes, at most `most`, read on a thread that may block.
    async fn read(mut self, mut buffer: BytesMut, most: usize) -> io::Result<(Source, Bytes)> {
        let read = move || {
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
            buffer.resize(wanted, 0);
            for chunk in buffer.chunks_mut(CHUNK) {
                self.file.read_exact(chunk).map_err(|e| self.shorter(e))?;
                self.hash.update(&chunk);
                self.left -= chunk.len() as u64;
            }
            Ok((self, buffer.freeze()))
        };
        spawn_blocking(read).await.map_err(io::Error::other)?
    }

    fn shorter(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return error;
        }
        let text = format!("the file became shorter while it was uploaded: {} bytes were expected", self.size);
        io::Error::new(error.kind(), text)
    }
}

fn source_len(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Parts of at least the usual size, as many as a store takes.
pub(super) fn part_size(kind: &Kind, size: u64) -> u64 {
    match kind {
        Kind::Folder(_) => FOLDER_PART,
        Kind::Memory | Kind::Remote(_) => size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20).max(PART),
    }
}

/// A folder can't keep attributes.
fn attributes(blobs: &Blobs, shown: Option<&Shown<'_>>) -> Attributes {
    let mut attributes = Attributes::new();
    if let (Some(shown), Kind::Remote(_)) = (shown, &blobs.0.kind) {
        attributes.insert(Attribute::ContentType, shown.mime.to_owned().into());
        attributes.insert(Attribute::ContentDisposition, shown.disposition.to_owned().into());
    }
    attributes
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_few() {
        let size = |gib: u64| part_size(&Kind::Memory, gib << 30);
        assert_eq!(size(4), 8 << 20);
        for gib in [70_u64, 71, 100, 1024, 5 * 1024] {
            assert!((gib << 30).div_ceil(size(gib)) <= MOST_PARTS, "{gib} GiB");
        }
    }
}
