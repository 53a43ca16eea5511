//! Makes messages of events.
//!
//! How far events have been read is noted in the transaction that writes their messages down, and only by who knows how
//! far that was before: so two processes at once do no harm, and the duty only saves them the work.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use super::message;
use crate::domain::job::{Job, JobId};
use crate::domain::webhook::{Kind, Message, OwnWebhook, Webhook};
use crate::store::{Event, Store, StoreError};

/// What only one process does at a time, and for how long it has it.
const DUTY: &str = "webhooks";
const HELD: Duration = Duration::from_secs(6);
/// How often to look when nothing signals a change.
const POLL: Duration = Duration::from_secs(1);
/// Changes that come faster than this are looked at together.
const GAP: Duration = Duration::from_millis(20);
/// How often it is noted that nobody wanted to be told.
const SELDOM: Duration = Duration::from_secs(60);
/// How many events are looked at at once.
const PAGE: u32 = 500;

/// Makes messages, while no other process does.
pub(super) struct Clerk {
    store: Store,
    me: String,
}

/// What a look came to.
#[derive(PartialEq, Eq)]
enum Look {
    /// There is more already.
    More,
    /// All that there was.
    Done,
    /// Nothing is to be done here now.
    Nothing,
}

/// What needs no second look for a while.
#[derive(Default)]
struct Known {
    /// Whether the duty is ours, and until when that holds.
    duty: Option<(bool, Instant)>,
    /// When it was last noted that nobody wants to be told of anything.
    noted: Option<Instant>,
}

impl Clerk {
    pub(super) fn new(store: Store) -> Self {
        Self { store, me: format!("clerk-{}", uuid::Uuid::new_v4().simple()) }
    }

    /// Works until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut changed = self.store.changed();
        let mut known = Known::default();
        loop {
            changed.borrow_and_update();
            let look = self.look(&mut known).await.unwrap_or_else(|error| {
                warn!(%error, "can't make messages for webhooks; it is tried again");
                Look::Nothing
            });
            let pause = async {
                match look {
                    Look::More => {}
                    Look::Nothing => sleep(POLL).await,
                    Look::Done => {
                        // Whether it was told or not.
                        let _ = timeout(POLL, changed.changed()).await;
                        sleep(GAP).await;
                    }
                }
            };
            tokio::select! {
                () = pause => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, known: &mut Known) -> Result<Look, StoreError> {
        if !self.store.has_webhooks().await? {
            self.skip(known).await?;
            return Ok(Look::Nothing);
        }
        if !self.has_duty(known).await? {
            return Ok(Look::Nothing);
        }
        self.step().await
    }

    /// Nobody wants to be told of what has happened until now.
    async fn skip(&self, known: &mut Known) -> Result<(), StoreError> {
        let now = Instant::now();
        if known.noted.is_some_and(|at| now < at + SELDOM) {
            return Ok(());
        }
        let (told, newest) = (self.store.made_into_messages().await?, self.store.newest_event().await?);
        // Once more: who has come meanwhile may have been told of something before `newest`.
        if told != newest && !self.store.has_webhooks().await? {
            self.store.note(&told, &newest, Vec::new()).await?;
        }
        known.noted = Some(now);
        Ok(())
    }

    async fn has_duty(&self, known: &mut Known) -> Result<bool, StoreError> {
        let now = Instant::now();
        if let Some((ours, until)) = known.duty
            && now < until
        {
            return Ok(ours);
        }
        let ours = self.store.take_duty(&self.me, DUTY, HELD).await?;
        // Well before it ends, so that nobody else takes it.
        known.duty = Some((ours, now + HELD / 3));
        Ok(ours)
    }

    async fn step(&self) -> Result<Look, StoreError> {
        let from = self.store.made_into_messages().await?;
        let found = self.store.events(from.clone(), None, PAGE).await?;
        if found.next == from {
            return Ok(Look::Done);
        }
        let messages = self.messages(found.events).await?;
        self.store.note(&from, &found.next, messages).await?;
        Ok(if found.more { Look::More } else { Look::Done })
    }

    async fn messages(&self, events: Vec<Event>) -> Result<Vec<Message>, StoreError> {
        let mut webhooks = self.store.webhooks().await?;
        webhooks.retain(|webhook| webhook.enabled);
        let ends: Vec<JobId> =
            events.iter().filter(|event| Kind::from(event.status).is_end()).map(|event| event.job_id).collect();
        let own = self.store.own_webhooks(ends).await?;
        let mut own: BTreeMap<JobId, OwnWebhook> = own.into_iter().collect();
        let wanted = |event: &Event| {
            let kind = Kind::from(event.status);
            own.contains_key(&event.job_id) || webhooks.iter().any(|webhook| webhook.wanted.events.contains(&kind))
        };
        let mut ids: Vec<JobId> = events.iter().filter(|event| wanted(event)).map(|event| event.job_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let jobs: BTreeMap<JobId, Job> = self.store.jobs(ids).await?.into_iter().map(|job| (job.id, job)).collect();
        let mut messages = Vec::new();
        for event in events {
            let Some(job) = jobs.get(&event.job_id) else { continue };
            let kind = Kind::from(event.status);
            let told = webhooks.iter().filter(|webhook| is_told(webhook, &event, job));
            messages.extend(told.map(|webhook| write(&event, job, webhook.id, None)));
            if kind.is_end()
                && let Some(own) = own.remove(&event.job_id)
            {
                messages.push(write(&event, job, 0, Some(own)));
            }
        }
        Ok(messages)
    }
}

/// Whether the webhook is told of this; not of what happened before it was registered or enabled.
fn is_told(webhook: &Webhook, event: &Event, job: &Job) -> bool {
    event.at_ms >= webhook.enabled_ms && webhook.wanted.covers(event.status.into(), job)
}

fn write(event: &Event, job: &Job, webhook_id: i64, own: Option<OwnWebhook>) -> Message {
    Message {
        webhook_id,
        lane: own.as_ref().map_or_else(|| super::lane(webhook_id), |own| lane_of(&own.url)),
        own,
        message_id: super::message_id(),
        job_id: Some(job.id),
        kind: event.status.into(),
        time_ms: event.at_ms,
        data: message::of_job(job, event.status.as_str(), event.attempt).to_string(),
    }
}

/// What waits for the same server.
fn lane_of(url: &str) -> String {
    let origin = Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let hash: String = Sha256::digest(origin).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("o{hash}")
}

#[cfg(test)]
mod tests {
    use super::lane_of;

    #[test]
    fn a_server_has_one_lane_whatever_the_path() {
        assert_eq!(lane_of("https://Example.org/a?b"), lane_of("https://example.org:443/c"));
        assert_ne!(lane_of("https://example.org/"), lane_of("https://example.org:8443/"));
        assert_eq!(lane_of("https://example.org/").len(), 65);
    }
}
