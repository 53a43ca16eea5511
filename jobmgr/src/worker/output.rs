//! Streams of output, kept at bounded memory: the beginning and the end of what was written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::platform;
use crate::blobs::{BlobError, Blobs};
use crate::domain::gap;
use crate::domain::job::{Log, LogBody};

/// What is at most this large stays in memory, and then in the database.
const INLINE: usize = 64 << 10;

/// One stream of a running job.
pub(super) struct Output {
    path: PathBuf,
    cap: u64,
    written: u64,
    memory: Vec<u8>,
    /// The first half of `cap`, then a ring of the last bytes.
    file: Option<File>,
}

impl Output {
    /// A stream of which at most `cap` bytes are kept, in the file `path` if they are many.
    pub(super) fn new(path: PathBuf, cap: u64) -> Self {
        Self { path, cap: cap.max(2 * INLINE as u64), written: 0, memory: Vec::new(), file: None }
    }

    /// Appends.
    pub(super) fn write(&mut self, mut data: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            if self.memory.len() + data.len() <= INLINE {
                self.memory.extend_from_slice(data);
                self.written += data.len() as u64;
                return Ok(());
            }
            // It is there from now on, and has to go, also where the disk has no room for what is in it.
            let mut options = File::options();
            let options = platform::private_file(options.read(true).write(true).create_new(true));
            let file = self.file.insert(options.open(&self.path)?);
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
        }
        while !data.is_empty() {
            let at = self.place(self.written);
            let room = self.cap - at;
            let (now, later) = data.split_at(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            if let Some(file) = &mut self.file {
                // Only where the ring begins anew is the place another than where the last write ended.
                if self.written >= self.cap && at == self.cap / 2 {
                    file.seek(SeekFrom::Start(at))?;
                }
                file.write_all(now)?;
            }
            self.written += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    /// Where the byte of this number is kept.
    fn place(&self, number: u64) -> u64 {
        let head = self.cap / 2;
        if number < self.cap { number } else { head + (number - head) % (self.cap - head) }
    }

    /// The end of the stream, as much of it as is kept in the database.
    pub(super) fn end(&self) -> Log {
        let Some(file) = &self.file else {
            return Log { written: self.written, body: LogBody::Inline(self.memory.clone()) };
        };
        let mut bytes = Vec::new();
        let from = self.written.saturating_sub(INLINE as u64);
        if let Err(error) = self.read_from(file, from, &mut bytes) {
            tracing::warn!(%error, "the end of a job's output can't be read");
        }
        Log { written: self.written, body: LogBody::Inline(bytes) }
    }

    fn read_from(&self, mut file: &File, mut from: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        while from < self.written {
            let at = self.place(from);
            let run = (self.cap - at).min(self.written - from);
            file.seek(SeekFrom::Start(at))?;
            file.take(run).read_to_end(bytes)?;
            from += run;
        }
        Ok(())
    }

    /// The stream as it is kept: inline, or as the object `key`.
    pub(super) async fn keep(&mut self, blobs: &Blobs, key: &str) -> Result<Log, BlobError> {
        let Some(file) = &mut self.file else {
            return Ok(Log { written: self.written, body: LogBody::Inline(self.memory.clone()) });
        };
        let (file, size) = if self.written <= self.cap {
            (file.try_clone()?, self.written)
        } else {
            unroll(file, &self.path, self.cap, self.written)?
        };
        (&file).seek(SeekFrom::Start(0))?;
        blobs.put_file(key, file, size).await?;
        Ok(Log { written: self.written, body: LogBody::Object { key: key.to_owned(), size } })
    }
}

/// Writes head, a line that tells the gap, and the ring in its order to a file of their own.
fn unroll(file: &mut File, path: &std::path::Path, cap: u64, written: u64) -> io::Result<(File, u64)> {
    let head = cap / 2;
    let mut whole =
        File::options().read(true).write(true).create(true).truncate(true).open(path.with_extension("cut"))?;
    let start = head + (written - head) % (cap - head);
    let gap = gap::note(written - cap);
    copy_part(file, 0, head, &mut whole)?;
    whole.write_all(gap.as_bytes())?;
    copy_part(file, start, cap - start, &mut whole)?;
    copy_part(file, head, start - head, &mut whole)?;
    Ok((whole, cap + gap.len() as u64))
}

fn copy_part(from: &mut File, start: u64, length: u64, to: &mut File) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    io::copy(&mut from.take(length), to).map(drop)
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.is_some() {
            drop(std::fs::remove_file(&self.path));
            drop(std::fs::remove_file(self.path.with_extension("cut")));
        }
    }
}
