use std::time::{Duration, Instant};

use crate::setup::{home_with, median, post, worker};
use crate::support::databases::{Disk, Kind};

/// From the POST at one process to the start of the job at another: told by the database, and not.
pub fn wake() {
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
