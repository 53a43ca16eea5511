//! Several processes on one database: what is asked of one shows in the others.

/// The end of a job that another process runs.
mod cancel;
/// Which worker runs what, and how much at once.
mod claims;
/// Output from a process that does not run the job.
mod logs;
/// What may not be started together, and how one that ends hands over.
mod roles;
/// Submitted here, run there, read elsewhere.
mod together;
/// Runs after a run that failed, or whose worker died.
mod tries;
/// How long a job waits for a worker elsewhere.
mod wake;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::databases::Kind;
use crate::support::process::Process;
use crate::support::server::{Home, Server, eventually};

/// Processes that share a folder, and a database of their own.
struct Fleet {
    home: Home,
}

/// A fleet on a file, which all processes of a machine may share.
fn on_sqlite(config: &str) -> Fleet {
    Fleet { home: Home::new(config) }
}

/// A fleet on a server; `None`, after saying so, where that can't be had.
fn on(kind: Kind, config: &str) -> Option<Fleet> {
    Some(Fleet { home: Home::on(&kind.shared()?.fresh(), config) })
}

impl Fleet {
    /// A process that only answers over HTTP.
    fn api(&self) -> Server {
        self.home.serve_by(self.home.jobmgr(&["serve", "--no-worker"]))
    }

    /// A worker that works, with some keys of its own: `JOBMGR_SECTION__KEY`.
    fn worker(&self, keys: &[(&str, &str)]) -> Process {
        let works = || self.home.log().matches(" works for ").count();
        let before = works();
        let mut command = self.home.jobmgr(&["worker"]);
        command.envs(keys.iter().copied());
        let worker = self.home.worker_by(command);
        eventually("the worker works", || works() > before);
        worker
    }

    /// A jobspec whose script runs in the fleet's folder.
    fn sh(&self, name: &str, script: &str, more: &str) {
        let folder = self.home.dir.path().display();
        self.home.sh(name, &format!("cd {folder}\n{script}"), more);
    }

    /// The lines that jobs have written to a file of the fleet's folder.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.path(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn touch(&self, file: &str) {
        std::fs::write(self.home.path(file), "").unwrap();
    }
}

/// Asks for a job's end; the status and the answer.
fn cancel(server: &Server, id: i64) -> (u16, Value) {
    let answer = server.client().try_send("POST", &format!("/v1/jobs/{id}/cancel"), "", b"").unwrap();
    (answer.status, answer.json())
}

fn start(server: &Server, name: &str) -> i64 {
    server.start(name, json!({}))
}

/// The job's attempts, the oldest first.
fn attempts(server: &Server, id: i64) -> Vec<Value> {
    let mut items = server.client().get(&format!("/v1/jobs/{id}/attempts")).json()["items"].take();
    let mut items = std::mem::take(items.as_array_mut().unwrap());
    items.reverse();
    items
}

/// The workers that are there and claim, as the API lists them.
fn workers(server: &Server) -> Vec<Value> {
    let mut list = server.client().get("/v1/workers").json()["items"].take();
    let mut list = std::mem::take(list.as_array_mut().unwrap());
    list.retain(|worker| worker["alive"] == true && worker["slots"] != 0);
    list
}

/// Nothing happens for a while that must not happen at all; long enough for several looks of every loop.
fn never(what: &str, happens: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_millis(1500);
    while std::time::Instant::now() < until {
        assert!(!happens(), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
