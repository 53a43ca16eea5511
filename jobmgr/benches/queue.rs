//! The queue alone, without processes: enqueue, claim and finish through the store, every step durable.
//!
//!     cargo bench -p jobmgr --bench queue                                  everything (many minutes)
//!     cargo bench -p jobmgr --bench queue -- throughput sqlite postgres    these parts, these databases
//!
//! Parts: throughput (16 callers), limits (the same, among several workers: by names, of some of which only so many may
//! run at once), scale (1 to 16 workers, 10^3 to 10^6 finished jobs). Databases: sqlite, postgres, mariadb, mysql.
//! Baselines in the same run: writes with fdatasync, one after the other, on the same disk; and the same work in an empty
//! database. A batch is whatever waits when a commit ends, at most as many as there are callers.

// A lint for the server; a measurement that unwraps is one that fails.
#![allow(clippy::unwrap_used)]

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jobmgr::config;
use jobmgr::domain::job::{Ended, Finish, Log, LogBody, Status};
use jobmgr::domain::submission::NewJob;
use jobmgr::store::{Claiming, Scope, Store};
use support::databases::{DatabaseServer, Disk, Kind};

const CALLERS: usize = 16;
const LEASE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str, among: &[&str]| {
        let said: Vec<_> = asked.iter().filter(|asked| among.contains(&asked.as_str())).collect();
        said.is_empty() || said.iter().any(|said| *said == name)
    };
    println!("{:.0} writes/s with fdatasync, one after the other", synced_writes());
    for name in ["sqlite", "postgres", "mariadb", "mysql"] {
        if !chosen(name, &["sqlite", "postgres", "mariadb", "mysql"]) {
            continue;
        }
        let place = Place::of(name);
        let parts = ["throughput", "limits", "scale"];
        for part in parts.into_iter().filter(|part| chosen(part, &parts)) {
            match part {
                "throughput" => throughput(&place).await,
                "limits" => limits(&place).await,
                _ => scale(&place).await,
            }
        }
    }
}

