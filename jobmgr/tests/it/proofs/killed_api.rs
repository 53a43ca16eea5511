//! kill -9 of the API while clients submit: what was answered is there, and nothing is there twice.

use std::thread;
use std::time::Duration;

use jobmgr::domain::job::Status;
use serde_json::json;

use super::clients::Clients;
use super::rows::Rows;
use super::{Database, elsewhere, on_each_database};
use crate::support::server::{Home, Server};

on_each_database!(what_was_answered_is_there_once);

const CLIENTS: usize = 8;
const CONFIG: &str = "[Worker]\nLease = \"4s\"\nPoll = \"200ms\"\nConcurrency = 2";

fn what_was_answered_is_there_once(database: Database) {
    let Some(home) = database.home(CONFIG) else { return };
    home.spec("job", "Command = \"/bin/true\"\n[[Parameter]]\nName = \"number\"\nType = \"string\"");
    let kills = database.extent().of(4, 12, 100);
    let _workers = [home.worker_by(elsewhere(&home, 1)), home.worker_by(elsewhere(&home, 2))];
    let mut api = api(&home);
    let clients = Clients::of(api.address, 5..40);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| clients.submit());
        }
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(fastrand::u64(50..400)));
            api.kill();
            api = self::api(&home);
            clients.go_to(api.address);
        }
        clients.enough();
    });
    let mut rows = Rows::of(&home);
    let ids = rows.up_to(api.start("job", json!({ "number": "last" })));
    rows.wait(&ids);
    for id in &ids {
        let job = rows.settled(*id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{job:?}");
    }
    let unanswered = clients.check(&rows, &ids);
    assert!(ids.len() > 4 * kills && unanswered > kills as u64 * 4 / 5, "no kill came at a bad time");
}

fn api(home: &Home) -> Server {
    home.serve_by(home.jobmgr(&["serve", "--no-worker"]))
}
