use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::server::{Home, Server};

const TRUE: &str = "/bin/true";
/// How often most things are measured.
pub const REPEATS: usize = 5;

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn spawn_true() {
    let mut command = Command::new(TRUE);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}

/// Bare spawns and waits per second, on so many threads.
pub fn bare(threads: usize, count: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..count / threads).for_each(|_| spawn_true()));
        }
    });
    count as f64 / start.elapsed().as_secs_f64()
}

pub fn home(concurrency: usize) -> Home {
    home_with(concurrency, "")
}

/// `more`: further keys of `[Worker]`, and further sections.
pub fn home_with(concurrency: usize, more: &str) -> Home {
    let home = Home::new(&format!("[Worker]\nConcurrency = {concurrency}\n{more}"));
    home.spec("noop", &format!("Command = \"{TRUE}\"\n"));
    let gate = home.path("gate");
    home.sh("gate", &format!("while [ ! -e {} ]; do sleep 0.005; done", gate.display()), "Timeout = \"10m\"");
    home
}

pub fn quiet(home: &Home) -> Server {
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_LOG", "warn");
    home.serve_by(command)
}

pub fn post(client: &mut Client, name: &str) -> i64 {
    let answer = client.try_post("/jobs/start", &[("name", name), ("parameters", "{}")]).unwrap();
    answer.json()["created"].as_i64().unwrap()
}

pub fn ended(client: &mut Client, id: i64) -> bool {
    let body = client.get(&format!("/jobs/get?id={id}")).body;
    let body = String::from_utf8(body).unwrap();
    body.contains("\"status\":\"completed\"") || body.contains("\"status\":\"failed\"")
}

/// From the POST of a job to its end, in ms, after a short pause.
pub fn whole_job(client: &mut Client, name: &str, round: u64) -> f64 {
    std::thread::sleep(Duration::from_millis(20 + round % 7));
    let start = Instant::now();
    let id = post(client, name);
    while !ended(client, id) {
        std::thread::sleep(Duration::from_micros(200));
    }
    start.elapsed().as_secs_f64() * 1e3
}

/// Requests per second over so many connections.
pub fn rate(server: &Server, connections: usize, each: usize, ask: impl Fn(&mut Client) + Sync) -> f64 {
    rate_at(server.address, connections, each, ask)
}

/// The same of any server.
pub fn rate_at(address: SocketAddr, connections: usize, each: usize, ask: impl Fn(&mut Client) + Sync) -> f64 {
    let barrier = Barrier::new(connections + 1);
    let mut start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                barrier.wait();
                (0..each).for_each(|_| ask(&mut client));
            });
        }
        barrier.wait();
        start = Instant::now();
    });
    (connections * each) as f64 / start.elapsed().as_secs_f64()
}

/// Ends with the measurement.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub fn worker(home: &Home) -> Running {
    let mut command = home.jobmgr(&["worker"]);
    Running(command.env("JOBMGR_LOG", "warn").stdout(Stdio::null()).spawn().unwrap())
}
