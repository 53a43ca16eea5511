//! What a job may use.

use std::path::{Path, PathBuf};

use jobmgr_executor_process::{Limits, Size};
use jobmgr_plugin_api::{Ending, KillReason, Outcome, Stop};

use super::{assert_no_group, can, give_up_rights, limited};
use crate::linux::{assert_no_child, python, sh};
use crate::support::{after, alone, run, run_until};

const HOG: &str = "held=[]\nwhile 1: held.append(b'x'*(1<<20))";

#[test]
fn a_job_that_needs_more_memory_is_killed_and_that_is_said() {
    alone(|| {
        if !can(&["Memory"]) {
            return;
        }
        let memory = Some(Size(64 << 20));
        let ran = run(&limited(python(HOG), Limits { memory, ..Limits::default() }));
        assert_eq!(ran.outcome().ending, Ending::Killed(KillReason::OutOfMemory), "{ran:?}");
        assert_eq!(ran.outcome().signal, Some(9));
        let said = ran.outcome().message.as_deref();
        assert_eq!(said, Some("out of memory: the job needed more than Limits.Memory = 64MiB"));
        assert!(ran.warnings().is_empty(), "{ran:?}");
        assert_no_child();
        assert_no_group();
        // The runner has no limits of it: the next job is as free as before.
        let enough = run(&python("held=b'x'*(200<<20); print(len(held))"));
        assert_eq!(enough.text(), "209715200\n", "{enough:?}");
    });
}

#[test]
fn the_memory_of_all_processes_counts_together() {
    alone(|| {
        if !can(&["Memory"]) {
            return;
        }
        let script = "import os,time\nfor i in range(4): os.fork()\nheld=b'x'*(8<<20); time.sleep(600)";
        let ran = run(&limited(python(script), Limits { memory: Some(Size(64 << 20)), ..Limits::default() }));
        // Version 1 kills one after the other, so that the last one would sleep on.
        let killed = ran.outcome().ending == Ending::Killed(KillReason::OutOfMemory);
        assert!(killed, "{ran:?}");
    });
}

#[test]
fn a_job_that_survives_the_kill_of_a_part_is_told() {
    alone(|| {
        if !can(&["Memory"]) {
            return;
        }
        let script = format!("python3 -c \"{HOG}\" || exit 5");
        let ran = run(&limited(sh(&script), Limits { memory: Some(Size(64 << 20)), ..Limits::default() }));
        assert_eq!(ran.outcome().ending, Ending::Killed(KillReason::OutOfMemory), "{ran:?}");
        let script = format!("python3 -c \"{HOG}\"; exit 0");
        let ran = run(&limited(sh(&script), Limits { memory: Some(Size(64 << 20)), ..Limits::default() }));
        match &ran.outcome().ending {
            // Version 2 ends the whole group.
            Ending::Killed(KillReason::OutOfMemory) => {}
            ending => {
                assert_eq!(*ending, Ending::Exited(0), "{ran:?}");
                let said = "a process of the job was killed: it needed more memory than Limits.Memory = 64MiB";
                assert_eq!(ran.warnings(), [said]);
            }
        }
    });
}

#[test]
fn a_job_gets_no_more_processor_time_than_it_may() {
    alone(|| {
        if !can(&["Cpus"]) {
            return;
        }
        let script = "import time\nend=time.time()+1.5\nstart=time.process_time()\n\
                      while time.time()<end: pass\nprint(time.process_time()-start)";
        let ran = run(&limited(python(script), Limits { cpus: Some(0.2), ..Limits::default() }));
        let used: f64 = ran.text().trim().parse().unwrap();
        // 0.3 s, and one period more.
        assert!(used < 0.7, "{used}");
        assert_no_group();
    });
}

#[test]
fn a_job_gets_no_more_processes_than_it_may() {
    alone(|| {
        if !can(&["Pids"]) {
            return;
        }
        let script = "import os,time\ncount=1\ntry:\n  while 1:\n    \
                      if not os.fork():\n      os.setsid(); [os.close(fd) for fd in (1,2)]; time.sleep(600)\n    \
                      count+=1\nexcept OSError as error: print(count,error.errno)";
        let ran = run(&limited(python(script), Limits { pids: Some(20), ..Limits::default() }));
        assert_eq!(ran.text(), "20 11\n", "{ran:?}");
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert_no_child();
        assert_no_group();
    });
}

#[test]
fn a_fork_bomb_within_its_limit_is_ended() {
    alone(|| {
        if !can(&["Pids"]) {
            return;
        }
        let script = "import os\nfirst=os.getpid()\nos.write(1,b'ready\\n')\nwhile 1:\n  try:\n    \
                      if not os.fork() and os.getpid()%2: os.setsid()\n  except OSError: pass\n  \
                      if os.getpid()!=first and os.urandom(1)[0]<9: os._exit(0)";
        let mut job = limited(python(script), Limits { pids: Some(60), ..Limits::default() });
        job.limits.kill_grace_ms = 200;
        let ran = run_until(&job, after("ready", Stop::Timeout));
        assert_eq!(ran.outcome().ending, Ending::Killed(KillReason::Timeout), "{ran:?}");
        assert_no_child();
        assert_no_group();
    });
}

#[test]
fn a_job_opens_no_more_files_than_it_may() {
    alone(|| {
        let ran = run(&limited(sh("ulimit -n; ulimit -Hn"), Limits { files: Some(64), ..Limits::default() }));
        assert_eq!(ran.text(), "64\n64\n", "{ran:?}");
        assert!(ran.warnings().is_empty(), "{ran:?}");
    });
}

#[test]
fn without_control_groups_processes_are_bounded_and_that_is_said() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        give_up_rights();
        let limits = Limits { memory: Some(Size(256 << 20)), cpus: Some(1.0), pids: Some(50), files: Some(64) };
        let script = "try: held=b'x'*(512<<20)\nexcept MemoryError: print('refused')";
        let mut job = limited(sh(&format!("python3 -c \"{script}\"; ulimit -n")), limits);
        // Somebody without rights may not enter everybody's home, and Python may be in one.
        job.env.insert("PATH".into(), "/usr/bin:/bin".into());
        let ran = run(&job);
        assert_eq!(ran.text(), "refused\n64\n", "{ran:?}");
        let warnings = ran.warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("Limits.Memory holds for each process of the job"), "{warnings:?}");
        assert!(warnings[1].starts_with("Limits.Cpus is not enforced: "), "{warnings:?}");
        assert!(warnings[2].starts_with("Limits.Pids is not enforced: "), "{warnings:?}");
    });
}

#[test]
fn what_a_dead_runner_left_is_removed() {
    alone(|| {
        if !can(&["Pids"]) {
            return;
        }
        let limits = Limits { pids: Some(20), ..Limits::default() };
        let ran = run(&limited(
            sh("cat /proc/self/cgroup; find /sys/fs/cgroup -name jobmgr-job-zoo-$PPID-1"),
            limits.clone(),
        ));
        let found: Vec<&Path> = ran.text().lines().filter(|line| line.starts_with("/sys")).map(Path::new).collect();
        assert!(!found.is_empty(), "{ran:?}");
        let left: Vec<PathBuf> =
            found.iter().map(|path| path.with_file_name(format!("jobmgr-job-left-{}", std::process::id()))).collect();
        left.iter().for_each(|path| drop(std::fs::create_dir(path)));
        run(&limited(sh("exit 0"), limits));
        for path in left {
            assert!(!path.exists(), "{}", path.display());
        }
    });
}
