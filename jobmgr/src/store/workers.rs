//! The processes that serve this database, what they have, and what only one of them does at a time.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::dialect::{Dialect, Text};
use super::statements::Statements;
use super::writer::Op;
use super::{Store, StoreError, millis};
use crate::domain::gpu::Gpu;

type Outcome<T = ()> = Result<T, sqlx::Error>;

/// A process that serves this database.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// Unique over all processes and time.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The machine's name.
    pub host: String,
    /// Its jobmgr's version.
    pub version: String,
    /// How many jobs it runs at once; 0: it only answers over HTTP.
    pub slots: i64,
    /// What it has, for `Requires`.
    pub labels: Vec<String>,
    /// Which store it writes to: the same text for the same store.
    pub storage: String,
    /// `active` or `draining`.
    pub state: String,
    /// Which GPUs it has.
    pub gpus: Vec<Gpu>,
}

/// A process as the others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// What it says of itself.
    pub presence: Presence,
    /// When it started, in Unix milliseconds of the database's clock.
    pub started_ms: i64,
    /// When it last said that it is there.
    pub heartbeat_ms: i64,
    /// Whether that is recent enough.
    pub alive: bool,
}

/// A jobspec that a worker has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in lower-case hexadecimal.
    pub hash: String,
    /// What an API process needs to know of it, as JSON.
    pub about: String,
}

impl Store {
    /// Tells the others that this process is there; they believe it for `alive`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn heartbeat(&self, presence: Presence, alive: Duration) -> Result<(), StoreError> {
        self.worker(Write::Heartbeat(Box::new(presence), alive)).await.map(drop)
    }

    /// Publishes all jobspecs that a worker has, instead of those that it had before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publish(&self, worker: &str, offers: Vec<Offer>) -> Result<(), StoreError> {
        self.worker(Write::Offers(worker.to_owned(), offers)).await.map(drop)
    }

    /// Takes a process out of the list of workers; what it published is remembered until it is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave(&self, worker: &str) -> Result<(), StoreError> {
        self.worker(Write::Leave(worker.to_owned())).await.map(drop)
    }

    /// Asks a worker to take no more jobs; `false`: there is none of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_to_drain(&self, worker: &str) -> Result<bool, StoreError> {
        self.worker(Write::Drain(worker.to_owned())).await.map(|moved| moved > 0)
    }

    /// Whether somebody has asked this worker to take no more jobs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drain_asked(&self, worker: &str) -> Result<bool, StoreError> {
        let worker = worker.to_owned();
        self.read(move |connection, statements| {
            let query = statements.query(&statements.workers.drain_asked).bind(worker.clone());
            Box::pin(async move { Ok(query.fetch_optional(connection).await?.is_some()) })
        })
        .await
    }

    /// Forgets processes that have been silent for so long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_silent(&self, silence: Duration) -> Result<u64, StoreError> {
        self.worker(Write::Forget(silence)).await
    }

    /// Takes over what only one process does at a time; `false`: another one has it. It ends by itself after `time`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_duty(&self, worker: &str, duty: &'static str, time: Duration) -> Result<bool, StoreError> {
        self.worker(Write::Duty(worker.to_owned(), duty, time)).await.map(|moved| moved > 0)
    }

    async fn worker(&self, write: Write) -> Result<u64, StoreError> {
        self.shared.writer.write(Op::Worker(write)).await.map(|done| done.moved)
    }

    /// All processes that serve this database, and those that have been silent for a while.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.read(|connection, statements| Box::pin(self::all(connection, statements))).await
    }

    /// The jobspecs that living workers have; of each name the one of the worker that started last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn offers(&self) -> Result<Vec<Offer>, StoreError> {
        self.read(|connection, statements| Box::pin(self::offers(connection, statements, true))).await
    }

    /// The same, of workers that have gone too, as long as they are remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_offers(&self) -> Result<Vec<Offer>, StoreError> {
        self.read(|connection, statements| Box::pin(self::offers(connection, statements, false))).await
    }

    /// The names of the jobspecs that living workers have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn offered(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection, statements| Box::pin(self::offered(connection, statements))).await
    }
}

