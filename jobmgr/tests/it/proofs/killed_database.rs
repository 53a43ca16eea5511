//! kill -9 of the database's server, and one that hangs for a while, under clients and workers: what was answered is
//! there, every job ends once, and nobody has to be started again.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::clients::Clients;
use super::rows::Rows;
use super::{agree, elsewhere, long, witness};
use crate::support::databases::{DatabaseServer, Disk, Kind};
use crate::support::process::Process;
use crate::support::server::{Home, Server, eventually};

const CLIENTS: usize = 8;
const LEASE: Duration = Duration::from_secs(3);
const CONFIG: &str = "[Worker]\nLease = \"3s\"\nPoll = \"200ms\"\nConcurrency = 3";

#[test]
fn rows_68_69_70_on_postgres() {
    nothing_is_lost_or_doubled(Kind::Postgres);
}

#[test]
fn rows_68_69_70_on_mariadb() {
    nothing_is_lost_or_doubled(Kind::MariaDb);
}

fn nothing_is_lost_or_doubled(kind: Kind) {
    let Some(server) = kind.start(Disk::Fast) else { return };
    let home = Home::on(&server.fresh(), CONFIG);
    // Where `slow` is, jobs say that they have begun, and take longer than a lease.
    let here = home.dir.path().display();
    let slow = format!("if [ -e {here}/slow ]; then : > {here}/begun; sleep 4; fi\n");
    witness::spec(&home, "job", &(slow + witness::WORK), "[[Parameter]]\nName = \"number\"\nType = \"string\"");
    let mut api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let mut workers = vec![home.worker_by(elsewhere(&home, 1)), home.worker_by(elsewhere(&home, 2))];
    let clients = Clients::of(api.address, 300..1500);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| clients.submit());
        }
        workers.push(disturb(&server, &home));
        clients.enough();
    });
    let mut last = None;
    eventually("a job is accepted", || {
        let form = [("name", "job"), ("parameters", "{\"number\":\"last\"}")];
        last = api.client().try_post("/jobs/start", &form).unwrap().json()["created"].as_i64();
        last.is_some()
    });
    let mut rows = Rows::of(&home);
    let ids = rows.up_to(last.unwrap());
    rows.wait(&ids);
    let unanswered = clients.check(&rows, &ids);
    let account = agree::check(&home, &rows, &ids);
    println!("{kind:?}: {account:?}");
    assert!(ids.len() > 50 && unanswered > 0, "no kill came at a bad time");
    assert!(!account.endings.is_empty(), "no kill met a job: {account:?}");
    assert!(account.given_up * 12 <= ids.len(), "{account:?}");
    check_all_run(&mut api, &mut workers);
}

/// Kills the server and starts it again several times, once while a worker starts, which is given back; in between it
/// answers nothing for so long that workers have to give up their leases.
fn disturb(server: &DatabaseServer, home: &Home) -> Process {
    let rounds = if long() { 60 } else { 6 };
    let mut late = None;
    for round in 0..rounds {
        thread::sleep(Duration::from_millis(fastrand::u64(1500..2500)));
        server.kill();
        if round == 1 {
            late = Some(home.worker_by(elsewhere(home, 3)));
            eventually("a worker waits for it", || home.log().contains("is not there yet"));
        }
        server.restart();
        if [3, 5].contains(&(round % 6)) {
            thread::sleep(Duration::from_secs(1));
            let (slow, begun) = (home.path("slow"), home.path("begun"));
            // One of the last time may have been late.
            drop(fs::remove_file(&begun));
            fs::write(&slow, "").unwrap();
            eventually("a job runs that will not end soon", || begun.exists());
            server.pause();
            fs::remove_file(&slow).unwrap();
            fs::remove_file(&begun).unwrap();
            // Not an event: nobody tells that a lease is no longer sure.
            thread::sleep(LEASE * 5 / 6);
            server.resume();
        }
    }
    late.unwrap()
}

fn check_all_run(api: &mut Server, workers: &mut [Process]) {
    let processes = workers.iter_mut().chain([&mut **api]);
    for process in processes {
        assert!(process.runs(), "process {} has ended", process.pid());
    }
    // They work as they did.
    let asked = Instant::now();
    let id = api.start("job", json!({ "number": "after" }));
    assert_eq!(api.wait(id).status, "completed");
    assert!(asked.elapsed() < Duration::from_secs(20), "only after {:?}", asked.elapsed());
}