fn synced_writes() -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("log")).unwrap();
    let (start, count) = (Instant::now(), 2000);
    for _ in 0..count {
        file.write_all(&[b'x'; 200]).unwrap();
        file.sync_data().unwrap();
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Where databases are made.
enum Place {
    Folder(tempfile::TempDir, AtomicUsize),
    Server(&'static str, DatabaseServer),
}

impl Place {
    fn of(name: &'static str) -> Self {
        let server = |kind: Kind| kind.start(Disk::Durable).expect("the server is installed");
        match name {
            "sqlite" => Place::Folder(tempfile::tempdir().unwrap(), AtomicUsize::new(0)),
            "postgres" => Place::Server(name, server(Kind::Postgres)),
            "mariadb" => Place::Server(name, server(Kind::MariaDb)),
            _ => Place::Server(name, server(Kind::MySql)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Place::Folder(..) => "sqlite",
            Place::Server(name, _) => name,
        }
    }

    async fn fresh(&self) -> (String, Store) {
        let url = match self {
            Place::Folder(dir, count) => {
                let number = count.fetch_add(1, Ordering::Relaxed);
                format!("sqlite:{}", dir.path().join(format!("{number}.db")).display())
            }
            Place::Server(_, server) => server.fresh(),
        };
        let config = config::Database { url: Some(url.clone()), ..Default::default() };
        (url, Store::open(&config).await.unwrap())
    }

    /// Puts so many finished jobs into the database, by its own means, and leaves it nothing to do afterwards.
    fn history(&self, url: &str, rows: usize) {
        let columns = "status, priority, name, parameters, user_id, created_at, run_after, attempt, epoch, crashes, \
                       artifact_count, started_at, finished_at, stdout, exit_code";
        let values = "'completed', 50, 'noop', '{\"message\":\"hello\"}', 1, 1, 0, 1, 1, 0, 0, 1, 2, \
                      '{\"written\":0,\"text\":\"what it said\",\"size\":12}', 0";
        let insert = |from: &str| format!("insert into jobs ({columns}) select {values} from {from}");
        let numbers = format!("with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})");
        match self {
            Place::Folder(..) => {
                let file = url.strip_prefix("sqlite:").unwrap();
                let sql = format!("{numbers} {}", insert("n"));
                let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); \
                              c.execute('analyze'); c.execute('pragma wal_checkpoint(truncate)'); c.commit()";
                assert!(Command::new("python3").args(["-c", script, file, &sql]).status().unwrap().success());
            }
            Place::Server(kind, server) => {
                let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
                let sql = match *kind {
                    "postgres" => {
                        let insert = insert(&format!("generate_series(1, {rows})"));
                        format!("{insert};\nvacuum (analyze) jobs;\ncheckpoint")
                    }
                    "mariadb" => format!("{}; analyze table jobs", insert(&format!("seq_1_to_{rows}"))),
                    _ => format!(
                        "set cte_max_recursion_depth = {rows}; insert into jobs ({columns}) {numbers} select {values} \
                         from n; analyze table jobs"
                    ),
                };
                server.sql(database, &sql);
            }
        }
    }
}

/// The names of the jobs; of the second half of them only so many run at once.
static NAMES: [&str; 8] = ["noop", "convert", "mail", "report", "render", "train", "import", "export"];
const MOST: i64 = 4;

/// What a worker may have that is one of several, and has these jobspecs and not one more.
fn scope() -> Arc<Scope> {
    let limits = NAMES[NAMES.len() / 2..].iter().map(|name| ((*name).to_owned(), MOST)).collect();
    let names = Some(NAMES.map(str::to_owned).into());
    Arc::new(Scope { names, except: ["other".to_owned()].into(), limits, ..Scope::default() })
}

fn job(name: &str) -> NewJob {
    let parameters = [("message".to_owned(), "hello".to_owned())].into();
    NewJob { name: name.into(), parameters, priority: 50, ..NewJob::default() }
}

fn finish() -> Arc<Finish> {
    let ended = Ended {
        error: None,
        exit_code: Some(0),
        signal: None,
        stdout: Log { written: 12, body: LogBody::Inline(b"what it said".to_vec()) },
        stderr: Log::default(),
        output: None,
        warnings: Vec::new(),
        artifacts: Vec::new(),
        skipped: Vec::new(),
        executor_log: Log::default(),
    };
    Arc::new(Finish { status: Status::Completed, reason: None, attempt: 1, chunks: false, ended })
}

async fn submit(store: &Store, count: usize, callers: usize, names: &'static [&'static str]) {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..count / callers {
                    store.submit(job(names[number % names.len()])).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Finishes all that is queued or will be, up to `count`; gives the times that a claim took where nothing was held.
async fn work(store: &Store, count: usize, workers: usize, scope: Arc<Scope>) -> Vec<f64> {
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..workers)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            let mine = Claiming { worker: "w".into(), lease: LEASE, scope: Arc::clone(&scope) };
            tokio::spawn(async move {
                let mut waits = Vec::new();
                let mut held = None;
                while done.load(Ordering::Relaxed) < count {
                    let start = Instant::now();
                    held = match held {
                        None => store.claim(&mine, 1).await.unwrap().pop(),
                        Some(claim) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            let next = store.finish(&claim, finish(), Some(mine.clone())).await.unwrap();
                            next.expect("held").pop()
                        }
                    };
                    match held {
                        Some(_) => waits.push(start.elapsed().as_secs_f64() * 1000.0),
                        None => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    waits.sort_by(f64::total_cmp);
    waits
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

async fn throughput(place: &Place) {
    measure(place, "jobs of one name, all of which may run", &NAMES[..1], Arc::default).await;
}

async fn limits(place: &Place) {
    measure(place, "jobs of eight names, four of them with a limit of four", &NAMES, scope).await;
}

async fn measure(place: &Place, what: &str, names: &'static [&'static str], scope: impl Fn() -> Arc<Scope>) {
    let count = 16_000;
    let mut empty = 0.0;
    for rows in [0, 1_000_000] {
        let (url, store) = place.fresh().await;
        if rows > 0 {
            place.history(&url, rows);
        }
        let mut best = [0.0_f64; 3];
        for _ in 0..3 {
            let start = Instant::now();
            submit(&store, count, CALLERS, names).await;
            best[0] = best[0].max(per_second(count, start));
            let start = Instant::now();
            work(&store, count, CALLERS, scope()).await;
            best[1] = best[1].max(per_second(count, start));
            let start = Instant::now();
            tokio::join!(submit(&store, count, CALLERS, names), work(&store, count, CALLERS, scope()));
            best[2] = best[2].max(per_second(count, start));
        }
        let [submitted, worked, both] = best;
        let ratio = if rows == 0 { 1.0 } else { empty / both };
        println!(
            "{}: {what}; {rows} finished jobs: {submitted:.0} submissions/s, {worked:.0} finish-and-claim/s, \
             {both:.0} jobs/s enqueue to finish, {CALLERS} callers of each; {ratio:.2} of the time with an empty table",
            place.name()
        );
        if rows == 0 {
            empty = both;
        }
        store.close().await;
    }
}

/// How long a cell of the table is measured at least, and how often.
const CELL: Duration = Duration::from_secs(2);
const TIMES: usize = 3;

/// The best of some measurements: jobs/s, and the median of the times in ms that a finish and claim took.
async fn cell(store: &Store, workers: usize) -> (f64, f64) {
    let mut count = 400 * workers.max(2);
    let mut measured = Vec::new();
    while measured.len() < TIMES {
        submit(store, count, CALLERS, &NAMES[..1]).await;
        let start = Instant::now();
        let waits = work(store, count, workers, Arc::default()).await;
        if start.elapsed() >= CELL {
            measured.push((per_second(count, start), waits[waits.len() / 2]));
        } else {
            // As many as take a little longer than that.
            let enough = per_second(count, start) * CELL.as_secs_f64() * 1.2;
            count = (enough as usize / CALLERS + 1) * CALLERS;
        }
    }
    measured.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

async fn scale(place: &Place) {
    println!("{}: jobs/s (median ms of finish and claim)", place.name());
    println!("| finished jobs | 1 worker | 2 | 4 | 8 | 16 |\n|---|---|---|---|---|---|");
    for rows in [1_000, 10_000, 100_000, 1_000_000] {
        let (url, store) = place.fresh().await;
        place.history(&url, rows);
        let mut cells = Vec::new();
        for workers in [1, 2, 4, 8, 16] {
            let (jobs, median) = cell(&store, workers).await;
            cells.push(format!("{jobs:.0} ({median:.1})"));
        }
        println!("| {rows} | {} |", cells.join(" | "));
        store.close().await;
    }
}
