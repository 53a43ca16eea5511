//! Executors in libraries, the worst that there are: each fails the one job that it has, with a reason, and nothing
//! else notices.

use serde_json::json;

use crate::support::libraries::{of_c, of_crate};
use crate::support::processes::{carrying, command_line, is_plugin_runner, working_in};
use crate::support::server::{Ended, Home, Server, eventually};

/// Which files may be libraries, and what is told of them.
mod files;
/// The process that forks runners.
mod forks;
/// What a library may do to the line between its runner and the worker.
mod frames;
/// A runner without a worker.
mod line;
/// Libraries that do what executors must not do, one misdeed per job.
mod misdeeds;
/// Cancels, timeouts and deaths of the server.
mod stops;
/// Libraries of other versions than the server's.
mod versions;

/// A folder to serve from, with executors.
struct Plugged {
    home: Home,
}

/// What the API tells of a job's last attempt.
#[derive(Debug)]
struct Told {
    ended: Ended,
    reason: Option<String>,
    error: String,
    /// What the executor said for itself.
    own: String,
    attempt: serde_json::Value,
}

impl Plugged {
    /// With a mark in the environment of what runners start.
    fn new(config: &str) -> Plugged {
        let home = Home::new(config);
        std::fs::create_dir(home.path("plugins")).unwrap();
        Plugged { home }
    }

    /// Adds `[Executors.NAME]` for a library.
    fn executor(&self, name: &str, library: &std::path::Path, more: &str) {
        let file = self.home.path("config.toml");
        let mut config = std::fs::read_to_string(&file).unwrap();
        let library = toml::Value::String(library.display().to_string());
        config.push_str(&format!("\n[Executors.{name}]\nPlugin = {library}\nPreserveEnvVars = [\"{MARK}\"]\n{more}\n"));
        std::fs::write(file, config).unwrap();
    }

    /// Adds the executor `bad`, and a jobspec for each of its modes; `None` where it can't be built.
    fn bad(&self, more: &str) -> Option<()> {
        self.executor("bad", &of_crate("jobmgr-executor-bad")?, more);
        Some(())
    }

    /// A jobspec of the executor `bad`.
    fn mode(&self, name: &str, mode: &str, keys: &str, options: &str) {
        let spec = format!("Command = \"x\"\nExecutor = \"bad\"\n{keys}\n[Options]\nMode = \"{mode}\"\n{options}\n");
        self.home.spec(name, &spec);
    }

    /// Compiles a library to `plugins/NAME.so`, and adds it as an executor with a jobspec of the same name.
    fn c(&self, name: &str, source: &str, flags: &[&str]) -> Option<()> {
        let library = self.home.path("plugins").join(format!("{name}.so"));
        of_c(source, &library, flags)?;
        self.named(name, &library);
        Some(())
    }

    /// An executor and a jobspec of the same name.
    fn named(&self, name: &str, library: &std::path::Path) {
        self.executor(name, library, "");
        self.home.spec(name, &format!("Command = \"x\"\nExecutor = \"{name}\"\nTimeout = \"60s\"\n"));
    }

    fn mark(&self) -> String {
        format!("{MARK}={}", self.home.dir.path().display())
    }

    fn serve(&self) -> Server {
        let mut command = self.home.jobmgr(&["serve"]);
        command.env(MARK, self.home.dir.path());
        self.home.serve_by(command)
    }

    /// What runs of libraries beside jobmgr's own processes.
    fn strays(&self) -> Vec<(u32, Vec<String>)> {
        let carriers = carrying(&self.mark()).into_iter().map(|pid| (pid, command_line(pid)));
        carriers.filter(|(_, words)| !words.first().is_none_or(|word| word.ends_with("jobmgr"))).collect()
    }

    /// The runners that libraries are in.
    fn runners(&self) -> Vec<u32> {
        working_in(self.home.dir.path()).into_iter().filter(|pid| is_plugin_runner(*pid)).collect()
    }

    /// At most a spare of each executor is there.
    fn assert_nothing_left(&self, executors: usize) {
        assert_eq!(self.strays(), [], "who is told of a job's end may rely on it");
        eventually("the runners of jobs are gone", || self.runners().len() <= executors);
        eventually("the directory is gone", || self.home.left_of_jobs().is_empty());
    }
}

/// A variable that all processes have that libraries start.
const MARK: &str = "JM_TEST_MARK";

/// Submits a job, waits for its end, and asks for all that is told about it.
fn tell(server: &Server, name: &str) -> Told {
    told(server, server.start(name, json!({})))
}

fn told(server: &Server, id: i64) -> Told {
    let ended = server.wait(id);
    let attempts = server.client().get(&format!("/v1/jobs/{id}/attempts")).json();
    let attempt = attempts["items"][0].clone();
    let own = server.client().get(&format!("/v1/jobs/{id}/logs?stream=executor")).body;
    Told {
        ended,
        reason: attempt["reason"].as_str().map(ToOwned::to_owned),
        error: attempt["error"].as_str().unwrap_or_default().to_owned(),
        own: String::from_utf8_lossy(&own).into_owned(),
        attempt,
    }
}
