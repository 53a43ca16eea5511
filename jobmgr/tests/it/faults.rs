//! A database, a store or a folder for temporary files that is away for a while, and rows that somebody has edited.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jobmgr::domain::job::Reason;
use serde_json::json;

use crate::support::processes::runs;
use crate::support::programs::or_skip;
use crate::support::server::{Home, eventually, whole};

const KEYS: &str = "Timeout = \"10m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";

/// Runs statements on a home's database, as an administrator's tool would.
fn edit(home: &Home, sql: &str) {
    let script =
        "import sqlite3,sys; c=sqlite3.connect('jobmgr.db',timeout=30); c.executescript(sys.argv[1]); c.commit()";
    let done = Command::new("python3").args(["-c", script, sql]).current_dir(home.dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Somebody who keeps the database locked until it is dropped.
struct Locked(Child);

impl Locked {
    fn new(home: &Home) -> Locked {
        let script = "import sqlite3,sys; c=sqlite3.connect('jobmgr.db',timeout=30); c.execute('begin immediate'); \
                      print('locked',flush=True); sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).current_dir(home.dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Locked(child)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn a_locked_database_delays_and_loses_nothing() {
    let home = Home::new("");
    home.sh("quick", "echo quick", "");
    home.sh("gate", "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done; echo $JOBMGR_ATTEMPT", KEYS);
    let server = home.serve();
    let gate = server.start("gate", json!({ "home": home.dir.path() }));
    server.wait_for(gate, "started");
    let locked = Locked::new(&home);
    // Its end, and a submission, meet the lock.
    std::fs::write(home.path("go"), "").unwrap();
    let late = std::thread::scope(|scope| {
        let submission = scope.spawn(|| server.start("quick", json!({})));
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            assert_eq!(server.job(gate)["job"]["status"], "started", "readers are not locked out");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!submission.is_finished());
        drop(locked);
        submission.join().unwrap()
    });
    assert_eq!(server.wait(gate).result, "1\n");
    assert_eq!(server.wait(late).result, "quick\n");
}

#[test]
fn who_cannot_renew_its_lease_ends_its_job_before_another_may_have_it() {
    let home = Home::new("[Worker]\nLease = \"3s\"");
    let script = "cd \"$JOBMGR_PARAMETER_HOME\"; [ $JOBMGR_ATTEMPT = 1 ] || { echo attempt $JOBMGR_ATTEMPT; exit; }\n\
                  setsid sleep 600 & echo $$ $! > pids; sleep 600";
    home.sh("long", script, KEYS);
    let server = home.serve();
    let id = server.start("long", json!({ "home": home.dir.path() }));
    eventually("the job runs", || whole(&home.path("pids")).is_some());
    let pids = whole(&home.path("pids")).unwrap();
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let locked = Locked::new(&home);
    eventually("the job is ended", || !pids.iter().any(|pid| runs(*pid)));
    assert_eq!(server.job(id)["job"]["status"], "started", "nobody can have written anything");
    drop(locked);
    assert_eq!(server.wait(id).result, "attempt 2\n");
    assert!(home.log().contains("lease lost"), "{}", home.log());
}

#[test]
fn a_store_that_is_away_for_a_while_costs_time_only() {
    let home = Home::new("");
    let script = "echo $JOBMGR_ATTEMPT; echo kept > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"; head -c 100000 /dev/zero >&2";
    home.sh("leaves", script, "");
    let server = home.serve();
    let (store, away) = (home.path("artifacts-store"), home.path("away"));
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(&store, "in the way").unwrap();
    let id = server.start("leaves", json!({}));
    eventually("the store is missed", || home.log().contains("can't be stored yet"));
    assert_eq!(server.job(id)["job"]["status"], "started");
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", "1\n"));
    assert_eq!(server.download(&ended.artifacts[0]), b"kept\n");
}

#[test]
fn a_cleaner_of_temporary_files_stops_nobody() {
    let home = Home::new("");
    home.sh("writes", "echo 1 > file; head -c 200000 /dev/zero; echo 2 > \"$JOBMGR_ARTIFACTS_DIR/a\"", "");
    let mut server = home.serve();
    assert_eq!(server.run("writes", json!({})).status, "completed");
    for name in home.left_in_tmp() {
        let path = home.path("tmp").join(name);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let since = Instant::now();
    let ended = server.run("writes", json!({}));
    assert_eq!((ended.status.as_str(), ended.result.len(), ended.artifacts.len()), ("completed", 200_000, 1));
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    crate::support::processes::signal(server.pid(), crate::support::processes::Signal::TERM);
    assert_eq!(server.exit().code(), Some(0));
    assert_eq!(home.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn a_row_that_cannot_be_read_fails_alone() {
    let home = Home::new("");
    home.sh("gate", "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done", KEYS);
    home.sh("quick", "echo quick", "");
    let server = home.serve();
    let gate = server.start("gate", json!({ "home": home.dir.path() }));
    server.wait_for(gate, "started");
    let ids: Vec<i64> = (0..4).map(|_| server.start("quick", json!({}))).collect();
    edit(&home, &format!("update jobs set parameters = '{{\"a\":' where id = {}", ids[0]));
    edit(&home, &format!("update jobs set parameters = '[1]' where id = {}", ids[1]));
    edit(&home, &format!("update jobs set status = 'paused' where id = {}", ids[2]));
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(server.wait(ids[3]).result, "quick\n");
    for id in &ids[..2] {
        let ended = server.wait(*id);
        assert!(ended.status == "failed" && ended.result.contains("parameters in the database"), "{ended:?}");
        assert_eq!(home.stored(*id).reason, Some(Reason::CorruptRow));
    }
    assert_eq!(server.job(ids[2])["status"], "error", "{}", server.job(ids[2]));
    assert_eq!(server.run("quick", json!({})).result, "quick\n");
}

#[test]
fn what_no_program_can_be_given_fails_at_once_with_a_reason() {
    let home = Home::new("");
    home.sh("takes", "echo ${#JOBMGR_PARAMETER_TEXT}", "[[Parameter]]\nName = \"text\"\nType = \"string\"");
    let server = home.serve();
    let most = 131_072 - "JOBMGR_PARAMETER_TEXT=".len() - 1;
    assert_eq!(server.run("takes", json!({ "text": "x".repeat(most) })).result, format!("{most}\n"));
    let ended = server.run("takes", json!({ "text": "x".repeat(most + 1) }));
    assert_eq!(ended.status, "failed");
    assert!(ended.result.contains("too long"), "{}", ended.result);
}

#[test]
fn a_job_inherits_no_input_no_file_and_no_ignored_signal_of_ours() {
    let home = Home::new("");
    let script = "cat; ls /proc/self/fd | tr '\\n' ' '; sed -n 's/SigIgn:\\t//p' /proc/self/status";
    home.sh("looks", script, "");
    // Someone starts the server with a file open.
    let mut command = Command::new("sh");
    let serve = format!("exec 7</etc/passwd; exec {} serve", env!("CARGO_BIN_EXE_jobmgr"));
    command.args(["-c", &serve]).envs(home.jobmgr(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = home.serve_by({
        command.current_dir(home.dir.path());
        command
    });
    let ended = server.run("looks", json!({}));
    let (files, ignored) = ended.result.trim_end().rsplit_once(' ').unwrap();
    // The fourth file is the folder that it lists.
    assert_eq!(files, "0 1 2 3");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let [ours, ignored] = [ours, ignored].map(|mask| u64::from_str_radix(mask, 16).unwrap());
    // Rust ignores SIGPIPE; what else is ignored was so before (nohup: SIGHUP), but for what the server listens to: SIGHUP,
    // SIGINT, SIGTERM. Signals from 32 on are the C library's own.
    let listened = 1 | 1 << 1 | 1 << 14;
    assert_eq!(ignored & 0x7FFF_FFFF & !listened, ours & 0x7FFF_FFFF & !(1 << 12) & !listened);
}

#[test]
fn the_environment_is_exactly_what_the_jobspec_says() {
    let home = Home::new("");
    let keys = "Command = \"/usr/bin/env\"\nPreserveEnvVars = [\"KEPT\", \"ABSENT\"]\nEnv = { FIXED = \"1\" }\n\
                [[Parameter]]\nName = \"other-option\"\nType = \"int\"";
    home.spec("env", keys);
    let mut command = home.jobmgr(&["serve"]);
    command.env("KEPT", "yes").env("SECRET", "canary");
    let server = home.serve_by(command);
    let id = server.start("env", json!({ "other-option": "007", "undeclared": "x" }));
    let result = server.wait(id).result;
    let paths = ["JOBMGR_ARTIFACTS_DIR", "JOBMGR_OUTPUT", "JOBMGR_PROGRESS"];
    let short = |line| paths.into_iter().find(|name| str::starts_with(line, name)).unwrap_or(line);
    let mut lines: Vec<&str> = result.lines().map(short).collect();
    lines.sort_unstable();
    let job = format!("JOBMGR_JOB_ID={id}");
    let expected = [
        "FIXED=1",
        "JOBMGR_ARTIFACTS_DIR",
        "JOBMGR_ATTEMPT=1",
        &job,
        "JOBMGR_OUTPUT",
        "JOBMGR_PARAMETER_OTHER-OPTION=7",
        "JOBMGR_PARAMETER_OTHER_OPTION=7",
        "JOBMGR_PROGRESS",
        "KEPT=yes",
    ];
    assert_eq!(lines, expected);
}

/// A control group that holds what is in it, as the kernel holds processes that wait for a dead disk: SIGKILL included.
struct Freezer(PathBuf);

impl Freezer {
    /// Version 1: that of version 2 lets SIGKILL pass.
    fn new() -> Result<Freezer, String> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/freezer/jobmgr-test-{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Freezer(folder))
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }

    fn hold(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
        self.write("freezer.state", "FROZEN");
        let state = || std::fs::read_to_string(self.0.join("freezer.state")).unwrap();
        eventually("it is held", || state().trim() == "FROZEN");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.write("freezer.state", "THAWED");
        let until = Instant::now() + Duration::from_secs(10);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn row_36_a_process_that_cannot_be_killed_fails_its_job_and_retires_its_worker() {
    let Some(freezer) = or_skip("freezer control group (version 1, writable)", Freezer::new()) else { return };
    let home = Home::new("[Worker]\nConcurrency = 2");
    home.sh(
        "held",
        "echo $$ > \"$JOBMGR_PARAMETER_HOME/pid.new\"; mv \"$JOBMGR_PARAMETER_HOME/pid.new\" \
        \"$JOBMGR_PARAMETER_HOME/pid\"; sleep 600",
        &KEYS.replace("10m", "3s"),
    );
    home.sh("next", "echo next", "");
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_KILL_LIMIT_MS", "1000");
    let server = home.serve_by(command);
    let id = server.start("held", json!({ "home": home.dir.path() }));
    eventually("it runs", || home.path("pid").exists());
    let pid = std::fs::read_to_string(home.path("pid")).unwrap().trim().parse().unwrap();
    freezer.hold(pid);
    assert_eq!(server.wait(id).status, "failed");
    assert!(runs(pid), "nothing has ended it");
    let job = home.stored(id);
    let ended = job.ended.unwrap();
    assert_eq!(job.reason, Some(Reason::Unkillable), "{ended:?}");
    let text = "unkillable: a process that the job started is still there 1s after it was killed; the kernel holds it";
    assert!(ended.error.unwrap().starts_with(text));
    // The other slot takes no more either, and everybody is told.
    let next = server.start("next", json!({}));
    let workers = server.client().get("/v1/workers").json();
    eventually("it says that it drains", || server.client().get("/v1/workers").json().to_string().contains("draining"));
    let ready = server.client().get("/readyz");
    assert_eq!(ready.status, 503, "{workers}");
    assert!(home.log().contains("claiming no more jobs until the next start"), "{}", home.log());
    assert_eq!(server.job(next)["job"]["status"], "queued");
    drop(freezer);
    eventually("it is gone", || !runs(pid));
    drop(server);
    // The next start takes jobs again.
    let server = home.serve();
    assert_eq!(server.wait(next).status, "completed");
}
