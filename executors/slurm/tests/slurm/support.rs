//! Jobs, and waiting for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jobmgr_executor_slurm::{Config, Handle, Options, Slurm};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Cluster as _, Clustered, Executor, Job, Logged, Outcome, Recover, Result, Stop};

use crate::cluster::Cluster;

impl Cluster {
    /// An executor that uses it, as in another process.
    pub fn executor(&self) -> Arc<Clustered<Slurm>> {
        self.executor_with(|_| {})
    }

    /// One with another configuration.
    pub fn executor_with(&self, change: impl FnOnce(&mut Config)) -> Arc<Clustered<Slurm>> {
        let mut config = Config { conf: Some(self.conf()), poll_every: 1.0, command_limit: 30.0, ..Config::default() };
        change(&mut config);
        Arc::new(Clustered::of(Slurm::new(config).unwrap()))
    }
}

/// Waits until it is so.
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, is_so);
}

/// The same for what takes long.
pub fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A job that runs this with a shell.
pub fn job(cluster: &Cluster, script: &str) -> Job<Options> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed).to_string();
    let mut job = Job::new(&number, 1, format!("jm-{}-{number}-1", std::process::id()), Options::default());
    let dir = cluster.path().join("jobs").join(&job.key);
    std::fs::create_dir_all(dir.join("artifacts")).unwrap();
    job.dir = dir.display().to_string();
    job.working_directory.clone_from(&job.dir);
    job.command = ["sh", "-c", script].map(Into::into).to_vec();
    job.env = BTreeMap::from([
        ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ("JOBMGR_ARTIFACTS_DIR".into(), format!("{}/artifacts", job.dir)),
        ("JOBMGR_OUTPUT".into(), format!("{}/.jobmgr-output.json", job.dir)),
    ]);
    job
}

/// A job in a thread of its own.
pub struct Running {
    pub host: Arc<Host>,
    thread: JoinHandle<Result<Outcome>>,
}

/// Starts a job.
pub fn start(executor: &Arc<Clustered<Slurm>>, job: &Job<Options>) -> Running {
    spawn(executor, job, |executor, job, host| executor.run(job, &host.context()))
}

/// Goes on with a job that was detached, with what was kept of it.
pub fn recover(executor: &Arc<Clustered<Slurm>>, job: &Job<Options>, before: &Host, by_handle: bool) -> Running {
    let handle = before.checkpoints().pop().filter(|_| by_handle);
    let mut job = job.clone();
    job.logged = [Logged::bytes(before.stdout().len() as u64), Logged::bytes(before.stderr().len() as u64)];
    spawn(executor, &job, move |executor, job, host| executor.recover(job, handle.as_deref(), &host.context()))
}

fn spawn(
    executor: &Arc<Clustered<Slurm>>,
    job: &Job<Options>,
    act: impl FnOnce(&Clustered<Slurm>, &Job<Options>, &Host) -> Result<Outcome> + Send + 'static,
) -> Running {
    let host = Arc::new(Host::default());
    let (executor, job, theirs) = (Arc::clone(executor), job.clone(), Arc::clone(&host));
    Running { host, thread: thread::spawn(move || act(&executor, &job, &theirs)) }
}

impl Running {
    /// Waits for the end.
    pub fn end(self) -> (Result<Outcome>, Arc<Host>) {
        until("the job has ended", || self.thread.is_finished());
        (self.thread.join().unwrap(), self.host)
    }

    /// Waits for the end of one that has to end well for the executor.
    pub fn outcome(self) -> Outcome {
        self.end().0.unwrap()
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn stop(&self, why: Stop) {
        self.host.stop(why);
    }

    /// Waits until the job has written this.
    pub fn until_said(&self, text: &str) {
        until(&format!("the job has said '{text}'"), || {
            assert!(!self.thread.is_finished(), "the job has ended before it said '{text}'");
            self.stdout().contains(text)
        });
    }

    pub fn stdout(&self) -> String {
        String::from_utf8(self.host.stdout()).unwrap()
    }

    /// What Slurm calls the job.
    pub fn number(&self) -> String {
        until("the job was submitted", || !self.host.checkpoints().is_empty());
        let handle: Handle = serde_json::from_slice(&self.host.checkpoints().pop().unwrap()).unwrap();
        handle.job.to_string()
    }
}

/// Runs a job to its end.
pub fn run(cluster: &Cluster, job: &Job<Options>) -> (Result<Outcome>, Arc<Host>) {
    start(&cluster.executor(), job).end()
}
