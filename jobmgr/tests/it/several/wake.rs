//! How long a job waits for a worker elsewhere.

use std::time::Instant;

use super::*;

/// How long it takes from before the POST until the job itself has run, for each of some jobs.
fn waits(fleet: &Fleet, jobs: usize) -> Vec<Duration> {
    fleet.sh("mark", ": > mark-$JOBMGR_JOB_ID", "");
    let api = fleet.api();
    let _worker = fleet.worker(&[]);
    // The first one starts the runner; and listening begins a moment after the start.
    api.run("mark", json!({}));
    let mut waits: Vec<Duration> = (0..jobs)
        .map(|_| {
            let asked = Instant::now();
            let id = start(&api, "mark");
            while !fleet.home.path(&format!("mark-{id}")).exists() {
                assert!(asked.elapsed() < Duration::from_secs(60), "job {id} does not start");
                std::thread::sleep(Duration::from_millis(1));
            }
            let waited = asked.elapsed();
            api.wait(id);
            // The worker has looked in vain, and waits for a signal.
            std::thread::sleep(Duration::from_millis(20));
            waited
        })
        .collect();
    waits.sort_unstable();
    println!("POST to started: median {:?}, longest {:?}", waits[jobs / 2], waits[jobs - 1]);
    waits
}

#[test]
fn a_notification_wakes_a_worker_at_once() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"30s\"") else { return };
    let waits = waits(&fleet, 15);
    assert!(waits[7] < Duration::from_millis(250), "{waits:?}");
}

#[test]
fn without_notifications_it_looks_within_the_poll_interval() {
    for kind in [Kind::MariaDb, Kind::PgBouncer] {
        let Some(fleet) = on(kind, "[Worker]\nPoll = \"300ms\"") else { continue };
        let waits = waits(&fleet, 5);
        // The interval, its jitter of a tenth, and what a busy machine adds.
        assert!(waits[2] < Duration::from_millis(330 + 300), "{kind:?}: {waits:?}");
    }
}
