//! kill -9 of the API while clients submit: what was answered is there, and nothing is there twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jobmgr::domain::job::{JobId, Status};
use serde_json::json;

use super::rows::Rows;
use super::{Database, elsewhere, long, on_each_database};
use crate::support::client::Client;
use crate::support::server::{Home, Server};

on_each_database!(what_was_answered_is_there_once);

const CLIENTS: usize = 8;
const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"200ms\"\nConcurrency = 2";

fn what_was_answered_is_there_once(database: Database) {
    let Some(home) = database.home(CONFIG) else { return };
    home.spec("job", "Command = \"/bin/true\"\n[[Parameter]]\nName = \"number\"\nType = \"string\"");
    let _workers = [home.worker_by(elsewhere(&home, 1)), home.worker_by(elsewhere(&home, 2))];
    let mut api = api(&home);
    let clients = Clients { address: Mutex::new(api.address), ..Clients::default() };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| clients.submit());
        }
        for _ in 0..if long() { 100 } else { 12 } {
            thread::sleep(Duration::from_millis(fastrand::u64(50..400)));
            api.kill();
            api = self::api(&home);
            *clients.address.lock().unwrap() = api.address;
        }
        clients.enough.store(true, Ordering::Relaxed);
    });
    clients.check(&home, api.start("job", json!({ "number": "last" })));
}

fn api(home: &Home) -> Server {
    home.serve_by(home.jobmgr(&["serve", "--no-worker"]))
}

/// Clients that submit jobs, each with a number of its own.
struct Clients {
    /// Where the API is, or was.
    address: Mutex<SocketAddr>,
    enough: AtomicBool,
    /// How many submissions were sent, whole or not.
    sent: AtomicU64,
    /// How many of them were not answered.
    unanswered: AtomicU64,
    /// Number and id of each that was answered.
    answered: Mutex<Vec<(u64, JobId)>>,
}

impl Default for Clients {
    fn default() -> Self {
        Clients {
            address: Mutex::new(SocketAddr::from(([127, 0, 0, 1], 1))),
            enough: AtomicBool::default(),
            sent: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            answered: Mutex::default(),
        }
    }
}

impl Clients {
    fn submit(&self) {
        while !self.enough.load(Ordering::Relaxed) {
            let address = *self.address.lock().unwrap();
            let Ok(mut client) = Client::try_connect(address) else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            while self.submit_by(&mut client) && !self.enough.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(fastrand::u64(5..40)));
            }
        }
    }

    /// Submits one; `false`: the connection is gone.
    fn submit_by(&self, client: &mut Client) -> bool {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let parameters = json!({ "number": number.to_string() }).to_string();
        let Ok(answer) = client.try_post("/jobs/start", &[("name", "job"), ("parameters", &parameters)]) else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let id = answer.json()["created"].as_i64().unwrap_or_else(|| panic!("{answer:?}"));
        self.answered.lock().unwrap().push((number, id));
        true
    }

    fn check(&self, home: &Home, last: JobId) {
        let mut rows = Rows::of(home);
        let ids: Vec<JobId> = (1..=last).filter(|id| rows.job(*id).is_some()).collect();
        rows.wait(&ids);
        let mut of_number = BTreeMap::new();
        for id in &ids {
            let job = rows.settled(*id);
            assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{job:?}");
            let twin = of_number.insert(job.parameters["number"].clone(), *id);
            assert_eq!(twin, None, "two rows of one submission: {job:?}");
        }
        let answered = self.answered.lock().unwrap();
        let (sent, unanswered) = (self.sent.load(Ordering::Relaxed), self.unanswered.load(Ordering::Relaxed));
        println!("{sent} sent, {} answered, {unanswered} not, {} rows", answered.len(), ids.len() - 1);
        for (number, id) in answered.iter() {
            assert_eq!(of_number.get(&number.to_string()), Some(id), "answered, and not there");
        }
        assert_eq!(answered.len() as u64 + unanswered, sent);
        assert!(ids.len() as u64 - 1 <= sent);
        assert!(answered.len() > 50 && unanswered > 10, "no kill came at a bad time");
    }
}
