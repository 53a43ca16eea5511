//! Who did what: a line in the log, and a row in the database that is written a moment later. No request waits for it,
//! and none fails because of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::caller::Caller;
use crate::auth::{By, Entry};
use crate::domain::job::JobId;
use crate::store::Store;

/// How many entries may wait; more are only in the log.
const WAITING: usize = 10_000;
/// How many are written together.
const TOGETHER: usize = 256;
/// Submissions of so long become one entry for each caller.
const EVERY: Duration = Duration::from_secs(5);
/// How many callers' submissions are added up at once.
const CALLERS: usize = 10_000;

/// Where to note it; cheap to clone. What waits is written until every clone is gone.
#[derive(Clone)]
pub struct Audit {
    notes: mpsc::Sender<Note>,
    submissions: Arc<Mutex<BTreeMap<By, Submissions>>>,
}

enum Note {
    Entry(Entry),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// Jobs that somebody submitted in the last seconds.
struct Submissions {
    count: u64,
    first: JobId,
    last: JobId,
    request_id: String,
}

impl Audit {
    /// Starts the task that writes.
    pub fn start(store: Store) -> Self {
        let (notes, inbox) = mpsc::channel(WAITING);
        let audit = Self { notes, submissions: Arc::default() };
        tokio::spawn(write(store, inbox, Arc::clone(&audit.submissions)));
        audit
    }

    /// Notes that the caller did something to `target`: `note(&caller, "webhook.create", id)`.
    pub fn note(&self, caller: &Caller, action: &str, target: impl std::fmt::Display) {
        let done = Entry::done(caller.by(), action, target);
        self.add(Entry { request_id: caller.request_id.clone(), ..done });
    }

    /// Notes that somebody tried to, and was refused.
    pub fn refused(&self, caller: &Caller, action: &str, target: &str, outcome: &str) {
        let done = Entry::done(caller.by(), action, target);
        self.add(Entry { request_id: caller.request_id.clone(), outcome: outcome.to_owned(), ..done });
    }

    /// Notes new jobs. There may be thousands in a second: those of some seconds become one entry.
    pub fn submitted(&self, caller: &Caller, ids: &[JobId]) {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return };
        let mut submissions = self.submissions.lock().unwrap_or_else(PoisonError::into_inner);
        let by = caller.by();
        if submissions.len() >= CALLERS && !submissions.contains_key(&by) {
            return;
        }
        let request_id = || caller.request_id.clone();
        let sum = submissions.entry(by).or_insert_with(|| Submissions {
            count: 0,
            first: *first,
            last: *last,
            request_id: request_id(),
        });
        sum.count += ids.len() as u64;
        sum.first = sum.first.min(*first);
        sum.last = sum.last.max(*last);
    }

    /// Waits until all that was noted is written, or could not be.
    pub async fn flush(&self) {
        let (written, told) = oneshot::channel();
        if self.notes.send(Note::Flush(written)).await.is_ok() {
            // Who does not answer has ended.
            drop(told.await);
        }
    }

    fn add(&self, entry: Entry) {
        let By { user_id, token, address, .. } = &entry.by;
        tracing::info!(
            target: "audit",
            action = entry.action,
            to = entry.target,
            outcome = entry.outcome,
            user = user_id,
            token,
            address,
            id = entry.request_id,
            "audit"
        );
        if self.notes.try_send(Note::Entry(entry)).is_err() {
            tracing::warn!("the audit log can't keep up; an entry is only here");
        }
    }
}

fn in_short(by: By, sum: Submissions) -> Entry {
    let Submissions { count, first, last, request_id } = sum;
    let target = if count == 1 { format!("job {first}") } else { format!("{count} jobs, {first} to {last}") };
    Entry { request_id, ..Entry::done(by, "job.submit", target) }
}

async fn write(store: Store, mut inbox: mpsc::Receiver<Note>, submissions: Arc<Mutex<BTreeMap<By, Submissions>>>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut notes = Vec::new();
    loop {
        let open = tokio::select! {
            received = inbox.recv_many(&mut notes, TOGETHER) => received > 0,
            _ = tick.tick() => true,
        };
        let (mut entries, mut flushed) = (Vec::new(), Vec::new());
        for note in notes.drain(..) {
            match note {
                Note::Entry(entry) => entries.push(entry),
                Note::Flush(written) => flushed.push(written),
            }
        }
        if entries.is_empty() || !flushed.is_empty() {
            let sums = std::mem::take(&mut *submissions.lock().unwrap_or_else(PoisonError::into_inner));
            entries.extend(sums.into_iter().map(|(by, sum)| in_short(by, sum)));
        }
        for together in entries.chunks(TOGETHER) {
            if let Err(error) = store.audit(together.to_vec()).await {
                tracing::warn!(%error, "entries of the audit log are only in this log");
            }
        }
        for written in flushed {
            // Who is not there any more needs no answer.
            let _ = written.send(());
        }
        if !open {
            return;
        }
    }
}
