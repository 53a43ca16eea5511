//! Starting cases and jobs.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use jobmgr_executor_process::{Options, Process};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Context, Error, Event, Executor, Job, NoConfig, Outcome, Stop};

const CASE: &str = "ZOO_CASE";

/// Runs a test's body in a process that looks like a runner: this program again, with only that test.
pub fn alone<F: FnOnce()>(body: F) {
    // The closure's path is the test's name with a suffix.
    let path = std::any::type_name::<F>();
    let name = path.strip_prefix("zoo::").and_then(|path| path.strip_suffix("::{{closure}}")).unwrap();
    if std::env::var(CASE).is_ok_and(|case| case == name) {
        become_runner();
        return body();
    }
    let test = std::env::current_exe().unwrap();
    let output =
        Command::new(test).args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CASE, name).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{name} in its own process:\n{said}");
}

#[cfg(target_os = "linux")]
fn become_runner() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

#[cfg(windows)]
fn become_runner() {}

/// A job that runs this command.
pub fn job<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Job<Options> {
    let mut job = Job::new("1", 1, "zoo-1-1", Options::default());
    job.command = command.into_iter().map(Into::into).collect();
    job.env = system_env();
    job
}

#[cfg(target_os = "linux")]
fn system_env() -> BTreeMap<String, String> {
    BTreeMap::from([("PATH".into(), std::env::var("PATH").unwrap())])
}

/// Windows programs do not load without the folder of the system.
#[cfg(windows)]
fn system_env() -> BTreeMap<String, String> {
    ["SystemRoot", "PATH"].into_iter().filter_map(|name| Some((name.into(), std::env::var(name).ok()?))).collect()
}

/// What a job did.
#[derive(Debug)]
pub struct Ran {
    pub result: Result<Outcome, Error>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub events: Vec<Event>,
    pub took: Duration,
}

impl Ran {
    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        self.result.as_ref().unwrap()
    }

    /// Why the executor failed.
    pub fn error(&self) -> &Error {
        self.result.as_ref().unwrap_err()
    }

    /// Its standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The notes that were left with it.
    pub fn warnings(&self) -> Vec<&str> {
        let mut warnings = Vec::new();
        for event in &self.events {
            if let Event::Warning(text) = event {
                warnings.push(text.as_str());
            }
        }
        warnings
    }
}

/// Runs a job to its end.
pub fn run(job: &Job<Options>) -> Ran {
    run_until(job, |_| None)
}

/// Runs a job and asks it to stop as soon as its output says so.
pub fn run_until(job: &Job<Options>, wanted: impl Fn(&[u8]) -> Option<Stop> + Sync) -> Ran {
    let host = Host::default();
    let process = Process::new(NoConfig {}).unwrap();
    let start = Instant::now();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                match wanted(&host.stdout()) {
                    Some(why) => return host.stop(why),
                    None => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        let result = process.run(job, &Context::new(&host));
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    });
    Ran { result, stdout: host.stdout(), stderr: host.stderr(), events: host.events(), took: start.elapsed() }
}

/// Wants this stop when the job has written `mark`.
pub fn after(mark: &'static str, why: Stop) -> impl Fn(&[u8]) -> Option<Stop> + Sync {
    move |output| output.windows(mark.len()).any(|part| part == mark.as_bytes()).then_some(why)
}
