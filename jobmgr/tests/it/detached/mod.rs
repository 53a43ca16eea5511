//! Jobs that outlive jobmgr: begun once, gone on with after whatever happens, with every byte of their output.

/// Servers that end and start again.
mod restarts;
/// Several workers, and what happens when executors fail.
mod takeovers;

pub mod cluster;

use cluster::Cluster;
use serde_json::Value;

use crate::support::databases::Kind;
use crate::support::libraries::{built, install};
use crate::support::server::{Home, Server, eventually};

/// Writes 400 numbered lines within some seconds, to both streams, and leaves an artifact.
const COUNT: &str = "echo \"$JOBMGR_JOB_ID $JOBMGR_ATTEMPT\" >> ../witness; i=0; \
    while [ $i -lt 200 ]; do i=$((i+1)); echo \"line $i\"; echo \"note $i\" >&2; sleep 0.02; done; \
    echo made > \"$JOBMGR_ARTIFACTS_DIR/made.txt\"; echo over";
/// Runs until the file `go` is there.
const WAIT: &str = "echo \"$JOBMGR_JOB_ID $JOBMGR_ATTEMPT\" >> ../witness; echo begun; \
    until [ -e ../go ]; do sleep 0.05; done; echo over";

struct Site {
    /// Ends before its folder goes.
    cluster: Cluster,
    home: Home,
}

impl Site {
    fn new(config: &str) -> Self {
        Self::of(Home::new(config))
    }

    /// On a server; `None`, after saying so, where that can't be had.
    fn on(kind: Kind, config: &str) -> Option<Self> {
        Some(Self::of(Home::on(&kind.shared()?.fresh(), config)))
    }

    fn of(home: Home) -> Self {
        let library = install(&built("jobmgr-executor-outside"), &home.path("plugins"), "outside");
        let cluster = Cluster::new(&home.path("cluster"));
        let mut config = std::fs::read_to_string(home.path("config.toml")).unwrap();
        config += &format!(
            "\n[Executors.outside]\nPlugin = '{}'\nConfig = {{ Folder = '{}' }}\n",
            library.display(),
            cluster.folder.display()
        );
        std::fs::write(home.path("config.toml"), config).unwrap();
        let site = Self { cluster, home };
        site.spec("count", COUNT, "");
        site.spec("wait", WAIT, "");
        site
    }

    /// A jobspec of the executor; its script runs in the cluster's folder.
    fn spec(&self, name: &str, script: &str, more: &str) {
        let script = format!("cd '{}'; {script}", self.cluster.folder.display());
        self.home.sh(name, &script, &format!("Executor = \"outside\"\nKillGrace = \"5s\"\n{more}"));
    }

    /// The jobs that began, each with its attempt, as they say it themselves.
    fn begun(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.path("witness")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn go(&self) {
        std::fs::write(self.home.path("go"), "").unwrap();
    }
}

fn start(server: &Server, name: &str) -> i64 {
    server.start(name, serde_json::json!({}))
}

fn status(server: &Server, id: i64) -> String {
    server.job(id)["job"]["status"].as_str().unwrap_or_default().to_owned()
}

/// The job as the database has it, once it has ended.
fn ended(server: &Server, site: &Site, id: i64) -> jobmgr::domain::job::Job {
    eventually("the job ends", || !matches!(status(server, id).as_str(), "queued" | "started"));
    site.home.stored(id)
}

fn log(server: &Server, id: i64, stream: &str) -> String {
    String::from_utf8(server.client().get(&format!("/v1/jobs/{id}/logs?stream={stream}")).body).unwrap()
}

/// All of it, each line once.
fn is_whole(server: &Server, id: i64) {
    let lines = |word: &str| (1..=200).map(|number| format!("{word} {number}\n")).collect::<String>();
    assert_eq!(log(server, id, "stdout"), lines("line") + "over\n");
    assert_eq!(log(server, id, "stderr"), lines("note"));
}

fn attempts(server: &Server, id: i64) -> Vec<Value> {
    server.client().get(&format!("/v1/jobs/{id}/attempts")).json()["items"].as_array().unwrap().clone()
}
