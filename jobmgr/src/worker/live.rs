//! What a running job writes, in pieces for the database, so that it can be read from any process while it runs.
//!
//! Only jobs that run for a while are written, the end of what they wrote, and never faster than the database takes
//! it: what comes quicker is left out until the whole is stored at the job's end.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::domain::job::Claim;
use crate::store::{Chunk, Store, Stream};

/// How often pieces are written.
const EVERY: Duration = Duration::from_millis(500);
/// The largest piece.
const PIECE: usize = 64 << 10;
/// How much waits of a stream.
const WAITING: usize = 4 * PIECE;

/// The pieces of a job's two streams, and of what its executor says.
pub(super) struct Pieces {
    stdout: Waiting,
    stderr: Waiting,
    executor: Waiting,
    due: Instant,
    writing: Option<JoinHandle<()>>,
    any: bool,
}

/// What was written and is not in the database yet; the end of it, where it is much.
#[derive(Default)]
struct Waiting {
    start: u64,
    bytes: Vec<u8>,
    /// When the last of them was written; see [`Chunk::time`].
    time: (u64, u64),
}

impl Waiting {
    fn add(&mut self, data: &[u8], time: (u64, u64)) {
        self.bytes.extend_from_slice(data);
        self.time = time;
        // Twice as much is let grow, so that little is moved.
        if self.bytes.len() > 2 * WAITING {
            let gone = self.bytes.len() - WAITING;
            self.bytes.drain(..gone);
            self.start += gone as u64;
        }
    }

    fn take(&mut self, claim: &Claim, stream: Stream) -> Vec<Chunk> {
        let gone = self.bytes.len().saturating_sub(WAITING);
        let start = self.start + gone as u64;
        let bytes = std::mem::take(&mut self.bytes);
        self.start += bytes.len() as u64;
        let (pieces, time) = (bytes[gone..].chunks(PIECE).enumerate(), self.time);
        let last = (bytes.len() - gone).div_ceil(PIECE).saturating_sub(1);
        let chunk = |(index, piece): (usize, &[u8])| Chunk {
            id: claim.id,
            epoch: claim.epoch,
            attempt: claim.attempt,
            stream,
            start: start + (index * PIECE) as u64,
            bytes: piece.to_vec(),
            // Who finds no more than the ones before must not take its time for theirs.
            time: if index == last { time } else { (0, 0) },
        };
        pieces.map(chunk).collect()
    }
}

impl Pieces {
    pub(super) fn new() -> Self {
        let due = Instant::now() + EVERY;
        let [stdout, stderr, executor] = Default::default();
        Self { stdout, stderr, executor, due, writing: None, any: false }
    }

    /// A stream goes on after so many bytes, which are in the database.
    pub(super) fn start_after(&mut self, stream: Stream, bytes: u64) {
        self.of(stream).start = bytes;
        self.any |= bytes > 0;
    }

    /// What was written to a stream; see [`Chunk::time`].
    pub(super) fn add(&mut self, stream: Stream, data: &[u8], time: (u64, u64)) {
        self.of(stream).add(data, time);
    }

    fn of(&mut self, stream: Stream) -> &mut Waiting {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            Stream::Executor => &mut self.executor,
        }
    }

    /// Waits until there is something to write, and it is time for it.
    pub(super) async fn due(&self) {
        if [&self.stdout, &self.stderr, &self.executor].iter().all(|stream| stream.bytes.is_empty()) {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.due).await;
    }

    /// Writes what waits; or later, while the last write goes on.
    pub(super) fn flush(&mut self, store: Store, claim: &Claim) {
        self.due = Instant::now() + EVERY;
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let mut chunks = self.stdout.take(claim, Stream::Stdout);
        chunks.extend(self.stderr.take(claim, Stream::Stderr));
        chunks.extend(self.executor.take(claim, Stream::Executor));
        self.any = true;
        self.writing = Some(tokio::spawn(async move {
            for chunk in chunks {
                // The whole is stored at the end; whoever lost the lease is told of it elsewhere.
                drop(store.chunk(chunk).await);
            }
        }));
    }

    /// Whether there may be any in the database.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Writes what the executor has said and nobody else keeps, when the attempt is over and does not end its job.
    pub(super) async fn last_words(&mut self, store: &Store, claim: &Claim) {
        self.settle().await;
        for chunk in self.executor.take(claim, Stream::Executor) {
            self.any = true;
            // Without the lease, or a database, it is lost.
            drop(store.chunk(chunk).await);
        }
    }

    /// Waits until nothing is being written any more.
    pub(super) async fn settle(&mut self) {
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            id: 7,
            epoch: 2,
            attempt: 1,
            name: "x".into(),
            parameters: Ok(Default::default()),
            tries: 0,
            max_retries: None,
            last_chance: false,
            started_ms: 0,
            created_ms: 0,
            run_after_ms: 0,
            trace_parent: None,
            worker: "w".into(),
        }
    }

    #[test]
    fn pieces_follow_each_other_and_the_end_of_much_is_kept() {
        let mut waiting = Waiting::default();
        waiting.add(b"one ", (5, 4));
        waiting.add(b"two", (6, 3));
        let first = waiting.take(&claim(), Stream::Stdout);
        assert_eq!((first.len(), first[0].start, first[0].bytes.as_slice()), (1, 0, &b"one two"[..]));
        assert_eq!(first[0].time, (6, 3));
        for number in 0..200_u32 {
            waiting.add(&[number.to_le_bytes()[0]; 10_000], (7, 10_000));
        }
        let much = waiting.take(&claim(), Stream::Stdout);
        assert_eq!(much.iter().map(|chunk| chunk.bytes.len()).sum::<usize>(), WAITING);
        let last = much.last().unwrap();
        assert_eq!(last.start + last.bytes.len() as u64, 7 + 2_000_000, "the end is where the job is");
        assert_eq!(last.bytes.last(), Some(&199));
        let times: Vec<_> = much.iter().map(|chunk| chunk.time).collect();
        assert_eq!(times, [(0, 0), (0, 0), (0, 0), (7, 10_000)], "only where the stream has come to is known");
        assert!(much.windows(2).all(|two| two[0].start + two[0].bytes.len() as u64 == two[1].start));
        assert!(waiting.take(&claim(), Stream::Stdout).is_empty());
    }
}
