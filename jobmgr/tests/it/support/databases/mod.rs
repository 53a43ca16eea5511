//! Real database servers, each in a folder of its own, on a free port of loopback.
//!
//! A test that needs one begins with `let Some(server) = Kind::Postgres.shared() else { return };`, and works in a
//! database that is its own: `server.fresh()`. A test that pauses or kills its server starts one of its own.

mod guard;
mod mariadb;
mod mysql;
mod pgbouncer;
mod postgres;
// The servers run on Linux.
#[cfg(target_os = "linux")]
mod tests;

use std::fs;
use std::io::{self, Seek, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::guard::Guard;
use super::programs;

/// Who the URLs log in as: nobody special, but the owner of the databases that [`DatabaseServer::fresh`] makes.
pub const USER: &str = "jobmgr";
/// The password of [`USER`].
pub const PASSWORD: &str = "jobmgr-test";

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MariaDb,
    /// With `innodb_snapshot_isolation=ON`, the default of later versions.
    MariaDbSnapshot,
    /// Version 9.
    MySql,
    Postgres,
    /// In transaction mode, before a PostgreSQL of its own.
    PgBouncer,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The kernel: what was committed outlives the server, killed or not, but not the machine.
    Fast,
    /// The disk, as in production; with more memory, for benchmarks.
    Durable,
}

/// A running server, ended when this is dropped.
pub struct DatabaseServer {
    kind: Kind,
    place: Place,
    guard: Guard,
    behind: Option<Box<DatabaseServer>>,
    databases: AtomicU32,
}

/// Where a server runs.
struct Place {
    /// Empty, and the guard's to remove.
    folder: PathBuf,
    port: u16,
    disk: Disk,
}

impl Kind {
    /// All of them, for what must hold everywhere.
    pub const ALL: [Kind; 5] = [Kind::MariaDb, Kind::MariaDbSnapshot, Kind::MySql, Kind::Postgres, Kind::PgBouncer];

    /// The server that all tests of this process share. `None`, after saying so, where it can't be had.
    ///
    /// # Panics
    /// Where it can't be had and `CI=true`.
    pub fn shared(self) -> Option<&'static DatabaseServer> {
        static SHARED: [OnceLock<Option<DatabaseServer>>; Kind::ALL.len()] = [const { OnceLock::new() }; _];
        SHARED[self as usize].get_or_init(|| self.start(Disk::Fast)).as_ref()
    }

    /// A server of one's own.
    ///
    /// # Panics
    /// Where it can't be had and `CI=true`.
    pub fn start(self, disk: Disk) -> Option<DatabaseServer> {
        self.start_with(disk, &[])
    }

    /// A server of one's own, started with some more options.
    ///
    /// # Panics
    /// Where it can't be had and `CI=true`.
    pub fn start_with(self, disk: Disk, options: &[&str]) -> Option<DatabaseServer> {
        programs::or_skip(&format!("{self:?} server"), DatabaseServer::run(self, disk, options))
    }

    fn is_mysql(self) -> bool {
        matches!(self, Kind::MariaDb | Kind::MariaDbSnapshot | Kind::MySql)
    }

    /// A database that is there from the start.
    fn first_database(self) -> &'static str {
        if self.is_mysql() { "mysql" } else { "postgres" }
    }
}