/// What is written about workers.
pub(super) enum Write {
    /// That it is there, for so long.
    Heartbeat(Box<Presence>, Duration),
    /// All that it offers.
    Offers(String, Vec<Offer>),
    /// That it is gone.
    Leave(String),
    /// That it is to take no more jobs.
    Drain(String),
    /// Forgets those who have been silent for so long.
    Forget(Duration),
    /// Takes a duty for so long: by whom, what.
    Duty(String, &'static str, Duration),
}

/// The statements of this file.
pub(super) struct Texts {
    add: Text,
    heartbeat: Text,
    remove: Text,
    leave: Text,
    drain: Text,
    drain_asked: Text,
    known: Text,
    remove_offers: Text,
    silent: Text,
    all: Text,
    add_offer: Text,
    offers: Text,
    offered: Text,
    add_duty: Text,
    take_duty: Text,
}

impl Texts {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = |template: &str| dialect.text(template);
        Self {
            add: text(
                "insert into workers (name, host, version, slots, labels, storage, state, gpus, started_at, \
                 heartbeat_at, alive_until, id) values (?, ?, ?, ?, ?, ?, ?, ?, {now}, {now}, {now} + ?, ?)",
            ),
            heartbeat: text(
                "update workers set name = ?, host = ?, version = ?, slots = ?, labels = ?, storage = ?, state = ?, \
                 gpus = ?, heartbeat_at = {now}, alive_until = {now} + ? where id = ?",
            ),
            remove: text("delete from workers where id = ?"),
            leave: text("update workers set state = 'gone', alive_until = {now} where id = ?"),
            drain: text(
                "update workers set drain_at = {now} \
                 where id = ? and state <> 'gone'",
            ),
            drain_asked: text("select id from workers where id = ? and drain_at is not null"),
            known: text(
                "select offers.name, hash, about from offers join workers on workers.id = offers.worker \
                 order by offers.name, workers.started_at desc",
            ),
            remove_offers: text("delete from offers where worker = ?"),
            silent: text("select id from workers where alive_until < {now} - ? order by id limit 100{skip}"),
            all: text(
                "select id, name, host, version, slots, labels, storage, state, started_at, heartbeat_at, \
                 alive_until - {now}, coalesce(drain_at, 0), gpus from workers where state <> 'gone' order by started_at, id",
            ),
            add_offer: text("insert into offers (worker, name, hash, about) values (?, ?, ?, ?)"),
            offers: text(
                "select offers.name, hash, about from offers join workers on workers.id = offers.worker \
                 where alive_until > {now} order by offers.name, workers.started_at desc",
            ),
            offered: text(
                "select distinct offers.name from offers join workers on workers.id = offers.worker \
                 where alive_until > {now}",
            ),
            add_duty: text(&dialect.insert_new("duties (name, done_by, held_until) values (?, '', 0)")),
            take_duty: text(
                "update duties set done_by = ?, held_until = {now} + ? where name = ? \
                 and (held_until < {now} or done_by = ?)",
            ),
        }
    }
}

pub(super) async fn apply(connection: &mut AnyConnection, statements: &Statements, write: &Write) -> Outcome<u64> {
    match write {
        Write::Heartbeat(presence, alive) => heartbeat(connection, statements, presence, millis(*alive)).await,
        Write::Offers(worker, offers) => {
            statements.query(&statements.workers.remove_offers).bind(worker.clone()).execute(&mut *connection).await?;
            for offer in offers {
                let insert =
                    statements.query(&statements.workers.add_offer).bind(worker.clone()).bind(offer.name.clone());
                insert.bind(offer.hash.clone()).bind(offer.about.clone()).execute(&mut *connection).await?;
            }
            Ok(offers.len() as u64)
        }
        // What it had is remembered for a while: how long its jobs are kept, for one.
        Write::Leave(worker) => Ok(statements
            .query(&statements.workers.leave)
            .bind(worker.clone())
            .execute(connection)
            .await?
            .rows_affected()),
        Write::Drain(worker) => {
            let drain = statements.query(&statements.workers.drain).bind(worker.clone());
            Ok(drain.execute(connection).await?.rows_affected())
        }
        Write::Forget(silence) => {
            let silent =
                statements.query(&statements.workers.silent).bind(millis(*silence)).fetch_all(&mut *connection).await?;
            for row in &silent {
                forget(connection, statements, &row.try_get::<String, _>(0)?).await?;
            }
            Ok(silent.len() as u64)
        }
        Write::Duty(worker, duty, time) => {
            statements.query(&statements.workers.add_duty).bind(*duty).execute(&mut *connection).await?;
            let take = statements.query(&statements.workers.take_duty).bind(worker.clone()).bind(millis(*time));
            Ok(take.bind(*duty).bind(worker.clone()).execute(connection).await?.rows_affected())
        }
    }
}

