//! How long a job waits for a worker elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::support::proxy::Proxy;

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

/// Ends those who listen, again and again for about a second. A transaction sees the list of sessions as it was, unless
/// it asks for a new one.
const NOBODY_LISTENS: &str = "do $$ begin for turn in 1..100 loop perform pg_stat_clear_snapshot(); \
     perform pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike \
     'listen%'; perform pg_sleep(0.01); end loop; end $$";
const LISTENERS: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";

#[test]
fn with_all_notifications_lost_it_looks_within_the_poll_interval() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"300ms\"") else { return };
    let (server, database) = (Kind::Postgres.shared().unwrap(), fleet.home.url.rsplit('/').next().unwrap());
    let enough = AtomicBool::new(false);
    let waits = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                server.sql(database, NOBODY_LISTENS);
            }
        });
        let waits = waits(&fleet, 5);
        enough.store(true, Ordering::Relaxed);
        waits
    });
    assert!(waits[2] < Duration::from_millis(330 + 300), "{waits:?}");
}

#[test]
fn who_listens_on_a_connection_that_is_gone_without_a_word_listens_again() {
    let Some(fleet) = on(Kind::Postgres, "[Worker]\nPoll = \"60s\"") else { return };
    let server = Kind::Postgres.shared().unwrap();
    let database = fleet.home.url.rsplit('/').next().unwrap();
    let proxy = Proxy::to(server.port(), true);
    fleet.sh("mark", ": > mark-$JOBMGR_JOB_ID", "");
    let api = fleet.api();
    let through = fleet.home.url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let _worker = fleet.worker(&[("JOBMGR_DATABASE__URL", &through)]);
    api.run("mark", json!({}));
    let listeners = || server.sql(database, LISTENERS).parse::<u32>().unwrap();
    eventually("both listen", || listeners() == 2);
    proxy.freeze();
    // The server does not know that nobody hears the old one.
    eventually("the worker listens anew", || listeners() == 3);
    let asked = Instant::now();
    assert_eq!(api.run("mark", json!({})).status, "completed");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}
