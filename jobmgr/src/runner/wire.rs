//! Frames: magic u16 | type u8 | flags u8 | job u32 | length u32, little endian, then the payload.
//!
//! Both ends are the same binary, so the wire may change with any release.

use std::io::{self, IoSlice, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use jobmgr_plugin_api::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};

const MAGIC: u16 = 0x4D4A;
const HEADER: usize = 12;
/// The largest payload.
pub(super) const MAX: usize = 16 << 20;

/// What a frame says. Worker to runner: below 32; runner to worker: the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// JSON of [`super::plugin::Load`].
    Load = 1,
    /// The length of the JSON of a [`super::plugin::Work`], that JSON, and what the function takes.
    Call = 2,
    /// JSON of [`super::Request`].
    Run = 3,
    /// One byte: 1 cancel, 2 detach, 3 timeout.
    Stop = 6,
    /// Four bytes of status, then JSON or a text: the answer to a checkpoint or a request.
    Reply = 8,
    /// The runner is ready; its version as text.
    Ready = 32,
    /// One byte: 1 stdout, 2 stderr, 3 the executor's own; where it has [`TIMED`] too, eight bytes of the time at which
    /// it was written, in nanoseconds since 1970; then what was written.
    Log = 33,
    /// JSON of an `Event`.
    Event = 34,
    /// A handle; answered.
    Checkpoint = 35,
    /// JSON of a method and what it takes; answered.
    Request = 36,
    /// One byte of status, then JSON of an `Outcome`, or a text.
    Done = 37,
    /// The executor was made from its configuration, and can be called.
    Loaded = 38,
    /// JSON of [`super::plugin::Loaded`]: what the library says of itself, before it is given its configuration.
    Described = 39,
}

/// In the first byte of a log: its time follows.
const TIMED: u8 = 0x80;

/// What comes before the data of a log.
pub(super) fn log_head(stream: Stream, time_ns: u64) -> Vec<u8> {
    let stream = match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        _ => 3,
    };
    if time_ns == 0 {
        return vec![stream];
    }
    [&[stream | TIMED][..], &time_ns.to_le_bytes()].concat()
}

/// Takes that off a log: the stream, and the time, 0 where there is none. `None`: it is no log.
pub(super) fn take_log_head(payload: &mut Bytes) -> Option<(Stream, u64)> {
    let stream = payload.try_get_u8().ok()?;
    let time_ns = if stream & TIMED == 0 { 0 } else { payload.try_get_u64_le().ok()? };
    let stream = match stream & !TIMED {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => Stream::Executor,
    };
    Some((stream, time_ns))
}

/// The longest data of one log.
pub(super) const MAX_LOG: usize = MAX - 9;

/// What every error about frames begins with.
pub(super) const BROKEN: &str = "the line to the runner is broken: ";

impl Type {
    fn from_byte(byte: u8) -> io::Result<Type> {
        use Type::{Call, Checkpoint, Described, Done, Event, Load, Loaded, Log, Ready, Reply, Request, Run, Stop};
        [Load, Call, Run, Stop, Reply, Ready, Log, Event, Checkpoint, Request, Done, Loaded, Described]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or_else(|| broken(&format!("frame of type {byte}")))
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{BROKEN}{what}"))
}

/// One message.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Type,
    /// Which job of this runner, counted by the worker.
    pub(super) job: u32,
    pub(super) payload: Bytes,
}

fn header(kind: Type, job: u32, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&MAGIC.to_le_bytes());
    header[2] = kind as u8;
    header[4..8].copy_from_slice(&job.to_le_bytes());
    header[8..].copy_from_slice(&(length as u32).to_le_bytes());
    header
}

fn parse(header: &[u8]) -> io::Result<(Type, u32, usize)> {
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..2] != MAGIC.to_le_bytes() {
        return Err(broken(&format!("not a frame: {:x?}", &header[..4])));
    }
    let length = word(8) as usize;
    if length > MAX {
        return Err(broken(&format!("frame of {length} bytes")));
    }
    Ok((Type::from_byte(header[2])?, word(4), length))
}

/// A frame as bytes, for a writer that takes it whole.
pub(super) fn encode(kind: Type, job: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&header(kind, job, payload.len()));
    frame.extend_from_slice(payload);
    frame
}

/// Writes a frame whose payload is `first` and `rest`, without copying them together.
pub(super) fn write(out: &mut impl Write, kind: Type, job: u32, first: &[u8], rest: &[u8]) -> io::Result<()> {
    let header = header(kind, job, first.len() + rest.len());
    let mut slices = [IoSlice::new(&header), IoSlice::new(first), IoSlice::new(rest)];
    let mut left = &mut slices[..];
    while left.iter().any(|slice| !slice.is_empty()) {
        match out.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a frame; `None` at the end of the line.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (kind, job, length) = parse(&header)?;
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some(Frame { kind, job, payload: payload.into() }))
}

/// Reads frames; may be cancelled between any two polls without losing a byte.
pub(super) struct Frames<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::with_capacity(4 << 10) }
    }

    /// The next frame; `None` at the end of the line.
    pub(super) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.buffer.len() >= HEADER {
                let (kind, job, length) = parse(&self.buffer[..HEADER])?;
                if self.buffer.len() >= HEADER + length {
                    self.buffer.advance(HEADER);
                    return Ok(Some(Frame { kind, job, payload: self.buffer.split_to(length).freeze() }));
                }
                self.buffer.reserve(HEADER + length - self.buffer.len());
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_through_in_any_pieces() {
        let mut bytes = encode(Type::Run, 7, b"{}");
        write(&mut bytes, Type::Log, 7, &[1], b"hello").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for piece in 1..bytes.len() {
            let (one, two) = bytes.split_at(piece);
            let mut frames = Frames::new(AsyncReadExt::chain(one, two));
            let (run, log) = runtime
                .block_on(async { (frames.next().await.unwrap().unwrap(), frames.next().await.unwrap().unwrap()) });
            assert_eq!((run.kind, run.job, &run.payload[..]), (Type::Run, 7, &b"{}"[..]));
            assert_eq!((log.kind, &log.payload[..]), (Type::Log, &b"\x01hello"[..]));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let mut bytes = encode(Type::Run, 1, b"x");
        bytes[0] = 0xa5;
        assert!(read(&mut &bytes[..]).unwrap_err().to_string().contains("not a frame"));
        let mut huge = encode(Type::Run, 1, b"x");
        huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&mut &huge[..]).unwrap_err().to_string().contains("4294967295 bytes"));
    }
}
