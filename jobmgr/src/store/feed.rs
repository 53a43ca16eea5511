//! Events as they come, read once per process for all who follow them.
//!
//! Nobody reads while nobody follows. A follower that is slower than the events, or that began before the reader did,
//! is told to look for itself, from where it stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::{AnyConnection, Row};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::read::progress_from;
use super::statements::Statements;
use super::{Event, Position, Read, Shared, Store, StoreError};
use crate::domain::job::{Artifact, JobId, Progress};

/// How many pages wait for a follower that is slow.
const WAITING: usize = 32;
/// So many artifacts of a job are told with its end; of more, none is.
pub const ARTIFACTS: i64 = 100;
/// How many events are read at once.
const PAGE: u32 = 200;
/// How long what comes is gathered.
const GAP: Duration = Duration::from_millis(2);
/// How often is looked where nobody tells of changes: just after there was something, and after a long while without.
/// Between the two it is a small part of that while.
const OFTEN: Duration = Duration::from_millis(5);
const SELDOM: Duration = Duration::from_millis(250);
const PART: u32 = 50;
/// A look may take this part of the time until the next one, so that a database with much to do is not asked more.
const LOOKING: u32 = 10;
/// How often is looked how far jobs are.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long is read on after the last follower, since there may be another one soon.
const LINGER: Duration = Duration::from_secs(5);
/// How long to wait after a failure of the database.
const AGAIN: Duration = Duration::from_millis(500);

/// An event, and with the end of a job what that left.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What happened.
    pub event: Event,
    /// The job's artifacts, unless they are more than 100.
    pub artifacts: Vec<Artifact>,
    /// For [`Position::step_to`].
    pub read: Read,
}

/// A job that says how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct UnderWay {
    /// The job.
    pub job_id: JobId,
    /// Whose it is.
    pub user_id: i64,
    /// The name of its jobspec.
    pub name: String,
    /// Which run of it.
    pub attempt: i64,
    /// How far it is.
    pub progress: Progress,
}

/// What followers are given.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Events, each once, those of a job in their order.
    Events(Arc<Vec<Told>>),
    /// Jobs that say something else than before.
    Progress(Arc<Vec<UnderWay>>),
    /// Some are missing: look for them from where you stand.
    Look,
}

/// Who reads, and who follows.
pub(super) struct Feed {
    out: broadcast::Sender<Heard>,
    followers: watch::Sender<usize>,
    begun: AtomicBool,
}

/// Somebody follows the events; until it is dropped they are read.
pub struct Following {
    feed: Arc<Feed>,
    news: broadcast::Receiver<Heard>,
}

impl Following {
    /// What comes next.
    pub async fn next(&mut self) -> Heard {
        match self.news.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => Heard::Look,
            // The store is closed; nothing comes any more.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// What has come already.
    pub fn now(&mut self) -> Option<Heard> {
        match self.news.try_recv() {
            Ok(news) => Some(news),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Heard::Look),
            Err(_) => None,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.feed.followers.send_modify(|followers| *followers -= 1);
    }
}

impl Feed {
    pub(super) fn new() -> Arc<Feed> {
        let (out, _) = broadcast::channel(WAITING);
        Arc::new(Feed { out, followers: watch::channel(0).0, begun: AtomicBool::new(false) })
    }

    fn tell(&self, news: Heard) {
        // Nobody may follow just now.
        drop(self.out.send(news));
    }
}

impl Store {
    /// Follows the events of all jobs from now on. Who wants to miss none looks first, with [`told_after`](Self::told_after).
    pub fn follow(&self) -> Following {
        let feed = Arc::clone(&self.shared.feed);
        let news = feed.out.subscribe();
        feed.followers.send_modify(|followers| *followers += 1);
        if !feed.begun.swap(true, Ordering::Relaxed) {
            tokio::spawn(read(Arc::downgrade(&self.shared), Arc::clone(&feed)));
        }
        Following { feed, news }
    }

    /// The next events after a position, some at a time, with what their jobs left, and where one stands after each;
    /// then where to look on from, and whether there may be more already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn told_after(&self, position: Position) -> Result<(Vec<(Told, Position)>, Position, bool), StoreError> {
        let page = self.events(position, None, PAGE).await?;
        let read = page.read;
        let few = 1..=ARTIFACTS;
        let ended = page.events.iter().filter(|event| event.status.is_terminal() && few.contains(&event.artifacts));
        let ended: Vec<JobId> = ended.map(|event| event.job_id).collect();
        let mut artifacts: HashMap<JobId, Vec<Artifact>> = HashMap::new();
        if !ended.is_empty() {
            for artifact in self.artifacts_in(ended).await? {
                artifacts.entry(artifact.job_id).or_default().push(artifact);
            }
        }
        let told = |event: Event| {
            let ended = event.status.is_terminal();
            let artifacts = if ended { artifacts.remove(&event.job_id) } else { None };
            Told { event, artifacts: artifacts.unwrap_or_default(), read }
        };
        let told = page.events.into_iter().map(told).zip(page.standing).collect();
        Ok((told, page.next, page.more))
    }

