//! Clients that submit jobs, each with a number of its own, to an API that may go away at any time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jobmgr::domain::job::JobId;
use serde_json::json;

use super::rows::Rows;
use crate::support::client::Client;

/// What they sent and were answered. The job is `job`, its number the parameter `number`.
pub struct Clients {
    /// Where the API is, or was.
    address: Mutex<SocketAddr>,
    /// How long each waits after an answer, in milliseconds.
    pause: Range<u64>,
    enough: AtomicBool,
    /// How many submissions were sent, whole or not.
    sent: AtomicU64,
    /// How many of them were not answered, or not with an id.
    unanswered: AtomicU64,
    /// Number and id of each that was.
    answered: Mutex<Vec<(u64, JobId)>>,
}

impl Clients {
    pub fn of(address: SocketAddr, pause: Range<u64>) -> Self {
        Clients {
            address: Mutex::new(address),
            pause,
            enough: AtomicBool::default(),
            sent: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            answered: Mutex::default(),
        }
    }

    /// The API is here now.
    pub fn go_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    /// They stop.
    pub fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.enough.load(Ordering::Relaxed)
    }

    /// One of them, until there is enough.
    pub fn submit(&self) {
        while self.goes_on() {
            let address = *self.address.lock().unwrap();
            let Ok(mut client) = Client::try_connect(address) else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            while self.submit_by(&mut client) && self.goes_on() {
                thread::sleep(Duration::from_millis(fastrand::u64(self.pause.clone())));
            }
        }
    }

    /// Submits one; `false`: the connection is gone.
    fn submit_by(&self, client: &mut Client) -> bool {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let parameters = json!({ "number": number.to_string() }).to_string();
        let answer = client.try_post("/jobs/start", &[("name", "job"), ("parameters", &parameters)]);
        match &answer {
            Ok(answer) if answer.status == 200 => {
                let id = answer.json()["created"].as_i64().unwrap_or_else(|| panic!("{answer:?}"));
                self.answered.lock().unwrap().push((number, id));
                return true;
            }
            // The database is away. It may have the job.
            Ok(answer) => {
                assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{answer:?}")
            }
            Err(_) => {}
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        answer.is_ok()
    }

    /// Each submission that was answered is there under its id, and none is there twice. `ids`: of all jobs, the last
    /// of which is none of the clients'. Gives how many submissions were not answered.
    pub fn check(&self, rows: &Rows, ids: &[JobId]) -> u64 {
        let mut of_number = BTreeMap::new();
        for id in ids {
            let job = rows.settled(*id);
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
        unanswered
    }
}
