//! Disks that are full for a while: small file systems in memory, which are gone when the server is that sees them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::programs;
use crate::support::server::{Home, Server, eventually};

/// Leaves 1 MiB of output and as much in a file.
const SCRIPT: &str = "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done\n\
                      head -c 1048576 /dev/zero | tr '\\0' x > \"$JOBMGR_ARTIFACTS_DIR/a\"; echo $JOBMGR_ATTEMPT";
const KEYS: &str = "Timeout = \"10m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";

/// A server for which `folder` is a file system of 8 MiB; `None`, after saying so, where that can't be.
fn on_small_disk(home: &Home, folder: &str) -> Option<(Server, Disk)> {
    let mount = "mount -t tmpfs -o size=8m tmpfs \"$0\"";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(home.path(folder));
        command
    };
    fs::create_dir_all(home.path(folder)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let tried = if is_root { programs::run(&mut unshare(mount)) } else { Err("only root can mount one".to_owned()) };
    programs::or_skip("small file system", tried)?;
    let jobmgr = home.jobmgr(&["serve"]);
    let mut command = unshare(&format!("{mount} && exec \"$@\""));
    command.arg(jobmgr.get_program()).args(jobmgr.get_args()).current_dir(home.dir.path());
    command.envs(jobmgr.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = home.serve_by(command);
    // As the server sees it.
    let root = PathBuf::from(format!("/proc/{}/root", server.pid()));
    let disk = Disk { folder: root.join(home.path(folder).strip_prefix("/").unwrap()) };
    Some((server, disk))
}

/// A small file system.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.folder.join("in the way")).unwrap();
        let mut piece = 64 << 10;
        while piece > 0 {
            if file.write_all(&vec![0; piece]).is_err() {
                piece /= 2;
            }
        }
    }

    fn clear(&self) {
        fs::remove_file(self.folder.join("in the way")).unwrap();
    }
}

fn to(home: &Home) -> serde_json::Value {
    json!({ "home": home.dir.path() })
}

fn opened(home: &Home) {
    fs::write(home.path("go"), "").unwrap();
}

/// The job has ended well, in this attempt, with all that it left.
fn assert_whole(server: &Server, id: i64, attempt: &str) {
    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", attempt));
    assert!(server.download(&ended.artifacts[0]) == [b'x'; 1 << 20], "job {id}");
}

/// All files below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_full_disk_under_the_database_refuses_jobs_and_loses_none() {
    let home = Home::new("[Database]\nURL = \"sqlite:db/jobmgr.db\"");
    home.sh("leaves", SCRIPT, KEYS);
    let Some((server, disk)) = on_small_disk(&home, "db") else { return };
    let (runs, waits) = (server.start("leaves", to(&home)), server.start("leaves", to(&home)));
    server.wait_for(runs, "started");
    disk.fill();
    let form = [("name", "leaves"), ("parameters", "{}")];
    let mut refused = None;
    // What is left of the log takes a few.
    eventually("a job is refused", || {
        let answer = server.client().try_post("/jobs/start", &form).unwrap();
        refused = (answer.status != 200).then_some(answer);
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{refused:?}");
    assert!(home.log().contains("the database is not available: database or disk is full"), "{}", home.log());
    opened(&home);
    eventually("its end can't be written", || home.log().contains("what becomes of a job can't be written yet"));
    assert_eq!(server.job(runs)["job"]["status"], "started");
    assert_eq!(server.client().get("/healthz").status, 200);
    disk.clear();
    assert_whole(&server, runs, "1\n");
    assert_whole(&server, waits, "1\n");
    let later = server.start("leaves", to(&home));
    assert_whole(&server, later, "1\n");
}

#[test]
fn a_full_disk_under_the_store_delays_and_loses_nothing() {
    let home = Home::new("[Storage]\nURL = \"file:store\"");
    home.sh("leaves", SCRIPT, KEYS);
    let Some((server, disk)) = on_small_disk(&home, "store") else { return };
    let id = server.start("leaves", to(&home));
    server.wait_for(id, "started");
    disk.fill();
    opened(&home);
    eventually("the store is full", || home.log().contains("can't be stored yet"));
    assert!(home.log().contains("No space left on device"), "{}", home.log());
    assert_eq!(server.job(id)["job"]["status"], "started");
    // Jobs are taken on, and answered for.
    let next = server.start("leaves", to(&home));
    std::thread::sleep(Duration::from_secs(1));
    let before = files(&disk.folder).len();
    disk.clear();
    assert_whole(&server, id, "1\n");
    assert_whole(&server, next, "1\n");
    assert_eq!(files(&disk.folder).len(), before - 1 + 2, "one object of each job, and nothing half written");
}

#[test]
fn a_full_disk_under_the_temporary_folder_delays_and_loses_nothing() {
    let home = Home::new("");
    let script =
        "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done\nhead -c 1048576 /dev/zero | tr '\\0' x";
    home.sh("prints", script, KEYS);
    let Some((server, disk)) = on_small_disk(&home, "tmp") else { return };
    let id = server.start("prints", to(&home));
    server.wait_for(id, "started");
    disk.fill();
    opened(&home);
    eventually("its output has no place", || home.log().contains("the job's output can't be kept: No space left"));
    eventually("it waits", || server.job(id)["job"]["status"] == "queued");
    assert_eq!(server.client().get("/healthz").status, 200);
    disk.clear();
    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.len()), ("completed", 1 << 20));
    assert_eq!(home.stored(id).attempt, 2);
    let left = files(&disk.folder);
    assert_eq!(left.len(), 1, "nothing is left but the worker's own lock: {left:?}");
}
