//! Delivers what is to be delivered.
//!
//! What waits for one receiver is a lane. Each lane has a few places of its own, and a single one while its receiver
//! fails, so that one who is slow or dead keeps nobody else waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::secret::Secret;
use super::send::{Letter, Outcome, Post, Verdict};
use super::{SEALED_FOR, backoff, message};
use crate::config;
use crate::domain::webhook::{Attempted, Due, Next};
use crate::secrets::Secrets;
use crate::store::{Store, StoreError};

/// How many messages are on their way at once, and how many of one lane.
const ALL: usize = 256;
const PER_LANE: usize = 8;
/// How often to look when nothing signals a message: another process may have written one down.
const POLL: Duration = Duration::from_secs(1);
/// How much longer than an attempt a claim lasts.
const SPARE: Duration = Duration::from_secs(5);
/// How long those have that are on their way when the process ends.
const LAST: Duration = Duration::from_secs(3);

/// Delivers messages.
pub(super) struct Carrier {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    secrets: Secrets,
    post: Post,
    config: config::Webhooks,
    lanes: Mutex<HashMap<String, Lane>>,
    /// A place is free.
    free: Notify,
}

/// What is known of a receiver here and now.
#[derive(Default)]
struct Lane {
    running: usize,
    failing: bool,
}

impl Carrier {
    pub(super) fn new(store: Store, secrets: Secrets, post: Post, config: config::Webhooks) -> Self {
        let (lanes, free) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { store, secrets, post, config, lanes, free }) }
    }

    /// Works until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let (shared, tasks) = (&self.shared, TaskTracker::new());
        while !stop.is_cancelled() {
            if let Err(error) = shared.turn(&tasks).await {
                warn!(%error, "can't look for messages to webhooks; it is tried again");
                sleep(POLL).await;
            }
            tokio::select! {
                () = shared.store.message() => {}
                () = shared.free.notified() => {}
                () = sleep(POLL) => {}
                () = stop.cancelled() => {}
            }
        }
        tasks.close();
        // What is not delivered by then is sent again by whoever serves next.
        let _ = timeout(LAST, tasks.wait()).await;
    }
}

impl Shared {
    async fn turn(self: &Arc<Self>, tasks: &TaskTracker) -> Result<(), StoreError> {
        let lease = self.config.timeout + SPARE;
        for lane in self.store.due_lanes().await? {
            let places = self.places(&lane);
            if places == 0 {
                continue;
            }
            let due = self.store.claim_messages(&lane, u32::try_from(places).unwrap_or(1), lease).await?;
            for due in due {
                self.with(&lane, |lane| lane.running += 1);
                let (shared, lane) = (Arc::clone(self), lane.clone());
                tasks.spawn(async move { shared.carry(due, lane).await });
            }
        }
        Ok(())
    }

    /// How many more may be on their way in this lane.
    fn places(&self, lane: &str) -> usize {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = lanes.values().map(|lane| lane.running).sum();
        let (running, most) =
            lanes.get(lane).map_or((0, PER_LANE), |lane| (lane.running, if lane.failing { 1 } else { PER_LANE }));
        most.saturating_sub(running).min(ALL.saturating_sub(all))
    }

    fn with(&self, lane: &str, change: impl FnOnce(&mut Lane)) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = lanes.entry(lane.to_owned()).or_default();
        change(entry);
        if entry.running == 0 && !entry.failing {
            lanes.remove(lane);
        }
    }

    async fn carry(&self, due: Due, lane: String) {
        let Outcome { verdict, attempted } = match self.letter(&due) {
            Ok(letter) => self.post.send(letter).await,
            Err(why) => Outcome {
                verdict: Verdict::Refused(None),
                attempted: Attempted { error: Some(why), ..Attempted::default() },
            },
        };
        let next = match verdict {
            Verdict::Taken => Next::Delivered,
            Verdict::Gone => Next::Gone,
            Verdict::Refused(asked) => {
                backoff::pause(&self.config.retry_after, due.tries, asked).map_or(Next::GivenUp, Next::Again)
            }
        };
        self.tell(&due, &attempted, next);
        if let Err(error) = self.store.settle(due, attempted, next).await {
            // Its claim runs out, and then it is sent again.
            warn!(%error, "can't note what became of a message to a webhook");
        }
        self.with(&lane, |lane| {
            lane.running -= 1;
            lane.failing = matches!(verdict, Verdict::Refused(_));
        });
        self.free.notify_one();
    }

    fn letter(&self, due: &Due) -> Result<Letter, String> {
        let open = |sealed: &String| {
            let bytes = self.secrets.open(SEALED_FOR, sealed).map_err(|error| format!("its secret: {error}"))?;
            Secret::parse(&String::from_utf8_lossy(&bytes)).map_err(|right| format!("its secret {right}"))
        };
        Ok(Letter {
            url: due.url.clone(),
            id: due.message_id.clone(),
            body: message::body(due),
            secrets: due.secrets.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    fn tell(&self, due: &Due, attempted: &Attempted, next: Next) {
        let (webhook, message, attempt) = (due.webhook_id, &due.message_id, due.attempt);
        let error = attempted.error.as_deref().unwrap_or_default();
        match next {
            Next::Delivered => debug!(webhook, message, attempt, "delivered"),
            Next::Again(pause) => debug!(webhook, message, attempt, error, ?pause, "not delivered"),
            Next::GivenUp => warn!(webhook, message, attempt, error, "given up: a webhook was not told"),
            Next::Gone => warn!(webhook, message, attempt, "a webhook is disabled: its receiver answered 410 Gone"),
        }
    }
}
