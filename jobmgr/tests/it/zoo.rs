//! Jobs that try to stay, through the whole server; when each has ended, nothing of it is left.

use std::time::{Duration, Instant};

use jobmgr::domain::job::{LogBody, Reason};
use serde_json::json;

use crate::support::processes::{children, of_jobs, peak_memory, runs};
use crate::support::server::{Ended, Home, Server};

/// How much the loud job writes; all of the promise takes minutes in a debug build.
fn loud_bytes() -> u64 {
    if crate::support::long() { 10 << 30 } else { 2 << 30 }
}

/// How much more memory server and runner together may have at once than for a job that writes nothing; how much that
/// is depends on the build.
const MEMORY: u64 = 32 << 20;

/// Runs a script that writes the numbers of processes that are to be gone; gives its end and how long it took.
fn run(script: &str, more: &str) -> (Ended, Duration) {
    let home = Home::new("[Worker]\nMaxLogBytes = \"1MiB\"");
    home.sh("animal", script, more);
    let server = home.serve();
    // A first job, so that the runner is there.
    home.sh("first", "", "");
    assert_eq!(server.run("first", json!({})).status, "completed");
    let since = Instant::now();
    let ended = server.run("animal", json!({}));
    let took = since.elapsed();
    let pids: Vec<u32> = ended.result.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(!pids.is_empty(), "{ended:?}");
    assert_nothing_left(&home, &server, &pids);
    (ended, took)
}

/// Asked at once, without patience: who is told of a job's end may rely on it.
fn assert_nothing_left(home: &Home, server: &Server, pids: &[u32]) {
    for pid in pids {
        assert!(!runs(*pid), "{pid} of {pids:?} runs still");
    }
    assert!(of_jobs(home.dir.path()).is_empty());
    let runners = children(server.pid());
    assert_eq!(runners.len(), 1, "{runners:?}");
    assert!(children(runners[0]).is_empty(), "not even a zombie");
    // The directory goes while the end is written, so it may be a moment later.
    crate::support::server::eventually("the directory is gone", || home.left_of_jobs().is_empty());
}

