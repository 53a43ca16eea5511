//! All artifacts of a job in one ZIP file, made while it is sent.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::docs::Tag;
use super::super::{Api, Caller};
use super::failed::{Causes, Failed};
use super::parameter::Path;
use super::problem::{Code, Problem};
use crate::blobs::Blobs;
use crate::domain::job::{Artifact, JobId};

/// How much is sent at once, in bytes.
const PIECE: usize = 64 << 10;
/// How many pieces may wait for a slow client.
const WAITING: usize = 4;

/// `GET /v1/jobs/{id}/artifacts.zip`
pub struct Zip {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong.
struct OfZip;

impl Causes for OfZip {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Unavailable];
}

#[OpenApi]
impl Zip {
    /// Download all artifacts of a job
    ///
    /// One ZIP file with all that the job left, not compressed. It is made while it is sent: a file that can't be read
    /// cuts the answer off.
    #[oai(path = "/v1/jobs/:id/artifacts.zip", method = "get", operation_id = "zipArtifacts", tag = "Tag::Artifacts")]
    async fn zip(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
    ) -> Result<Archive, Failed<OfZip>> {
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let job = self.api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
        let job = caller.seen(job).ok_or_else(|| Problem::no_job(Some(id)))?;
        let artifacts = job.ended.map(|ended| ended.artifacts).unwrap_or_default();
        Ok(archive(id, artifacts, self.api.blobs.clone()))
    }
}

fn archive(id: JobId, artifacts: Vec<Artifact>, blobs: Blobs) -> Archive {
    let (sender, pieces) = mpsc::channel(WAITING);
    let runtime = Handle::current();
    // Not a task: the library writes when it likes, and what it writes waits for the client.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&artifacts, &blobs, &runtime, sender.clone()) {
            tracing::warn!(job = id, %error, "a ZIP file of artifacts was not sent to its end");
            drop(sender.blocking_send(Err(error)));
        }
    });
    let body = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let response = Response::builder()
        .header("content-type", Archive::KIND)
        .header("content-disposition", format!("attachment; filename=\"job-{id}.zip\""))
        .header("x-content-type-options", "nosniff")
        .header("cache-control", "private");
    Archive(response.body(Body::from_bytes_stream(body)))
}

type Sender = mpsc::Sender<io::Result<Bytes>>;

fn write(artifacts: &[Artifact], blobs: &Blobs, runtime: &Handle, sender: Sender) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(BufWriter::with_capacity(PIECE, Pipe(sender)));
    let mut names = BTreeSet::new();
    for artifact in artifacts {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(own_name(&artifact.name, &mut names), options.large_file(artifact.size > u64::from(u32::MAX)))?;
        let mut bytes = runtime.block_on(blobs.get(&artifact.key, None)).map_err(io::Error::other)?;
        while let Some(piece) = runtime.block_on(bytes.try_next()).map_err(io::Error::other)? {
            zip.write_all(&piece)?;
        }
    }
    zip.finish()?.into_inner().flush()
}

/// The name in the file: a path below wherever it is unpacked, and nobody else's.
fn own_name(name: &str, names: &mut BTreeSet<String>) -> String {
    let plain: String = name.chars().map(|c| if c.is_control() || c == '\\' { '_' } else { c }).collect();
    let parts: Vec<&str> = plain.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let name = if parts.is_empty() { "file".to_owned() } else { parts.join("/") };
    let mut own = name.clone();
    let mut number = 2;
    while !names.insert(own.clone()) {
        own = format!("{name} ({number})");
        number += 1;
    }
    own
}

/// To the client.
struct Pipe(Sender);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file.
struct Archive(Response);

impl Archive {
    const KIND: &'static str = "application/zip";
}

impl IntoResponse for Archive {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Archive {
    fn meta() -> MetaResponses {
        // Not all generators know that a ZIP file is bytes; they find the second type.
        let bytes = [Self::KIND, "application/octet-stream"];
        let bytes = bytes
            .map(|content_type| MetaMediaType { content_type, schema: <Binary<Vec<u8>> as Payload>::schema_ref() });
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The ZIP file.",
                status: Some(200),
                status_range: None,
                content: bytes.into(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        <Binary<Vec<u8>> as Payload>::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_and_apart() {
        let mut names = BTreeSet::new();
        for (name, own) in [
            ("a/b.txt", "a/b.txt"),
            ("a//b.txt", "a/b.txt (2)"),
            ("../../etc/passwd", "etc/passwd"),
            ("/etc/passwd", "etc/passwd (2)"),
            ("..", "file"),
            ("a\\..\\b\n", "a_.._b_"),
            ("é", "é"),
        ] {
            assert_eq!(own_name(name, &mut names), own, "{name}");
        }
    }
}
