//! The release binary, measured from outside, against a bare spawn loop in the same run.
//!
//!     cargo bench -p jobmgr                     everything (some minutes)
//!     cargo bench -p jobmgr -- drain latency    only these
//!
//! Parts: drain, workers, wake, history, latency, submit, get, artifact, memory, plugin. This machine's speed changes from one minute to the
//! next, so read the ratios: each part measures its own baseline beside it.

// A lint for the server; a measurement that unwraps is one that fails.
#![allow(clippy::unwrap_used)]

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use support::client::Client;
use support::databases::{Disk, Kind};
use support::libraries;
use support::processes;
use support::server::{Home, Server, eventually};

const TRUE: &str = "/bin/true";
const REPEATS: usize = 5;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let parts: [(&str, fn()); 10] = [
        ("drain", drain),
        ("workers", workers),
        ("wake", wake),
        ("history", history),
        ("latency", latency),
        ("submit", submit),
        ("get", get),
        ("artifact", artifact),
        ("memory", memory),
        ("plugin", plugin),
    ];
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spawn_true() {
    let mut command = Command::new(TRUE);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}

/// Bare spawns and waits per second, on so many threads.
fn bare(threads: usize, count: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..count / threads).for_each(|_| spawn_true()));
        }
    });
    count as f64 / start.elapsed().as_secs_f64()
}

fn home(concurrency: usize) -> Home {
    home_with(concurrency, "")
}

/// `more`: further keys of `[Worker]`, and further sections.
fn home_with(concurrency: usize, more: &str) -> Home {
    let home = Home::new(&format!("[Worker]\nConcurrency = {concurrency}\n{more}"));
    home.spec("noop", &format!("Command = \"{TRUE}\"\n"));
    let gate = home.path("gate");
    home.sh("gate", &format!("while [ ! -e {} ]; do sleep 0.005; done", gate.display()), "Timeout = \"10m\"");
    home
}

fn quiet(home: &Home) -> Server {
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_LOG", "warn");
    home.serve_by(command)
}

fn post(client: &mut Client, name: &str) -> i64 {
    let answer = client.try_post("/jobs/start", &[("name", name), ("parameters", "{}")]).unwrap();
    answer.json()["created"].as_i64().unwrap()
}

fn ended(client: &mut Client, id: i64) -> bool {
    let body = client.get(&format!("/jobs/get?id={id}")).body;
    let body = String::from_utf8(body).unwrap();
    body.contains("\"status\":\"completed\"") || body.contains("\"status\":\"failed\"")
}

/// Jobs per second from the opening of the gate to the end of the last.
fn drain_once(home: &Home, server: &Server, concurrency: usize, jobs: usize) -> f64 {
    let gate = home.path("gate");
    drop(std::fs::remove_file(&gate));
    let mut client = server.client();
    for _ in 0..concurrency {
        let id = post(&mut client, "gate");
        server.wait_for(id, "started");
    }
    let ids: Vec<i64> = (0..jobs).map(|_| post(&mut client, "noop")).collect();
    std::fs::write(&gate, "").unwrap();
    let start = Instant::now();
    for id in ids.iter().rev().take(concurrency) {
        while !ended(&mut client, *id) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    jobs as f64 / start.elapsed().as_secs_f64()
}

fn drain_and_bare(home: &Home, server: &Server, concurrency: usize) -> (f64, f64) {
    let (mut drains, mut bares) = (Vec::new(), Vec::new());
    drain_once(home, server, concurrency, 200);
    for _ in 0..REPEATS {
        bares.push(bare(concurrency, 1000));
        drains.push(drain_once(home, server, concurrency, 1000));
    }
    (median(drains), median(bares))
}

fn drain() {
    for concurrency in [1, 4] {
        let home = home(concurrency);
        let server = quiet(&home);
        let (drain, bare) = drain_and_bare(&home, &server, concurrency);
        println!(
            "drain, concurrency {concurrency}: {drain:.0} jobs/s; bare spawn loop {bare:.0}/s; ratio {:.2}",
            drain / bare
        );
    }
}

/// Ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn worker(home: &Home) -> Running {
    let mut command = home.jobmgr(&["worker"]);
    Running(command.env("JOBMGR_LOG", "warn").stdout(Stdio::null()).spawn().unwrap())
}

/// Two worker processes of two slots beside an API process, against one process with four slots.
fn workers() {
    let one = home(4);
    let alone = quiet(&one);
    let postgres = Kind::Postgres.start(Disk::Durable).expect("PostgreSQL is installed");
    let mariadb = Kind::MariaDb.start(Disk::Durable).expect("MariaDB is installed");
    let places = [
        ("SQLite", String::new()),
        ("PostgreSQL", format!("[Database]\nURL = \"{}\"\n", postgres.fresh())),
        ("MariaDB", format!("[Database]\nURL = \"{}\"\n", mariadb.fresh())),
    ];
    for (place, database) in places {
        let two = home_with(2, &database);
        let mut api = two.jobmgr(&["serve", "--no-worker"]);
        api.env("JOBMGR_LOG", "warn");
        let api = two.serve_by(api);
        let _workers = [worker(&two), worker(&two)];
        let (mut ones, mut twos) = (Vec::new(), Vec::new());
        for round in 0..=REPEATS {
            let (one, two) = (drain_once(&one, &alone, 4, 1000), drain_once(&two, &api, 4, 1000));
            // The first round warms them up.
            if round > 0 {
                ones.push(one);
                twos.push(two);
            }
        }
        let (one, two) = (median(ones), median(twos));
        println!(
            "workers: 2 processes of 2 slots on {place}: {two:.0} jobs/s; 1 process of 4 slots on SQLite: {one:.0}/s; \
             ratio {:.2}",
            two / one
        );
    }
}