#[test]
fn double_fork() {
    let (ended, took) = run("(sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' &)& sleep 0.3", "");
    assert_eq!(ended.status, "completed");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn daemon() {
    let script = "import os,sys\n\
                  if os.fork(): os.wait(); sys.exit()\nos.setsid()\nif os.fork(): os._exit(0)\n\
                  os.chdir('/'); os.environ.clear(); print(os.getpid(), flush=True)\n\
                  for fd in range(64):\n  try: os.close(fd)\n  except OSError: pass\n\
                  os.execve('/bin/sleep', ['sleep', '600'], {})";
    let home = Home::new("");
    let script = toml::Value::String(script.into());
    home.spec("daemon", &format!("Command = \"python3\"\nArguments = [\"-c\", {script}]"));
    let server = home.serve();
    let ended = server.run("daemon", json!({}));
    assert_eq!(ended.status, "completed", "{ended:?}");
    assert_nothing_left(&home, &server, &[ended.result.trim().parse().unwrap()]);
}

#[test]
fn a_session_of_its_own() {
    let (ended, took) = run("setsid sh -c 'echo $$; exec sleep 600 >/dev/null 2>&1' & sleep 0.3", "");
    assert_eq!(ended.status, "completed");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[test]
fn who_ignores_sigterm_is_killed_after_the_grace() {
    let keys = "Timeout = \"500ms\"\nKillGrace = \"1s\"";
    let (ended, took) = run("trap '' TERM INT HUP; echo $$; while :; do sleep 0.1; done", keys);
    assert_eq!(ended.status, "failed");
    assert!(ended.result.ends_with("\ntimeout after 500ms"), "{ended:?}");
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn who_obeys_sigterm_is_not_waited_for() {
    let (ended, took) = run("echo $$; exec sleep 600", "Timeout = \"500ms\"\nKillGrace = \"10m\"");
    assert!(ended.result.ends_with("\ntimeout after 500ms"), "{ended:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn who_has_stopped_itself_is_ended_too() {
    let (ended, took) = run("echo $$; kill -STOP $$", "Timeout = \"500ms\"\nKillGrace = \"10m\"");
    assert!(ended.result.ends_with("\ntimeout after 500ms"), "{ended:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn two_hundred_children() {
    let script = "i=0; while [ $i -lt 200 ]; do sleep 600 >/dev/null 2>&1 & echo $!; i=$((i+1)); done";
    let (ended, took) = run(script, "Timeout = \"1m\"");
    assert_eq!((ended.status.as_str(), ended.result.lines().count()), ("completed", 200));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn who_holds_the_output_is_given_two_seconds() {
    let (ended, took) = run("sleep 600 & echo $!; exit 3", "");
    assert!(ended.result.ends_with("\nexit status 3"), "{ended:?}");
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_job_ends_with_its_process_not_with_its_output() {
    let (ended, took) = run("echo $$; exec >&- 2>&-; sleep 1; touch \"$JOBMGR_ARTIFACTS_DIR/later\"", "");
    assert_eq!(ended.status, "completed");
    assert_eq!(ended.artifacts.len(), 1);
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_loud_job_is_timed_out_like_any_other() {
    let (ended, took) = run("echo $$; exec yes", "Timeout = \"1s\"");
    assert!(ended.result.ends_with("\ntimeout after 1s"), "{}", ended.result.len());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn gigabytes_of_output_cost_no_memory() {
    let home = Home::new("[Server]\nMaxResultBytes = 1000\n[Worker]\nMaxLogBytes = \"1MiB\"");
    let bytes = loud_bytes();
    let script = format!("echo beginning; yes 0123456789abcde | head -c {bytes}; echo the end");
    home.sh("loud", &script, "Timeout = \"30m\"");
    home.sh("quiet", "true", "");
    let server = home.serve();
    assert_eq!(server.run("quiet", json!({})).status, "completed");
    let runners = children(server.pid());
    let before = [server.pid(), runners[0]].map(peak_memory);
    let id = server.start("loud", json!({}));
    let until = Instant::now() + Duration::from_secs(1200);
    while !server.job(id)["result"].is_string() {
        assert!(Instant::now() < until, "{:?}", server.job(id));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(children(server.pid()), runners, "it was the same runner");
    let memory = [server.pid(), runners[0]].map(peak_memory);
    eprintln!("server {} MiB, runner {} MiB", memory[0] >> 20, memory[1] >> 20);
    let more = memory.iter().sum::<u64>() - before.iter().sum::<u64>();
    assert!(more < MEMORY, "{before:?} {memory:?}");

    let ended = server.wait(id);
    assert_eq!((ended.status.as_str(), ended.result.len()), ("completed", 1000));
    assert!(ended.result.starts_with("beginning\n0123456789abcde\n0123456789abcde\n"));
    let stdout = home.stored(id).ended.unwrap().stdout;
    assert_eq!(stdout.written, bytes + 18);
    let LogBody::Object { key, size } = stdout.body else { panic!("{stdout:?}") };
    let log = std::fs::read_to_string(home.path("artifacts-store").join(key)).unwrap();
    let gap = format!("\n[jobmgr: {} bytes left out here]\n", bytes + 18 - (1 << 20));
    assert_eq!((log.len() as u64, log.len()), (size, (1 << 20) + gap.len()));
    let (beginning, end) = log.split_once(&gap).unwrap();
    assert!(beginning.starts_with("beginning\n0123456789abcde\n"));
    assert!(end.ends_with("0123456789abcde\nthe end\n"), "{:?}", &end[end.len() - 40..]);
    assert_eq!(beginning.len(), 1 << 19);
    assert!(home.left_of_jobs().is_empty());
}

#[test]
fn locked_folders_and_ten_thousand_files_are_removed() {
    let script = "mkdir -p a/b/c locked/in; echo x > locked/in/file; i=0\n\
                  while [ $i -lt 100 ]; do mkdir d$i; (cd d$i; seq 100 | xargs touch); i=$((i+1)); done\n\
                  chmod 0555 locked/in d1 d2; chmod 0 locked; chmod 0555 .; echo $$";
    let (ended, _) = run(script, "Timeout = \"1m\"");
    assert_eq!(ended.status, "completed", "{ended:?}");
    // Also when the job took the rights, and its folder, away from itself.
    let (ended, _) = run("echo $$; rm -rf \"$JOBMGR_ARTIFACTS_DIR\"; cd ..; rm -rf \"$OLDPWD\"", "");
    assert_eq!(ended.status, "completed", "{ended:?}");
}

#[test]
fn a_stop_reaches_those_in_other_sessions_politely_first() {
    let script = "setsid sh -c 'trap \"echo asked > $JOBMGR_ARTIFACTS_DIR/asked; exit\" TERM; echo $$; \
                  while :; do sleep 0.05; done' & wait";
    let (ended, _) = run(script, "Timeout = \"1s\"\nKillGrace = \"5s\"");
    assert_eq!(ended.status, "failed");
    assert_eq!(ended.artifacts.len(), 1, "{ended:?}");
    assert_eq!(ended.artifacts[0]["name"], "asked");
}

#[test]
fn a_fork_storm_ends_at_its_timeout() {
    // Each generation is short, so that at any time few processes live; none is there long enough to be listed twice.
    let script = "echo $$; storm() { (storm) & (sleep 0.01) & sleep 0.02; exit; }; (storm) & sleep 600";
    let (ended, took) = run(script, "Timeout = \"1s\"\nKillGrace = \"300ms\"");
    assert!(ended.result.ends_with("\ntimeout after 1s"), "{ended:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_stop_that_comes_too_late_hits_nobody_else() {
    let home = Home::new("");
    // They end about when their time is over, some before and some after they were asked to.
    for more in 0..8 {
        home.sh(&format!("race{more}"), "sleep 0.1", &format!("Timeout = \"{}us\"", 100_500 + more * 500));
    }
    home.sh("next", "sleep 0.02; echo next", "");
    let server = home.serve();
    let ids: Vec<_> = (0..64)
        .map(|n| (server.start(&format!("race{}", n % 8), json!({})), server.start("next", json!({}))))
        .collect();
    let mut late = 0;
    for (race, next) in ids {
        let ended = server.wait(race);
        assert!(ended.status == "completed" || ended.result.starts_with("timeout after 10"), "{ended:?}");
        late += i32::from(ended.status == "failed");
        assert_eq!(server.wait(next).result, "next\n");
    }
    eprintln!("{late} of 64 were late");
}

#[test]
fn hundreds_of_jobs_leave_no_file_open() {
    let home = Home::new("[Worker]\nConcurrency = 2");
    home.sh(
        "writes",
        "echo x > \"$JOBMGR_ARTIFACTS_DIR/a\"; head -c 100000 /dev/zero; sleep 600 >/dev/null 2>&1 &",
        "",
    );
    let server = home.serve();
    let rounds = |count: usize| {
        let ids: Vec<i64> = (0..count).map(|_| server.start("writes", json!({}))).collect();
        for id in ids {
            assert_eq!(server.wait(id).status, "completed");
        }
        let open = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let runners = children(server.pid());
        assert_eq!(runners.len(), 2);
        (open(server.pid()), runners.into_iter().map(open).sum::<usize>())
    };
    let before = rounds(20);
    let after = rounds(200);
    // Connections to clients and to the database come and go.
    assert!(after.0 <= before.0 + 8 && after.1 == before.1, "{before:?} {after:?}");
}

#[test]
fn how_it_ended_is_kept_apart() {
    let home = Home::new("");
    let ends = [
        ("code", "exit 3", "exit status 3", Reason::ExitCode, Some(3), None),
        ("large", "exit 255", "exit status 255", Reason::ExitCode, Some(255), None),
        ("signal", "kill -9 $$", "signal: killed", Reason::Signal, None, Some(9)),
        ("core", "kill -SEGV $$", "signal: segmentation fault", Reason::Signal, None, Some(11)),
        ("like", "exit 137", "exit status 137", Reason::ExitCode, Some(137), None),
    ];
    for (name, script, ..) in ends {
        home.sh(name, script, "");
    }
    let server = home.serve();
    for (name, _, text, reason, code, signal) in ends {
        let id = server.start(name, json!({}));
        assert_eq!(server.wait(id).result, text);
        let job = home.stored(id);
        let ended = job.ended.unwrap();
        assert_eq!((job.reason, ended.exit_code, ended.signal), (Some(reason), code, signal), "{name}");
    }
}
