//! Deaths, restarts and orderly ends of servers and runners.

/// Servers and runners that are killed at random.
mod chaos;
/// kill -9 of the server, of a runner, of both.
mod crash;
/// SIGTERM, SIGINT, a second one.
mod drain;
/// How processes are started.
mod spawns;
/// Clients that go away, and jobs that were only just accepted.
mod submit;
/// A server that is stopped for longer than its lease.
mod takeover;

use std::path::Path;

use crate::support::processes::{of_jobs, runs};
use crate::support::server::{Home, eventually, whole};

/// Starts processes that are hard to find, writes their numbers and its runner's to `pids-ATTEMPT`, and sleeps; all
/// in the first attempt only. Each attempt leaves an artifact of 300,000 digits.
const STUBBORN: &str = r#"
echo "attempt $JOBMGR_ATTEMPT"
mkdir "$JOBMGR_ARTIFACTS_DIR/sub"
head -c 300000 /dev/zero | tr '\0' "$JOBMGR_ATTEMPT" > "$JOBMGR_ARTIFACTS_DIR/sub/digits.txt"
[ "$JOBMGR_ATTEMPT" = 1 ] || exit 0
cd "$JOBMGR_PARAMETER_HOME"
echo $PPID >> pids
echo $$ >> pids
sleep 600 & echo $! >> pids
setsid sh -c 'trap "" TERM HUP; echo $$ >> pids; while :; do sleep 600; done' &
(setsid sh -c 'echo $$ >> pids; sleep 600; true' &)
while [ "$(wc -l < pids)" -lt 5 ]; do sleep 0.01; done
mv pids pids-1
sleep 600
"#;

const STUBBORN_KEYS: &str =
    "Timeout = \"10m\"\nKillGrace = \"300ms\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";

fn stubborn(config: &str) -> Home {
    let home = Home::new(config);
    home.sh("stubborn", STUBBORN, STUBBORN_KEYS);
    home.sh("quick", "echo quick", "");
    home
}

fn to(home: &Home) -> serde_json::Value {
    serde_json::json!({ "home": home.dir.path() })
}

/// The numbers that the first attempt of `stubborn` wrote: its runner's, then its processes'.
fn started(home: &Home) -> Vec<u32> {
    eventually("the job has started its processes", || whole(&home.path("pids-1")).is_some());
    let text = whole(&home.path("pids-1")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Nothing of any job is left: no process and no directory but the roots of `servers` that run.
fn assert_nothing_left(home: &Home, servers: usize) {
    eventually("no process of a job is left", || of_jobs(home.dir.path()).is_empty());
    let left = home.left_in_tmp();
    assert_eq!(left.len(), 2 * servers, "{left:?}");
    let of_jobs = home.left_of_jobs();
    assert!(of_jobs.is_empty(), "{of_jobs:?}");
}

fn assert_gone(pids: &[u32]) {
    for pid in pids {
        assert!(!runs(*pid), "{pid} of {pids:?} runs still");
    }
}

/// The names in a folder; none where it is not there.
fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