/// From the POST at one process to the start of the job at another: told by the database, and not.
fn wake() {
    let postgres = Kind::Postgres.start(Disk::Durable).expect("PostgreSQL is installed");
    let mariadb = Kind::MariaDb.start(Disk::Durable).expect("MariaDB is installed");
    for (place, url, poll) in [("PostgreSQL", postgres.fresh(), "30s"), ("MariaDB", mariadb.fresh(), "1s")] {
        let home = home_with(1, &format!("Poll = \"{poll}\"\n[Database]\nURL = \"{url}\"\n"));
        let mut api = home.jobmgr(&["serve", "--no-worker"]);
        api.env("JOBMGR_LOG", "warn");
        let api = home.serve_by(api);
        let _worker = worker(&home);
        api.wait_for(post(&mut api.client(), "noop"), "completed");
        let mut client = api.client();
        let mut waits = Vec::new();
        for round in 0..60 {
            std::thread::sleep(Duration::from_millis(50 + round * 7 % 100));
            let start = Instant::now();
            let id = post(&mut client, "noop");
            while api.job(id)["job"]["started"].is_null() {
                std::thread::sleep(Duration::from_millis(1));
            }
            waits.push(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("wake: POST to started at another process on {place}, Poll = {poll}: median {:.1} ms", median(waits));
    }
}

/// The same with a million finished jobs in the database.
fn history() {
    let home = home(1);
    let mut server = quiet(&home);
    let (before, _) = drain_and_bare(&home, &server, 1);
    server.kill();
    let script = "
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute('pragma synchronous = off')
c.execute('''with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000)
insert into jobs (status, priority, name, parameters, user_id, created_at, run_after, attempt, epoch, crashes,
started_at, finished_at, artifact_count) select 'completed', 50, 'old', '{}', 1, i, 0, 1, 1, 0, i, i, 0 from n''')
c.commit()
c.execute('pragma wal_checkpoint(truncate)')
";
    let filled = Command::new("python3").args(["-c", script]).arg(home.path("jobmgr.db")).status().unwrap();
    assert!(filled.success());
    let server = quiet(&home);
    let (after, _) = drain_and_bare(&home, &server, 1);
    println!(
        "drain, concurrency 1: {before:.0} jobs/s with an empty history, {after:.0} with 1,000,000 finished jobs; ratio {:.2}",
        before / after
    );
}

/// A job of an executor in a library that does nothing, against one that runs /bin/true: from the POST to its end. With
/// a spare, and without: a change of the file's time makes the spare one of another file.
fn plugin() {
    let home = home(1);
    let library = home.path("noop.so");
    libraries::of_c("good.c", &library, &["-O2"]).expect("gcc is installed");
    let name = toml::Value::String(library.display().to_string());
    let config = format!("[Worker]\nConcurrency = 1\n[Executors.noop]\nPlugin = {name}\n");
    std::fs::write(home.path("config.toml"), config).unwrap();
    home.spec("plugin", "Command = \"x\"\nExecutor = \"noop\"\n");
    let server = quiet(&home);
    let mut client = server.client();
    let (mut process, mut warm, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..330 {
        process.push(whole_job(&mut client, "noop", round));
        warm.push(whole_job(&mut client, "plugin", round));
        // The spare is refilled after each job; it is to be there, and then to be of no use.
        std::thread::sleep(Duration::from_millis(20));
        let file = std::fs::File::options().write(true).open(&library).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + round)).unwrap();
        cold.push(whole_job(&mut client, "plugin", round));
    }
    let [process, warm, cold] = [process, warm, cold].map(|mut times| median(times.split_off(30)));
    println!("plugin: POST to completed, median: /bin/true as a process {process:.2} ms");
    for (what, time) in [("with a spare", warm), ("without one", cold)] {
        println!(
            "plugin: a no-op in a library, {what}: {time:.2} ms; added {:.2} ms; ratio {:.2}",
            time - process,
            time / process
        );
    }
    std::thread::sleep(Duration::from_millis(200));
    let is_spare = |pid: &u32| processes::command_line(*pid).iter().any(|word| word == "--plugin");
    let spare = processes::children(server.pid()).into_iter().find(is_spare).expect("a spare is there");
    println!("plugin: an idle spare's private memory {} KiB", processes::private_memory(spare) >> 10);
}

/// From the POST of a job to its end, in ms, after a short pause.
fn whole_job(client: &mut Client, name: &str, round: u64) -> f64 {
    std::thread::sleep(Duration::from_millis(20 + round % 7));
    let start = Instant::now();
    let id = post(client, name);
    while !ended(client, id) {
        std::thread::sleep(Duration::from_micros(200));
    }
    start.elapsed().as_secs_f64() * 1e3
}

fn latency() {
    let home = home(1);
    let server = quiet(&home);
    let mut client = server.client();
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for round in 0..330 {
        std::thread::sleep(Duration::from_millis(20 + round % 7));
        let start = Instant::now();
        spawn_true();
        bare.push(start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(20 + round % 5));
        let start = Instant::now();
        let id = post(&mut client, "noop");
        while !ended(&mut client, id) {
            std::thread::sleep(Duration::from_micros(200));
        }
        whole.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (whole, bare) = (median(whole.split_off(30)), median(bare.split_off(30)));
    println!(
        "POST to completed, median: {whole:.2} ms; bare spawn and wait {bare:.2} ms; added {:.2} ms",
        whole - bare
    );
}

/// Requests per second over so many connections.
fn rate(server: &Server, connections: usize, each: usize, ask: impl Fn(&mut Client) + Sync) -> f64 {
    let barrier = Barrier::new(connections + 1);
    let mut start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = server.client();
                barrier.wait();
                (0..each).for_each(|_| ask(&mut client));
            });
        }
        barrier.wait();
        start = Instant::now();
    });
    (connections * each) as f64 / start.elapsed().as_secs_f64()
}

