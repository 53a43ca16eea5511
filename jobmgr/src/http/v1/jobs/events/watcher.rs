//! What there is to say of a job, in its order: to which statuses it came, and of each attempt what it wrote before it
//! was over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::super::Api;
use super::super::super::events::message::Message;
use super::super::super::events::sse::{HEARTBEAT, Source};
use super::super::logs::source::{self, Asked, Source as Where};
use super::output::{self, Rest};
use super::place::Place;
use crate::domain::job::{Artifact, Job, JobId, Log, Status};
use crate::store::{Event, News, StoreError, Stream, UnderWay};

/// How often the database is asked what a running job wrote.
const EVERY: Duration = Duration::from_millis(250);
/// How often whether a job that waits has moved, when nobody tells of it.
const SELDOM: Duration = Duration::from_secs(1);
/// How long the database or the store may fail before the client has to come again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many files are told at once.
const AT_ONCE: usize = 200;

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// A client that follows a job.
pub struct Watcher {
    api: Arc<Api>,
    id: JobId,
    news: News,
    closing: CancellationToken,
    place: Place,
    /// What the job came to, and has not been told.
    events: VecDeque<Event>,
    /// What is left of an attempt that is over: of which stream, and its rest.
    rest: Option<(usize, Rest)>,
    /// The streams of the attempt that were told to their ends.
    told: usize,
    /// What the job left, once that is known.
    artifacts: Option<VecDeque<Artifact>>,
    said: Instant,
    failing: Option<Instant>,
}

/// What a look came to.
enum Found {
    Messages(Vec<Message>),
    /// There may be more.
    More,
    /// Nothing for now; look again after so long, or when there is news.
    Nothing(Duration),
    End,
}

impl Watcher {
    /// Whoever goes on with a job from a place.
    pub fn new(api: &Arc<Api>, id: JobId, place: Place, closing: CancellationToken) -> Self {
        Self {
            api: Arc::clone(api),
            id,
            news: api.store.news_of(id),
            closing,
            place,
            events: VecDeque::new(),
            rest: None,
            told: 0,
            artifacts: None,
            said: Instant::now(),
            failing: None,
        }
    }

    async fn look(&mut self) -> Result<Found, StoreError> {
        if self.place.ended {
            return Ok(Found::End);
        }
        if self.rest.is_some() {
            return self.tell_rest().await;
        }
        if let Some(event) = self.events.front() {
            if event.status != Status::Started && self.has_output() {
                return self.begin_rest().await;
            }
            let Some(event) = self.events.pop_front() else { return Ok(Found::More) };
            self.place.event = event.id;
            self.come_to(event.status, event.attempt);
            return Ok(one(Message::status(&event).at(&self.place)));
        }
        let Some(mut job) = self.api.store.job(self.id).await? else { return Ok(Found::End) };
        if (Some(job.status), job.attempt) != (self.place.status, self.place.attempt) {
            return self.catch_up(&job).await;
        }
        match job.status {
            Status::Queued => Ok(Found::Nothing(SELDOM)),
            Status::Started => self.tell_more(job).await,
            Status::Completed | Status::Failed | Status::Canceled => Ok(self.tell_what_is_left(&mut job)),
        }
    }

    fn come_to(&mut self, status: Status, attempt: i64) {
        self.place.come_to(status, attempt);
        self.told = 0;
    }

    /// The job is where the client does not know it to be.
    async fn catch_up(&mut self, job: &Job) -> Result<Found, StoreError> {
        self.events = self.api.store.events_of(self.id, self.place.event).await?.into();
        if !self.events.is_empty() {
            return Ok(Found::More);
        }
        // How it came there is no longer known: only what its row says.
        if job.status.is_terminal() && job.attempt > 0 && self.place.attempt != job.attempt {
            self.come_to(Status::Started, job.attempt);
        }
        if job.status != Status::Started && self.has_output() {
            return self.begin_rest().await;
        }
        self.come_to(job.status, job.attempt);
        Ok(one(Message::status(job).at(&self.place)))
    }

    /// Whether the last attempt that was told of has streams that were not told to their ends.
    fn has_output(&self) -> bool {
        self.place.status == Some(Status::Started) && self.told < STREAMS.len()
    }

