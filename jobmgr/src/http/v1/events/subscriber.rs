//! The events of all jobs that a client is told: first what it has not seen, by the database, then what comes.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::caller::Caller;
use super::message::Message;
use super::place::Place;
use super::sse::{HEARTBEAT, Source};
use crate::domain::job::Status;
use crate::store::{Following, Heard, Position, Step, Store, StoreError, Told, UnderWay};

/// How long to wait after a failure of the database.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the database is asked before the client has to come again.
const TRIES: u32 = 20;

/// Which events.
pub struct Filter {
    /// Who asks.
    pub caller: Caller,
    /// Only those of jobs with this name.
    pub name: Option<String>,
    /// Only those that bring a job to this status.
    pub status: Option<Status>,
}

impl Filter {
    fn takes(&self, user_id: i64, name: &str, status: Status) -> bool {
        self.caller.sees(user_id)
            && self.name.as_ref().is_none_or(|own| own == name)
            && self.status.is_none_or(|own| own == status)
    }
}

/// A client that follows the events.
pub struct Subscriber {
    store: Store,
    filter: Filter,
    closing: CancellationToken,
    following: Following,
    position: Position,
    /// It has told a part of what there is to tell of this event.
    within: Option<(i64, usize)>,
    doing: Doing,
    tries: u32,
    said: Instant,
}

/// What it does next.
#[derive(Clone, Copy, PartialEq)]
enum Doing {
    /// Looks whether events are lost that come next.
    Begin,
    /// Reads what it has not seen.
    Look,
    /// Waits for what comes.
    Follow,
}

impl Subscriber {
    /// Whoever goes on after a place, or begins now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(
        store: &Store,
        filter: Filter,
        after: Option<Place>,
        closing: CancellationToken,
    ) -> Result<Self, StoreError> {
        // It follows before it looks, so that nothing comes between the two.
        let following = store.follow();
        let (position, within, doing) = match after {
            Some(Place { position, within }) => (position, within, Doing::Begin),
            None => (store.newest_event().await?, None, Doing::Look),
        };
        let store = store.clone();
        Ok(Self { store, filter, closing, following, position, within, doing, tries: 0, said: Instant::now() })
    }

    async fn turn(&mut self) -> Result<Vec<Message>, StoreError> {
        match self.doing {
            Doing::Begin => self.begin().await,
            Doing::Look => self.look().await,
            Doing::Follow => Ok(self.follow().await),
        }
    }

    async fn begin(&mut self) -> Result<Vec<Message>, StoreError> {
        let mut messages = Vec::new();
        if let Some(next) = self.store.after_lost_events(&self.position).await? {
            messages.push(Message::lost().at(&next));
            (self.position, self.within) = (next, None);
        }
        self.doing = Doing::Look;
        Ok(messages)
    }

    async fn look(&mut self) -> Result<Vec<Message>, StoreError> {
        let mut position = self.position.clone();
        let (told, next, more) = self.store.told_after(position.clone()).await?;
        let mut messages = Vec::new();
        for (told, after) in told {
            self.say(&told, &position, &after, &mut messages);
            position = after;
        }
        self.position = next;
        self.doing = if more { Doing::Look } else { Doing::Follow };
        Ok(messages)
    }

    /// What comes, and all that has come with it.
    async fn follow(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        let heartbeat = self.said + HEARTBEAT;
        let Ok(heard) = tokio::time::timeout_at(heartbeat, self.following.next()).await else { return messages };
        let mut next = Some(heard);
        while let Some(heard) = next.take() {
            match heard {
                Heard::Events(events) => self.take(&events, &mut messages),
                Heard::Progress(jobs) => self.say_progress(&jobs, &mut messages),
                Heard::Look => self.doing = Doing::Look,
            }
            if self.doing == Doing::Follow && messages.len() < 1000 {
                next = self.following.now();
            }
        }
        messages
    }

    fn take(&mut self, events: &[Told], messages: &mut Vec<Message>) {
        let mut position = std::mem::take(&mut self.position);
        for told in events {
            let before = position.clone();
            match position.step_to(told.event.id, told.event.at_ms, told.read) {
                Step::New => self.say(told, &before, &position, messages),
                Step::Seen => {}
                Step::Later => {
                    self.doing = Doing::Look;
                    break;
                }
            }
        }
        self.position = position;
    }

    /// All that there is to say of an event, but for what was said before.
    fn say(&mut self, told: &Told, before: &Position, after: &Position, messages: &mut Vec<Message>) {
        let event = &told.event;
        let said = self.within.take_if(|(within, _)| *within == event.id).map_or(0, |(_, said)| said);
        if !self.filter.takes(event.user_id, &event.name, event.status) {
            return;
        }
        let mut all = vec![Message::status(event)];
        if event.status.is_terminal() {
            all.extend(told.artifacts.iter().cloned().map(Message::artifact));
            all.push(Message::end(event));
        }
        let last = all.len() - 1;
        for (index, message) in all.into_iter().enumerate().skip(said) {
            let within = (index < last).then_some((event.id, index + 1));
            let position = if within.is_some() { before } else { after };
            messages.push(message.at(Place { position: position.clone(), within }));
        }
    }

    fn say_progress(&self, jobs: &[UnderWay], messages: &mut Vec<Message>) {
        let mine = jobs.iter().filter(|job| self.filter.takes(job.user_id, &job.name, Status::Started));
        messages.extend(mine.map(Message::progress));
    }
}

impl Source for Subscriber {
    async fn next(&mut self) -> Option<Vec<Message>> {
        let closing = self.closing.clone();
        loop {
            match closing.run_until_cancelled(self.turn()).await? {
                Ok(messages) => {
                    self.tries = 0;
                    // What is not for this client is not told in any way.
                    if !messages.is_empty() || self.said.elapsed() >= HEARTBEAT {
                        self.said = Instant::now();
                        return Some(messages);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "events can't be read now");
                    self.tries += 1;
                    if self.tries == TRIES {
                        return None;
                    }
                    closing.run_until_cancelled(tokio::time::sleep(AGAIN)).await?;
                }
            }
        }
    }
}
