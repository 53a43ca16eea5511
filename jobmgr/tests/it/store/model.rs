//! Random operations against a plain model of the queue, on every store: after each of them every job has to be where
//! the model has it. A run that differs is made as short as it can be, and printed.

use std::sync::Arc;
use std::time::Duration;

use jobmgr::config::Database;
use jobmgr::domain::job::{Claim, Reason, Status};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::{Cancel, Claiming, Event, Scope, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use tokio::runtime::Runtime;

use super::rules::{completed, failure, job};
use crate::support::databases::Kind;
use crate::support::long;
use reference::{Model, Op, Told};

mod reference;

/// The queue under test: its claims in the order in which the model has them.
struct Queue {
    runtime: Runtime,
    store: Store,
    ids: Vec<i64>,
    claims: Vec<Claim>,
}

const LONG: Duration = Duration::from_secs(600);

fn lease(holds: bool) -> Duration {
    if holds { LONG } else { Duration::ZERO }
}

impl Queue {
    fn new(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = Database { url: Some(url), max_connections: 7, ..Database::default() };
        let store = runtime.block_on(Store::open(&config)).unwrap();
        Self { runtime, store, ids: Vec::new(), claims: Vec::new() }
    }

    /// Does it, and tells what came of it in the words of the model.
    fn apply(&mut self, op: &Op) -> Told {
        let store = self.store.clone();
        match op {
            Op::Submit { name, priority, impatient } => {
                let queue_timeout = impatient.then_some(Duration::ZERO);
                let new = NewJob { queue_timeout, ..job(["a", "b"][*name], *priority) };
                self.ids.push(self.runtime.block_on(store.submit(new)).unwrap());
                Told::Nothing
            }
            Op::Claim { worker, limit, holds, only_a } => {
                let names = only_a.then(|| ["a".to_owned()].into());
                let scope = Arc::new(Scope { names, ..Scope::default() });
                let claiming = Claiming { worker: format!("w{worker}").into(), lease: lease(*holds), scope };
                let claims = self.runtime.block_on(store.claim(&claiming, *limit)).unwrap();
                let told = claims.iter().map(|claim| (self.place(claim.id), claim.attempt)).collect();
                self.claims.extend(claims);
                Told::Claimed(told)
            }
            Op::Finish(claim) => {
                let claim = &self.claims[*claim];
                let finish = completed(claim.attempt, format!("{}", claim.attempt).as_bytes());
                Told::Held(self.runtime.block_on(store.finish(claim, finish, None)).unwrap().is_some())
            }
            Op::Retry { claim, later } => {
                let claim = &self.claims[*claim];
                Told::Held(self.runtime.block_on(store.retry(claim, failure(), lease(*later))).unwrap())
            }
            Op::Release { claim, later } => {
                let claim = &self.claims[*claim];
                Told::Held(self.runtime.block_on(store.release(claim, lease(*later), "not now")).unwrap())
            }
            Op::Crashed(claim) => {
                let swept = self.runtime.block_on(store.crashed(&self.claims[*claim])).unwrap();
                Told::Swept(swept.queued, self.places(swept.ended), Vec::new())
            }
            Op::OnlyOnce(claim) => {
                Told::Held(self.runtime.block_on(store.limit_crashes(&self.claims[*claim], 1)).unwrap())
            }
            Op::Renew { worker, holds } => {
                let renewal = self.runtime.block_on(store.renew(&format!("w{worker}"), lease(*holds))).unwrap();
                let mut held: Vec<_> = renewal.held.iter().map(|row| (self.place(row.id), row.canceled)).collect();
                held.sort_unstable();
                assert_eq!(renewal.renewed.len(), held.len(), "nobody else writes");
                Told::Renewed(held)
            }
            Op::Cancel(job) => Told::Canceled(self.runtime.block_on(store.cancel(self.ids[*job])).unwrap()),
            Op::Sweep => {
                // What ran out at this millisecond has run out at the next one.
                std::thread::sleep(Duration::from_millis(3));
                let swept = self.runtime.block_on(store.sweep()).unwrap();
                Told::Swept(swept.queued, self.places(swept.ended), self.places(swept.overdue))
            }
            Op::Bury(worker) => {
                let swept = self.runtime.block_on(store.bury(&format!("w{worker}"))).unwrap();
                Told::Swept(swept.queued, self.places(swept.ended), Vec::new())
            }
        }
    }

    fn place(&self, id: i64) -> usize {
        self.ids.iter().position(|known| *known == id).expect("a job that was submitted")
    }

    fn places(&self, ids: Vec<i64>) -> Vec<usize> {
        let mut places: Vec<usize> = ids.into_iter().map(|id| self.place(id)).collect();
        places.sort_unstable();
        places
    }

    fn check(&self, model: &Model) {
        for (place, expected) in model.jobs.iter().enumerate() {
            let found = self.runtime.block_on(self.store.job(self.ids[place])).unwrap().unwrap();
            assert_eq!(
                (found.status, found.reason, found.attempt, found.cancel_asked_ms.is_some()),
                (expected.status, expected.reason, expected.attempt, expected.cancel_asked),
                "job {place}: {expected:?}"
            );
            assert_eq!(found.ended.is_some(), found.status.is_terminal());
            // Each change has left an event, and the last one is where the job stands.
            let events = self.runtime.block_on(self.store.events_of(self.ids[place], 0)).unwrap();
            let first = events.first().map(|event| (event.status, event.attempt));
            let last = events.last().map(|event| (event.status, event.attempt, event.reason));
            assert_eq!(first, Some((Status::Queued, 0)));
            assert_eq!(last, Some((found.status, found.attempt, found.reason)));
            let moves = |pair: &[Event]| !pair[0].status.is_terminal() && pair[0].status != pair[1].status;
            assert!(events.windows(2).all(moves), "{events:?}");
            let attempts = self.runtime.block_on(self.store.attempts(self.ids[place])).unwrap();
            assert_eq!(attempts.len(), expected.attempts_before, "job {place}: {expected:?}");
            if found.status == Status::Completed {
                let said = found.ended.unwrap().stdout;
                assert_eq!(said, completed(0, found.attempt.to_string().as_bytes()).ended.stdout);
            }
        }
    }
}

/// One run: the store is opened anew for each.
macro_rules! machine {
    ($name:ident, $url:expr) => {
        struct $name;

        impl StateMachineTest for $name {
            type SystemUnderTest = Queue;
            type Reference = Model;

            fn init_test(_: &Model) -> Queue {
                Queue::new($url)
            }

            fn apply(mut queue: Queue, model: &Model, op: Op) -> Queue {
                let told = queue.apply(&op);
                assert_eq!(told, model.told, "{op:?}");
                queue
            }

            fn check_invariants(queue: &Queue, model: &Model) {
                queue.check(model);
            }

            fn teardown(queue: Queue, _: Model) {
                queue.runtime.block_on(queue.store.close());
            }
        }
    };
}

fn file() -> String {
    // Kept until the process ends: the run still reads it.
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("x.db").display());
    DIRS.lock().unwrap().push(dir);
    url
}

