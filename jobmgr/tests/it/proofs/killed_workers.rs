//! kill -9 of workers while they work: every job ends once, with one result, from one attempt, whole.

use std::thread;
use std::time::{Duration, Instant};

use jobmgr::domain::job::{AttemptEnding, Status};
use serde_json::json;

use super::rows::Rows;
use super::{Database, agree, elsewhere, on_each_database, witness};
use crate::support::process::Process;
use crate::support::server::Home;

const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"200ms\"";
const EVERY: Duration = Duration::from_millis(300);

on_each_database!(every_job_ends_once_whole_and_from_one_attempt);

fn every_job_ends_once_whole_and_from_one_attempt(database: Database) {
    let Some(home) = database.home(CONFIG) else { return };
    let (jobs, seconds, at_least) = database.extent().of((60, 4, 1), (150, 10, 5), (500, 60, 5));
    let time = Duration::from_secs(seconds);
    witness::spec(&home, "job", witness::WORK, "");
    let api = home.serve_by(home.jobmgr(&["serve", "--no-worker"]));
    let mut rows = Rows::of(&home);
    let mut workers = Workers::start(&home, 4);
    let mut ids = Vec::new();
    let started = Instant::now();
    let kills = thread::scope(|scope| {
        let kills = scope.spawn(|| workers.kill_until(started + time));
        while !kills.is_finished() {
            // Evenly over the time, the last ones a while before its end.
            let due = started.elapsed().as_millis() * jobs * 5 / 4 / time.as_millis() + 20;
            while (ids.len() as u128) < jobs.min(due) {
                ids.push(api.start("job", json!({})));
            }
            rows.look(&ids);
            thread::sleep(Duration::from_millis(20));
        }
        kills.join().unwrap()
    });
    assert_eq!(ids.len() as u128, jobs);
    rows.wait(&ids);
    let account = agree::check(&home, &rows, &ids);
    println!("{database:?}: {kills} kills, {account:?}");
    assert!(account.of(AttemptEnding::Lost) >= at_least, "no kill came at a bad time: {account:?}");
    // A job that is met by three of the kills may be given up; that is rare.
    assert!(account.given_up * 12 <= ids.len(), "{account:?}");
    for id in ids.iter().step_by(25).filter(|id| rows.settled(**id).status == Status::Completed) {
        let expected = witness::artifacts(*id, rows.settled(*id).attempt);
        for (artifact, (_, bytes)) in api.wait(*id).artifacts.iter().zip(expected) {
            assert!(api.download(artifact) == bytes, "job {id} by the API: {artifact}");
        }
    }
}

/// Workers of which one at a time is killed and replaced.
struct Workers<'h> {
    home: &'h Home,
    running: Vec<(Process, u32)>,
    machines: u32,
}

impl<'h> Workers<'h> {
    fn start(home: &'h Home, count: u32) -> Self {
        let running = (0..count).map(|machine| (home.worker_by(elsewhere(home, machine)), machine)).collect();
        Workers { home, running, machines: count }
    }

    /// Kills one now and then; gives how many.
    fn kill_until(&mut self, end: Instant) -> u32 {
        let mut kills = 0;
        while Instant::now() < end {
            thread::sleep(EVERY);
            self.kill_one();
            kills += 1;
        }
        kills
    }

    /// The next one is started on the same machine, where it sees that its predecessor has died, or on another one,
    /// where only the lease tells.
    fn kill_one(&mut self) {
        let index = fastrand::usize(..self.running.len());
        let (worker, machine) = &mut self.running[index];
        worker.kill();
        if fastrand::bool() {
            *machine = self.machines;
            self.machines += 1;
        }
        *worker = self.home.worker_by(elsewhere(self.home, *machine));
    }
}
