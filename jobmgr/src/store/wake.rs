//! Hints that something is there to do. Each of them may be lost: whoever waits for one also looks now and then.
//!
//! Within a process they are signals. Between processes PostgreSQL carries them, by LISTEN and NOTIFY on connections
//! of their own: a NOTIFY in a transaction that others wait for would make all of them wait for each other's commit.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::news::Desk;
use crate::domain::job::JobId;

const CHANNEL: &str = "jobmgr";
/// Signals of work that come faster than this go out as one.
const GAP: Duration = Duration::from_millis(5);
/// How long to wait after the server went away.
const AGAIN: Duration = Duration::from_secs(2);
/// A connection that has said nothing for so long is asked whether it is still there: one whose other end is gone
/// without a word says nothing either.
const QUIET: Duration = Duration::from_secs(20);
/// How many cancellations may wait for somebody who is slow; who misses one finds it when it looks.
const CANCELS: usize = 256;

/// Who tells, and who is told.
pub(super) struct Wake {
    pub(super) work: Notify,
    /// The same, for those who are all to look.
    pub(super) any: Notify,
    pub(super) canceled: broadcast::Sender<JobId>,
    pub(super) news: Arc<Desk>,
    /// Changes whenever a job did.
    pub(super) changes: watch::Sender<u64>,
    /// A message is to be sent.
    pub(super) messages: Notify,
    /// To other processes, where there is a way.
    out: Option<mpsc::Sender<Hint>>,
}

enum Hint {
    Work(u64),
    Cancel(JobId),
    Changed,
}

impl Wake {
    /// For a database that carries no hints.
    pub(super) fn within() -> Arc<Wake> {
        Arc::new(Self::to(None))
    }

    /// Whether other processes tell what they do.
    pub(super) fn is_told(&self) -> bool {
        self.out.is_some()
    }

    fn to(out: Option<mpsc::Sender<Hint>>) -> Self {
        Self {
            work: Notify::new(),
            any: Notify::new(),
            canceled: broadcast::channel(CANCELS).0,
            news: Arc::default(),
            changes: watch::channel(0).0,
            messages: Notify::new(),
            out,
        }
    }

    /// For PostgreSQL at this URL.
    pub(super) fn by_postgres(url: &str) -> Arc<Wake> {
        let (out, hints) = mpsc::channel(CANCELS);
        let wake = Arc::new(Self::to(Some(out)));
        // Tells this process from the others.
        let me = uuid::Uuid::new_v4().simple().to_string();
        tokio::spawn(send(url.to_owned(), me.clone(), hints));
        tokio::spawn(listen(url.to_owned(), me, Arc::downgrade(&wake)));
        wake
    }

    /// So many jobs became runnable.
    pub(super) fn work(&self, jobs: u64) {
        self.signal(jobs);
        self.hint(Hint::Work(jobs));
    }

    fn signal(&self, jobs: u64) {
        // More than there are slots does not help: who finds one job looks for the next.
        (0..jobs.min(64)).for_each(|_| self.work.notify_one());
        self.any.notify_waiters();
    }

    /// So many of this process are to look.
    pub(super) fn look_again(&self, count: u64) {
        self.signal(count);
    }

    /// Somebody asked for the end of a job.
    pub(super) fn cancel(&self, id: JobId) {
        // Nobody listens in a process without a worker.
        drop(self.canceled.send(id));
        self.hint(Hint::Cancel(id));
    }

    /// A job changed; who looks for events finds one.
    pub(super) fn changed(&self) {
        self.tell_of_change();
        self.hint(Hint::Changed);
    }

    fn tell_of_change(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn hint(&self, hint: Hint) {
        if let Some(out) = &self.out {
            // One that does not fit is one among many.
            drop(out.try_send(hint));
        }
    }
}

/// Sends hints on a connection of its own; what can't be sent is lost.
async fn send(url: String, me: String, mut hints: mpsc::Receiver<Hint>) {
    let mut connection = None;
    while let Some(first) = hints.recv().await {
        let mut cancels = Vec::new();
        let mut work = 0;
        let mut changed = false;
        let mut next = Some(first);
        while let Some(hint) = next {
            match hint {
                Hint::Work(jobs) => work += jobs,
                Hint::Cancel(id) => cancels.push(id),
                Hint::Changed => changed = true,
            }
            next = hints.try_recv().ok();
        }
        let words = (work > 0).then(|| format!("work {work} {me}")).into_iter();
        let words = words.chain(changed.then(|| format!("changed 0 {me}")));
        let words: Vec<String> = words.chain(cancels.iter().map(|id| format!("cancel {id}"))).collect();
        match tokio::time::timeout(AGAIN, notify(&url, &mut connection, &words)).await {
            Ok(Ok(())) => {}
            _ => connection = None,
        }
        tokio::time::sleep(GAP).await;
    }
}

async fn notify(url: &str, slot: &mut Option<PgConnection>, words: &[String]) -> Result<(), sqlx::Error> {
    let connection = match slot {
        Some(connection) => connection,
        None => {
            let options: sqlx::postgres::PgConnectOptions = url.parse()?;
            let mut connection = options.connect().await?;
            // A hint need not be on disk before it is told.
            sqlx::query("set synchronous_commit = off").execute(&mut connection).await?;
            slot.insert(connection)
        }
    };
    for word in words {
        let query = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(word);
        query.execute(&mut *connection).await?;
    }
    connection.ping().await
}

/// Passes on what other processes say.
async fn listen(url: String, me: String, wake: std::sync::Weak<Wake>) {
    while wake.strong_count() > 0 {
        if let Err(error) = hear(&url, &me, &wake).await {
            tracing::debug!(%error, "the database's notifications can't be heard; polling goes on");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear(url: &str, me: &str, wake: &std::sync::Weak<Wake>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let Ok(said) = tokio::time::timeout(QUIET, listener.recv()).await else {
            if wake.strong_count() == 0 {
                return Ok(());
            }
            answers(&mut listener).await?;
            continue;
        };
        let said = said?;
        let Some(wake) = wake.upgrade() else { return Ok(()) };
        let mut words = said.payload().split(' ');
        match (words.next(), words.next().and_then(|number| number.parse().ok()), words.next()) {
            (Some("cancel"), Some(id), _) => drop(wake.canceled.send(id)),
            (Some("changed"), _, Some(from)) if from != me => wake.tell_of_change(),
            (Some("work"), Some(jobs), Some(from)) if from != me => wake.signal(u64::try_from(jobs).unwrap_or(1)),
            _ => {}
        }
    }
}

/// Asks whether the other end is there, with what changes nothing.
async fn answers(listener: &mut PgListener) -> Result<(), sqlx::Error> {
    let asked = tokio::time::timeout(AGAIN, listener.execute("listen jobmgr"));
    let silent = || sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not answer"));
    asked.await.map_err(|_| silent())?.map(drop)
}