static DIRS: std::sync::Mutex<Vec<tempfile::TempDir>> = std::sync::Mutex::new(Vec::new());

machine!(OnSqlite, file());
machine!(OnPostgres, Kind::Postgres.shared().unwrap().fresh());
machine!(OnPgBouncer, Kind::PgBouncer.shared().unwrap().fresh());
machine!(OnMariaDb, Kind::MariaDb.shared().unwrap().fresh());
machine!(OnSnapshots, Kind::MariaDbSnapshot.shared().unwrap().fresh());
machine!(OnMySql, Kind::MySql.shared().unwrap().fresh());

fn run<M: StateMachineTest<Reference = Model>>(cases: u32) {
    let config = Config {
        cases: if long() { cases * 20 } else { cases },
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Random,
        ..Config::default()
    };
    proptest!(config, |((model, ops, seen) in Model::sequential_strategy(20..80))| {
        M::test_sequential(Config::default(), model, ops, seen);
    });
}

#[test]
fn sqlite_does_what_the_model_does() {
    run::<OnSqlite>(24);
}

#[test]
fn postgres_does_what_the_model_does() {
    if Kind::Postgres.shared().is_some() {
        run::<OnPostgres>(12);
    }
}

#[test]
fn postgres_behind_pgbouncer_does_what_the_model_does() {
    if Kind::PgBouncer.shared().is_some() {
        run::<OnPgBouncer>(4);
    }
}

#[test]
fn mariadb_does_what_the_model_does() {
    if Kind::MariaDb.shared().is_some() {
        run::<OnMariaDb>(8);
    }
}

#[test]
fn mariadb_with_snapshot_isolation_does_what_the_model_does() {
    if Kind::MariaDbSnapshot.shared().is_some() {
        run::<OnSnapshots>(4);
    }
}

#[test]
fn mysql_does_what_the_model_does() {
    if Kind::MySql.shared().is_some() {
        run::<OnMySql>(4);
    }
}
