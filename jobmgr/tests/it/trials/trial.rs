//! Processes and their database.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use jobmgr::config;
use jobmgr::domain::job::{Attempt, Job};
use jobmgr::store::Store;

use crate::support::databases::Kind;
use crate::support::server::{Home, Server, eventually};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Base {
    Sqlite,
    Server(Kind),
}

/// A folder, a database, and processes that share both.
pub struct Trial {
    pub home: Home,
    pub url: String,
}

/// A worker, or what was put before it; killed when it is dropped.
pub struct Process {
    child: Child,
}

impl Trial {
    /// On an empty database; `None` where there can't be one here.
    pub fn new(base: Base, config: &str) -> Option<Trial> {
        let home = Home::new(config);
        let url = match base {
            Base::Sqlite => format!("sqlite:{}", home.path("jobmgr.db").display()),
            Base::Server(kind) => kind.shared()?.fresh(),
        };
        Some(Trial { home, url })
    }

    /// A jobmgr with its temporary files below `tmp`: processes with the same folder there take over from each other
    /// at once, others when a lease has run out.
    pub fn jobmgr(&self, arguments: &[&str], tmp: &str) -> Command {
        let folder = self.home.path(tmp);
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = self.home.jobmgr(arguments);
        command.env("JOBMGR_DATABASE__URL", &self.url).env("TMPDIR", folder);
        command
    }

    /// Starts an API process.
    pub fn api(&self) -> Server {
        self.home.serve_by(self.jobmgr(&["serve", "--no-worker"], "tmp"))
    }

    /// Starts a worker.
    pub fn worker(&self, tmp: &str) -> Process {
        self.start(self.jobmgr(&["worker"], tmp))
    }

    /// Starts a worker by a command of `jobmgr`, changed or not; what it says goes to the log.
    pub fn start(&self, mut command: Command) -> Process {
        let log = File::options().create(true).append(true).open(self.home.path("server.log")).unwrap();
        Process { child: command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap() }
    }

    /// Where jobs write down their starts and ends.
    pub fn witness(&self) -> PathBuf {
        self.home.path("witness")
    }

    /// What they wrote.
    pub fn witnessed(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.witness()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Writes a jobspec that runs a shell script with `$WITNESS`.
    pub fn sh(&self, name: &str, script: &str, more: &str) {
        let witness = self.witness();
        self.home.sh(name, script, &format!("Env = {{ WITNESS = \"{}\" }}\n{more}", witness.display()));
    }

    /// A job, and its attempts that did not end it, as the database has them.
    pub fn stored(&self, id: i64) -> (Job, Vec<Attempt>) {
        let database = config::Database { url: Some(self.url.clone()), ..Default::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(&database).await.unwrap();
            let found = (store.job(id).await.unwrap().unwrap(), store.attempts(id).await.unwrap());
            store.close().await;
            found
        })
    }
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its death; gives the signal that it died of.
    pub fn died_of(&mut self, what: &str) -> Option<i32> {
        eventually(what, || self.has_ended());
        self.child.wait().unwrap().signal()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