    /// Jobs that run and say how far they are, at most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn under_way(&self) -> Result<Vec<UnderWay>, StoreError> {
        self.read(|connection, statements| Box::pin(under_way(connection, statements))).await
    }
}

async fn under_way(connection: &mut AnyConnection, statements: &Statements) -> Result<Vec<UnderWay>, StoreError> {
    let mut jobs = Vec::new();
    for row in statements.query(&statements.under_way).fetch_all(connection).await? {
        let Some(progress) = progress_from(&row.try_get::<String, _>(4)?) else { continue };
        let (job_id, user_id) = (row.try_get(0)?, row.try_get(1)?);
        jobs.push(UnderWay { job_id, user_id, name: row.try_get(2)?, attempt: row.try_get(3)?, progress });
    }
    Ok(jobs)
}

/// Reads while somebody follows.
async fn read(shared: Weak<Shared>, feed: Arc<Feed>) {
    let mut followers = feed.followers.subscribe();
    let Some(mut changes) = shared.upgrade().map(|shared| shared.wake.changes.subscribe()) else { return };
    while followers.wait_for(|followers| *followers > 0).await.is_ok() {
        let Some(store) = shared.upgrade().map(|shared| Store { shared }) else { return };
        match store.newest_event().await {
            Ok(position) => {
                // What came before this is nobody's but who looks.
                feed.tell(Heard::Look);
                store.shared.wake.news.tell_all();
                drop(store);
                let now = Instant::now();
                let mut reader = Reader { position, said: HashMap::new(), looked: None, needed: now, news: now };
                while let Some(store) = shared.upgrade().map(|shared| Store { shared })
                    && reader.is_needed(*followers.borrow())
                {
                    changes.borrow_and_update();
                    let pause = reader.turn(&store, &feed).await;
                    drop(store);
                    match pause {
                        Pause::None => {}
                        Pause::For(pause) => tokio::time::sleep(pause).await,
                        Pause::UntilAChange(most) => drop(tokio::time::timeout(most, changes.changed()).await),
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "events can't be read now");
                drop(store);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

struct Reader {
    position: Position,
    /// What jobs said last.
    said: HashMap<JobId, UnderWay>,
    looked: Option<Instant>,
    /// When somebody followed last.
    needed: Instant,
    /// When something was there last.
    news: Instant,
}

enum Pause {
    None,
    For(Duration),
    /// For so long at most.
    UntilAChange(Duration),
}

impl Reader {
    fn is_needed(&mut self, followers: usize) -> bool {
        if followers > 0 {
            self.needed = Instant::now();
        }
        self.needed.elapsed() < LINGER
    }

    /// How long it may be until the next look; `told`: other processes tell what they do; `took`: how long the last look was.
    fn patience(&self, told: bool, took: Duration) -> Duration {
        if told { SELDOM } else { (self.news.elapsed() / PART).max(took * LOOKING).clamp(OFTEN, SELDOM) }
    }

    async fn turn(&mut self, store: &Store, feed: &Feed) -> Pause {
        if self.looked.is_none_or(|looked| looked.elapsed() >= PROGRESS) {
            self.looked = Some(Instant::now());
            match store.under_way().await {
                Ok(jobs) => self.tell_progress(jobs, feed),
                Err(error) => tracing::debug!(%error, "can't look how far jobs are"),
            }
        }
        let asked = Instant::now();
        match store.told_after(self.position.clone()).await {
            Ok((told, next, more)) => {
                let took = asked.elapsed();
                self.position = next;
                let told: Vec<Told> = told.into_iter().map(|(told, _)| told).collect();
                let any = !told.is_empty();
                told.iter().for_each(|told| store.shared.wake.news.tell(told.event.job_id));
                if any {
                    self.news = Instant::now();
                    feed.tell(Heard::Events(Arc::new(told)));
                }
                match (more, any) {
                    (true, _) => Pause::None,
                    (false, true) => Pause::For(GAP),
                    (false, false) => Pause::UntilAChange(self.patience(store.shared.wake.is_told(), took)),
                }
            }
            Err(error) => {
                tracing::debug!(%error, "events can't be read now");
                Pause::For(AGAIN)
            }
        }
    }

    fn tell_progress(&mut self, jobs: Vec<UnderWay>, feed: &Feed) {
        let news: Vec<UnderWay> = jobs.iter().filter(|job| self.said.get(&job.job_id) != Some(*job)).cloned().collect();
        self.said = jobs.into_iter().map(|job| (job.job_id, job)).collect();
        if !news.is_empty() {
            feed.tell(Heard::Progress(Arc::new(news)));
        }
    }
}