/// With the worker held by a gate, so that what is measured is the submission.
fn submit() {
    for connections in [1, 16] {
        let home = home(1);
        let server = quiet(&home);
        let gate = post(&mut server.client(), "gate");
        server.wait_for(gate, "started");
        let rates = (0..REPEATS).map(|_| {
            rate(&server, connections, 4000 / connections, |client| {
                post(client, "noop");
            })
        });
        let rates = rates.collect();
        println!("submissions on {connections} connection(s): {:.0}/s", median(rates));
    }
}

fn get() {
    let home = home(1);
    let server = quiet(&home);
    let id = server.start("noop", serde_json::json!({}));
    server.wait(id);
    for connections in [1, 16] {
        let rates = (0..REPEATS).map(|_| {
            rate(&server, connections, 16_000 / connections, |client| {
                assert_eq!(client.get(&format!("/jobs/get?id={id}")).status, 200);
            })
        });
        let rates = rates.collect();
        println!("GETs of a finished job on {connections} connection(s): {:.0}/s", median(rates));
    }
}

/// From the job's last write to `completed`, against copying the same file into the same folder with a sync.
fn artifact() {
    let home = home(1);
    let server = quiet(&home);
    let blob = home.path("blob");
    shell(&format!("head -c 1073741824 /dev/urandom > {}", blob.display()));
    home.sh(
        "artifact",
        &format!(
            "cp {} $JOBMGR_ARTIFACTS_DIR/x.bin && sync $JOBMGR_ARTIFACTS_DIR/x.bin && date +%s.%N",
            blob.display()
        ),
        "Timeout = \"5m\"",
    );
    let (mut ours, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let copy = home.path("artifacts-store/copy");
        let start = Instant::now();
        shell(&format!("cp {} {copy} && sync {copy}", blob.display(), copy = copy.display()));
        copies.push(start.elapsed().as_secs_f64());
        std::fs::remove_file(&copy).unwrap();
        let end = server.run("artifact", serde_json::json!({}));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert_eq!(end.status, "completed", "{}", end.result);
        ours.push(now - end.result.trim().parse::<f64>().unwrap());
    }
    let (ours, copy) = (median(ours), median(copies));
    println!("artifact of 1 GiB: stored in {ours:.2} s; plain copy with sync {copy:.2} s; ratio {:.2}", copy / ours);
}

fn shell(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
}

/// MiB of a field of /proc/PID/status.
fn mib(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn runner_of(server: u32) -> u32 {
    let mut found = None;
    eventually("the runner is there", || {
        let tasks = std::fs::read_dir(format!("/proc/{server}/task")).unwrap();
        found = tasks.flatten().find_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        found.is_some()
    });
    found.unwrap()
}

fn memory() {
    let home = home(1);
    let server = quiet(&home);
    server.run("noop", serde_json::json!({}));
    let runner = runner_of(server.pid());
    println!("memory idle: server {:.1} MiB, runner {:.1} MiB", mib(server.pid(), "VmRSS"), mib(runner, "VmRSS"));
    let script = "truncate -s 4G $JOBMGR_ARTIFACTS_DIR/x.bin";
    home.sh("large", script, "Timeout = \"5m\"");
    let end = server.run("large", serde_json::json!({}));
    assert_eq!((end.status.as_str(), end.artifacts.len()), ("completed", 1), "{}", end.result);
    println!(
        "memory at its peak, with an artifact of 4 GiB: server {:.1} MiB, runner {:.1} MiB",
        mib(server.pid(), "VmHWM"),
        mib(runner, "VmHWM")
    );
}