impl DatabaseServer {
    /// `postgres://...` or `mysql://...` of a database, existing or not.
    pub fn url(&self, database: &str) -> String {
        let scheme = if self.kind.is_mysql() { "mysql" } else { "postgres" };
        format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.place.port)
    }

    /// Makes an empty database with a new name; gives its URL.
    pub fn fresh(&self) -> String {
        let database = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let how = if self.kind.is_mysql() { "CHARACTER SET utf8mb4".to_owned() } else { format!("OWNER {USER}") };
        let keeper = self.behind.as_deref().unwrap_or(self);
        keeper.sql(self.kind.first_database(), &format!("CREATE DATABASE {database} {how}"));
        self.url(&database)
    }

    /// What the server's own client prints for statements, run as the server's superuser (through pgbouncer: as
    /// [`USER`]): a line for each row, tabs between columns, `NULL` for null.
    ///
    /// # Panics
    /// Where one fails.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.try_sql(database, statements).unwrap_or_else(|why| panic!("{statements}: {why}"))
    }

    /// As [`DatabaseServer::sql`], or what the client says of the first statement that fails.
    pub fn try_sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let mut client = self.client()?;
        let input = (|| {
            let mut input = tempfile::tempfile()?;
            input.write_all(statements.as_bytes())?;
            input.rewind().map(|()| input)
        })();
        client.arg(database).stdin(input.map_err(|e: io::Error| e.to_string())?);
        let done = client.output().map_err(|e| format!("{client:?}: {e}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
    }

    /// The port of 127.0.0.1 on which it listens.
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// The PostgreSQL behind a pgbouncer.
    pub fn behind(&self) -> Option<&DatabaseServer> {
        self.behind.as_deref()
    }

    /// Stops all its processes, as a machine that hangs: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.tell("pause");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.tell("resume");
    }

    /// Ends all its processes at once, as a crash would.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it again after [`DatabaseServer::kill`], on the same port, with the data that it had.
    pub fn restart(&self) {
        self.tell("start");
        self.answers().unwrap_or_else(|why| panic!("{why}"));
    }

    /// The server's own client; its next argument is the database, its input the statements.
    fn client(&self) -> Result<Command, String> {
        match self.kind {
            Kind::MariaDb | Kind::MariaDbSnapshot => Ok(mariadb::client(&self.place)),
            Kind::MySql => mysql::client(&self.place),
            Kind::Postgres => Ok(postgres::client(&self.place)),
            Kind::PgBouncer => Ok(pgbouncer::client(&self.place)),
        }
    }

    fn tell(&self, act: &str) {
        self.guard.tell(act).unwrap_or_else(|why| panic!("{:?}: {act}: {why}", self.kind));
    }

    fn run(kind: Kind, disk: Disk, options: &[&str]) -> Result<DatabaseServer, String> {
        if cfg!(not(unix)) {
            return Err("it is started on Unix only".to_owned());
        }
        let behind = (kind == Kind::PgBouncer).then(|| Self::run(Kind::Postgres, disk, &[])).transpose()?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let place = Place { folder: folder.path().to_owned(), port: free_port()?, disk };
        let mut command = match kind {
            Kind::MariaDb => mariadb::install(&place, false)?,
            Kind::MariaDbSnapshot => mariadb::install(&place, true)?,
            Kind::MySql => mysql::install(&place)?,
            Kind::Postgres => postgres::install(&place)?,
            Kind::PgBouncer => pgbouncer::install(&place, behind.as_ref().map_or(0, DatabaseServer::port))?,
        };
        command.extend(options.iter().map(|&option| option.to_owned()));
        let guard = Guard::over(&folder.keep(), &command)?;
        let server = DatabaseServer { kind, place, guard, behind: behind.map(Box::new), databases: AtomicU32::new(0) };
        server.guard.tell("start")?;
        server.answers()?;
        server.admit_user()?;
        Ok(server)
    }

    /// Waits until it answers.
    fn answers(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let Err(why) = self.try_sql(self.kind.first_database(), "SELECT 1") else { return Ok(()) };
            if Instant::now() > deadline || !self.guard.is_running() {
                let log = fs::read_to_string(self.place.folder.join("log")).unwrap_or_default();
                let end: String = log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
                return Err(format!("it does not answer: {why}; the end of its log, last line first:\n{end}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn admit_user(&self) -> Result<(), String> {
        let statements = match self.kind {
            Kind::MariaDb | Kind::MariaDbSnapshot | Kind::MySql => {
                format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {USER}@'%'")
            }
            Kind::Postgres => format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"),
            Kind::PgBouncer => return Ok(()),
        };
        self.try_sql(self.kind.first_database(), &statements).map(drop)
    }
}

/// A port that is free now, and below those that the kernel gives to connections: one of these might take it while its
/// server is down.
fn free_port() -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: Range<u16> = 12_000..32_000;
    // Other test processes look for theirs.
    let apart = process::id() % u32::from(PORTS.end - PORTS.start) * 37;
    let turn = || apart + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
    let mut ports = PORTS.map(|_| (turn() % 20_000) as u16 + PORTS.start);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(is_free).ok_or_else(|| "no port is free".to_owned())
}

/// Whether this is root, whom some servers refuse.
fn is_root() -> bool {
    programs::run(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
