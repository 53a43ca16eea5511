//! What running jobs write, in pieces, so that any process can show it while they run.

use sqlx::{AnyConnection, Row};

use super::statements::Statements;
use super::{StoreError, logs};
use crate::domain::job::{JobId, Log, LogBody};

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// How much of a stream is kept while its job runs, in bytes: the end of it. The whole comes with the job's end.
pub const LIVE: u64 = 1 << 20;
/// How much is kept of what the executor says for itself, with the end of a job too: the end of it.
pub const EXECUTOR_LOG: u64 = 64 << 10;

/// A stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// What the executor has to say for itself. Its pieces stay when the attempt is over that they are of, unless that
    /// ended the job: then it is kept with its end.
    Executor,
}

impl Stream {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Executor => "executor",
        }
    }

    /// How much of it is kept while its job runs, in bytes.
    fn live(self) -> u64 {
        if self == Stream::Executor { EXECUTOR_LOG } else { LIVE }
    }
}

/// A piece of a running job's output.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The job.
    pub id: JobId,
    /// The claim's epoch.
    pub epoch: i64,
    /// Which run of the job this is.
    pub attempt: i64,
    /// Of which stream.
    pub stream: Stream,
    /// How many bytes came before it.
    pub start: u64,
    /// At most 64 KiB.
    pub bytes: Vec<u8>,
    /// When the last of them was written, in nanoseconds since 1970, and how many bytes of the stream up to its end were
    /// written then; 0: that is not known.
    pub time: (u64, u64),
}

/// A part of a running job's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The number of the first byte.
    pub start: u64,
    /// What is there from it on.
    pub bytes: Vec<u8>,
    /// As in the last [`Chunk`] of it.
    pub time: (u64, u64),
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) async fn add(connection: &mut AnyConnection, statements: &Statements, chunk: &Chunk) -> Outcome<u64> {
    let log = Log { written: chunk.bytes.len() as u64, body: LogBody::Inline(chunk.bytes.clone()) };
    let Some(content) = logs::piece_to_column(&log, chunk.time) else { return Ok(1) };
    let stream = chunk.stream.as_str();
    let query = statements
        .query(&statements.add_chunk)
        .bind(stream)
        .bind(number(chunk.start))
        .bind(number(log.written))
        .bind(content)
        .bind(chunk.id)
        .bind(chunk.epoch);
    let moved = query.execute(&mut *connection).await?.rows_affected();
    let end = chunk.start + log.written;
    let live = chunk.stream.live();
    if moved > 0 && end > live {
        let drop = statements.query(&statements.drop_chunks_before);
        let drop = drop.bind(chunk.id).bind(chunk.attempt).bind(stream).bind(number(end - live));
        drop.execute(connection).await?;
    }
    Ok(moved)
}

/// Drops what was kept of a running job. Of what its executors said that goes which the end of the job has, that of the
/// attempt `ended`; `None`: the job goes on.
pub(super) async fn drop_all(
    connection: &mut AnyConnection,
    statements: &Statements,
    id: JobId,
    ended: Option<i64>,
) -> Outcome {
    let query = statements.query(&statements.drop_chunks).bind(id).bind(ended.unwrap_or_default());
    query.execute(connection).await.map(drop)
}

/// What the executor of an attempt said for itself, as far as it is in pieces: the end of it.
pub(super) async fn executor_log(
    connection: &mut AnyConnection,
    statements: &Statements,
    which: (JobId, i64),
) -> Result<Log, StoreError> {
    let mut log = Log::default();
    loop {
        let live = read(connection, statements, which, Stream::Executor, log.written).await?;
        if live.bytes.is_empty() {
            return Ok(log);
        }
        let mut bytes = match log.body {
            LogBody::Inline(bytes) if live.start == log.written => bytes,
            // What is before a gap is not the end.
            _ => Vec::new(),
        };
        bytes.extend_from_slice(&live.bytes);
        log = Log { written: live.start + live.bytes.len() as u64, body: LogBody::Inline(bytes) };
    }
}

/// What is there from byte `from` on; what was dropped before it is missing.
pub(super) async fn read(
    connection: &mut AnyConnection,
    statements: &Statements,
    (id, attempt): (JobId, i64),
    stream: Stream,
    from: u64,
) -> Result<Live, StoreError> {
    let query = statements.query(&statements.chunks).bind(id).bind(attempt).bind(stream.as_str()).bind(number(from));
    let mut live = Live { start: from, bytes: Vec::new(), time: (0, 0) };
    for row in query.fetch_all(connection).await? {
        let start = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
        let piece = logs::piece_from_column(row.try_get(2)?);
        let (log, time) = piece.map_err(|why| StoreError::Failed(format!("job {id}: {why}")))?;
        let LogBody::Inline(bytes) = log.body else { continue };
        if live.bytes.is_empty() {
            live.start = start.max(from);
        } else if start != live.start + live.bytes.len() as u64 {
            break;
        }
        let skip = usize::try_from(live.start + live.bytes.len() as u64 - start).unwrap_or(usize::MAX);
        live.bytes.extend_from_slice(bytes.get(skip..).unwrap_or_default());
        live.time = time;
    }
    Ok(live)
}