    /// The attempt is over; what was not told of it is kept.
    async fn begin_rest(&mut self) -> Result<Found, StoreError> {
        let asked = Asked { id: self.id, attempt: Some(self.place.attempt), stream: STREAMS[self.told] };
        let log = match source::find(&self.api.store, &asked).await {
            Ok(Where::Kept { log, .. } | Where::Last { log, .. }) => log,
            Ok(Where::Running { .. } | Where::Nothing) => Log::default(),
            Err(_) => return Err(StoreError::Unavailable("the job can't be read".into())),
        };
        self.rest = Some((self.told, Rest::of(log)));
        Ok(Found::More)
    }

    async fn tell_rest(&mut self) -> Result<Found, StoreError> {
        let Some((stream, rest)) = &mut self.rest else { return Ok(Found::More) };
        let stream = *stream;
        let next = rest.next(&self.api.blobs, &mut self.place.output[stream]).await;
        match next.map_err(|error| StoreError::Unavailable(error.to_string()))? {
            Some((start, text)) => Ok(one(Message::log(STREAMS[stream].as_str(), start, &text).at(&self.place))),
            None => {
                self.rest = None;
                self.told = stream + 1;
                Ok(Found::More)
            }
        }
    }

    /// What a running job has written and how far it is.
    async fn tell_more(&mut self, job: Job) -> Result<Found, StoreError> {
        let mut messages = Vec::new();
        for (index, stream) in STREAMS.into_iter().enumerate() {
            let piece = self.api.store.live(self.id, job.attempt, stream, self.place.output[index]).await?;
            let mut bytes = piece.bytes.as_slice();
            let mut start = piece.start;
            loop {
                // What is left of a piece is half a character, whose end comes with the next one.
                let (text, length) = output::text(bytes, false);
                if length == 0 {
                    break;
                }
                self.place.output[index] = start + length as u64;
                messages.push(Message::log(stream.as_str(), start, &text).at(&self.place));
                (bytes, start) = (&bytes[length..], start + length as u64);
            }
        }
        if let Some(progress) = job.progress {
            let hash = fingerprint(progress.percent, &progress.message);
            if hash != self.place.progress {
                self.place.progress = hash;
                let Job { id: job_id, user_id, name, attempt, .. } = job;
                let under_way = UnderWay { job_id, user_id, name, attempt, progress };
                messages.push(Message::progress(&under_way).at(&self.place));
            }
        }
        Ok(if messages.is_empty() { Found::Nothing(EVERY) } else { Found::Messages(messages) })
    }

    /// The files of a job that has ended, some at a time, then that it has.
    fn tell_what_is_left(&mut self, job: &mut Job) -> Found {
        let told = self.place.artifacts;
        let left = self.artifacts.get_or_insert_with(|| {
            let artifacts = job.ended.take().map(|ended| ended.artifacts).unwrap_or_default();
            artifacts.into_iter().skip(told).collect()
        });
        let mut messages = Vec::new();
        for artifact in left.drain(..left.len().min(AT_ONCE)) {
            self.place.artifacts += 1;
            messages.push(Message::artifact(artifact).at(&self.place));
        }
        if left.is_empty() {
            self.place.ended = true;
            messages.push(Message::end(&*job).at(&self.place));
        }
        Found::Messages(messages)
    }
}

fn one(message: Message) -> Found {
    Found::Messages(vec![message])
}

/// Tells one progress from another; never 0.
fn fingerprint(percent: f64, message: &str) -> u32 {
    // FNV-1a: the same in every process.
    let bytes = percent.to_bits().to_le_bytes().into_iter().chain(message.bytes());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)).max(1)
}

impl Source for Watcher {
    async fn next(&mut self) -> Option<Vec<Message>> {
        loop {
            let news = Arc::clone(self.news.signal());
            let told = news.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let pause = match self.look().await {
                Ok(found) => {
                    self.failing = None;
                    match found {
                        Found::Messages(messages) => {
                            self.said = Instant::now();
                            return Some(messages);
                        }
                        Found::More => continue,
                        Found::Nothing(pause) => pause,
                        Found::End => return None,
                    }
                }
                Err(error) if self.failing.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                    tracing::debug!(job = self.id, %error, "a job can't be followed now");
                    SELDOM
                }
                Err(error) => {
                    tracing::warn!(job = self.id, %error, "a job can't be followed");
                    return None;
                }
            };
            if self.said.elapsed() >= HEARTBEAT {
                self.said = Instant::now();
                return Some(Vec::new());
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = told => {}
                () = self.closing.cancelled() => return None,
            }
        }
    }
}
