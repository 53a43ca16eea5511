//! Nothing is lost and nothing doubled, by real processes on real databases that are killed, stopped and asked to end.
//!
//! Each job writes its start and its end to a file; afterwards that file, the rows and the objects must agree.
//! On the servers that differ from another one in little they are short; `JOBMGR_LONG_TESTS=1` has all of them run for
//! longer.

/// The rows, the objects and the witness file tell the same.
mod agree;
/// Clients that submit, and what they were answered.
mod clients;
/// Streams of events through a proxy that cuts connections.
mod cut_streams;
/// SIGTERM in the middle of each thing that a worker does.
mod drained;
/// Workers that have the same GPUs.
mod gpus;
/// Many streams on which nothing happens.
mod idle_streams;
/// kill -9 of the API while clients submit.
mod killed_api;
/// kill -9 of the database's server while all use it.
mod killed_database;
/// kill -9 of workers while they work.
mod killed_workers;
/// Many claimers on one queue.
mod many;
/// Jobs as this process reads them from the database.
mod rows;
/// SIGSTOP of a worker past its lease.
mod stopped;
/// What jobs write of themselves.
mod witness;

use std::process::Command;

use crate::support::databases::Kind;
use crate::support::long;
use crate::support::server::Home;

/// What the processes of a proof work on.
#[derive(Clone, Copy, Debug)]
enum Database {
    Sqlite,
    Server(Kind),
}

impl Database {
    /// A folder with a configuration that names an empty database. `None`, after saying so, where it can't be had.
    fn home(self, config: &str) -> Option<Home> {
        match self {
            Database::Sqlite => Some(Home::new(config)),
            Database::Server(kind) => Some(Home::on(&kind.shared()?.fresh(), config)),
        }
    }

    /// How much of a proof there is time for.
    fn extent(self) -> Extent {
        match self {
            _ if long() => Extent::Long,
            Database::Server(Kind::MySql | Kind::MariaDbSnapshot) => Extent::Short,
            _ => Extent::Usual,
        }
    }
}

/// How much of a proof is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Short,
    Usual,
    Long,
}

impl Extent {
    fn of<T>(self, short: T, usual: T, long: T) -> T {
        match self {
            Extent::Short => short,
            Extent::Usual => usual,
            Extent::Long => long,
        }
    }
}

/// The command of a worker that shares no folder for temporary directories with another one, as on another machine:
/// it can't see that those have died.
fn elsewhere(home: &Home, number: u32) -> Command {
    let folder = home.path("tmp").join(format!("machine-{number}"));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = home.jobmgr(&["worker"]);
    command.env("TMPDIR", folder);
    command
}

/// A test for each database.
macro_rules! on_each_database {
    ($proof:ident) => {
        #[test]
        fn on_sqlite() {
            $proof($crate::proofs::Database::Sqlite);
        }

        $crate::proofs::on_each_server!($proof);
    };
}

/// A test for each server of databases.
macro_rules! on_each_server {
    ($proof:ident) => {
        #[test]
        fn on_postgres() {
            $proof($crate::proofs::Database::Server($crate::support::databases::Kind::Postgres));
        }

        #[test]
        fn on_mariadb() {
            $proof($crate::proofs::Database::Server($crate::support::databases::Kind::MariaDb));
        }

        #[test]
        fn on_mariadb_with_snapshot_isolation() {
            $proof($crate::proofs::Database::Server($crate::support::databases::Kind::MariaDbSnapshot));
        }

        #[test]
        fn on_mysql() {
            $proof($crate::proofs::Database::Server($crate::support::databases::Kind::MySql));
        }
    };
}

use {on_each_database, on_each_server};
