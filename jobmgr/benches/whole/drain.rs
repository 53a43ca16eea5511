use std::time::{Duration, Instant};

use crate::setup::{REPEATS, bare, ended, home, median, post, quiet};
use crate::support::server::{Home, Server};

/// Jobs per second from the opening of the gate to the end of the last.
pub fn drain_once(home: &Home, server: &Server, concurrency: usize, jobs: usize) -> f64 {
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

pub fn drain_and_bare(home: &Home, server: &Server, concurrency: usize) -> (f64, f64) {
    let (mut drains, mut bares) = (Vec::new(), Vec::new());
    drain_once(home, server, concurrency, 200);
    for _ in 0..REPEATS {
        bares.push(bare(concurrency, 1000));
        drains.push(drain_once(home, server, concurrency, 1000));
    }
    (median(drains), median(bares))
}

pub fn drain() {
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