async fn heartbeat(
    connection: &mut AnyConnection,
    statements: &Statements,
    presence: &Presence,
    alive: i64,
) -> Outcome<u64> {
    for text in [&statements.workers.heartbeat, &statements.workers.add] {
        let query = statements
            .query(text)
            .bind(presence.name.clone())
            .bind(presence.host.clone())
            .bind(presence.version.clone())
            .bind(presence.slots)
            .bind(serde_json::json!(presence.labels).to_string())
            .bind(presence.storage.clone())
            .bind(presence.state.clone())
            .bind(serde_json::to_string(&presence.gpus).unwrap_or_default())
            .bind(alive)
            .bind(presence.id.clone());
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            break;
        }
    }
    Ok(1)
}

async fn forget(connection: &mut AnyConnection, statements: &Statements, worker: &str) -> Outcome<u64> {
    statements.query(&statements.workers.remove_offers).bind(worker.to_owned()).execute(&mut *connection).await?;
    Ok(statements.query(&statements.workers.remove).bind(worker.to_owned()).execute(connection).await?.rows_affected())
}

/// All processes that are known, the living and those who are silent.
pub(super) async fn all(connection: &mut AnyConnection, statements: &Statements) -> Result<Vec<Worker>, StoreError> {
    let rows = statements.query(&statements.workers.all).fetch_all(connection).await?;
    rows.iter().map(|row| worker_from(row).map_err(StoreError::from)).collect()
}

fn worker_from(row: &AnyRow) -> Outcome<Worker> {
    let labels: String = row.try_get(5)?;
    let gpus: Option<String> = row.try_get(12)?;
    let presence = Presence {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        host: row.try_get(2)?,
        version: row.try_get(3)?,
        slots: row.try_get(4)?,
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        storage: row.try_get(6)?,
        state: if row.try_get::<i64, _>(11)? > 0 { "draining".to_owned() } else { row.try_get(7)? },
        gpus: gpus.and_then(|gpus| serde_json::from_str(&gpus).ok()).unwrap_or_default(),
    };
    let alive = row.try_get::<i64, _>(10)? > 0;
    Ok(Worker { presence, started_ms: row.try_get(8)?, heartbeat_ms: row.try_get(9)?, alive })
}

/// What living workers offer, or all that are remembered; of each name the newest worker's.
pub(super) async fn offers(
    connection: &mut AnyConnection,
    statements: &Statements,
    living: bool,
) -> Result<Vec<Offer>, StoreError> {
    let mut offers: Vec<Offer> = Vec::new();
    let text = if living { &statements.workers.offers } else { &statements.workers.known };
    for row in statements.query(text).fetch_all(connection).await? {
        let offer = Offer { name: row.try_get(0)?, hash: row.try_get(1)?, about: row.try_get(2)? };
        if offers.last().is_none_or(|last| last.name != offer.name) {
            offers.push(offer);
        }
    }
    Ok(offers)
}

/// The names that living workers offer.
pub(super) async fn offered(
    connection: &mut AnyConnection,
    statements: &Statements,
) -> Result<Vec<String>, StoreError> {
    let rows = statements.query(&statements.workers.offered).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0).map_err(StoreError::from)).collect()
}
