//! What a job can do to get away, or to be in the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobmgr_executor_process::Process;
use jobmgr_plugin_api::{Context, Event, Executor, Host, Kind, OnStop, Outcome, Result, Stop, Stream};

use crate::support::{Ran, alone, job, run};

pub fn sh(script: &str) -> jobmgr_plugin_api::Job<jobmgr_executor_process::Options> {
    job(["sh", "-c", script])
}

pub fn python(script: &str) -> jobmgr_plugin_api::Job<jobmgr_executor_process::Options> {
    job(["python3", "-c", script])
}

/// No process is left, not even a zombie.
pub fn assert_no_child() {
    let left = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(matches!(left, Err(rustix::io::Errno::CHILD)), "a child is left: {left:?}");
}

/// The processes whose numbers a job wrote, one a line, are gone.
fn assert_gone(ran: &Ran) {
    assert_no_child();
    let pids: Vec<&str> = ran.text().split_ascii_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect();
    assert!(!pids.is_empty(), "{ran:?}");
    for pid in pids {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "{pid} is there still");
    }
}

#[test]
fn a_signal_is_no_exit_code() {
    alone(|| {
        assert_eq!(*run(&sh("kill -9 $$")).outcome(), Outcome::signaled(9));
        assert_eq!(*run(&sh("exit 137")).outcome(), Outcome::exited(137));
        assert_eq!(*run(&sh("exit 256")).outcome(), Outcome::exited(0));
        assert_eq!(*run(&sh("kill -SEGV $$")).outcome(), Outcome::signaled(11));
    });
}

#[test]
fn every_byte_arrives_on_its_stream() {
    alone(|| {
        let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let ran = run(&python(
            "import os,sys\nall=bytes(range(256))*1172\nfor i in range(0,300000,7777):\n  \
             os.write(1,all[i:min(i+7777,300000)]); os.write(2,all[i:min(i+7777,300000)][::-1])",
        ));
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert!(ran.stdout == all, "{} bytes", ran.stdout.len());
        assert_eq!(ran.stderr.len(), all.len());
        assert_eq!(ran.stderr[..7777], all[..7777].iter().rev().copied().collect::<Vec<_>>());
    });
}

/// Counts, and keeps nothing.
#[derive(Default)]
struct Counter {
    bytes: AtomicU64,
    largest: AtomicU64,
    /// How slow it is.
    pause: Duration,
}

impl Host for Counter {
    fn log(&self, _stream: Stream, _time_ns: u64, data: &[u8]) -> Result<()> {
        self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.largest.fetch_max(data.len() as u64, Ordering::Relaxed);
        std::thread::sleep(self.pause);
        Ok(())
    }
    fn event(&self, _event: Event) {}
    fn wait_stop(&self, _limit: Duration) -> Option<Stop> {
        None
    }
    fn checkpoint(&self, _handle: &[u8]) -> Result<()> {
        Ok(())
    }
    fn on_stop(&self, _call: OnStop) -> u64 {
        0
    }
    fn no_stop(&self, _id: u64) {}
    fn request(
        &self,
        method: &str,
        _json: &jobmgr_plugin_api::serde_json::Value,
    ) -> Result<jobmgr_plugin_api::serde_json::Value> {
        Err(jobmgr_plugin_api::Error::failed(method))
    }
}

#[test]
fn a_gibibyte_of_output_passes_through() {
    alone(|| {
        let host = Counter::default();
        let outcome = Process.run(&sh("head -c 1073741824 /dev/zero"), &Context::new(&host)).unwrap();
        assert_eq!(outcome, Outcome::exited(0));
        assert_eq!(host.bytes.into_inner(), 1 << 30);
        assert!(host.largest.into_inner() <= 64 * 1024);
    });
}

#[test]
fn a_slow_server_loses_nothing() {
    alone(|| {
        // More pieces than are taken in the time that open pipes get; all were written before the job ended.
        let host = Counter { pause: Duration::from_millis(300), ..Counter::default() };
        let script =
            "import fcntl,os,time\nfcntl.fcntl(1,1031,1<<20)\nos.fork() or time.sleep(600)\nos.write(1,b'x'*600000)";
        let outcome = Process.run(&python(script), &Context::new(&host)).unwrap();
        assert_eq!(outcome, Outcome::exited(0));
        assert_eq!(host.bytes.into_inner(), 600_000);
        assert_no_child();
    });
}

#[test]
fn packets_are_output_too() {
    alone(|| {
        let script = "import fcntl,os\nfcntl.fcntl(1,fcntl.F_SETFL,fcntl.fcntl(1,fcntl.F_GETFL)|os.O_DIRECT)\n\
                      for i in range(10): os.write(1,b'packet\\n')";
        assert_eq!(run(&python(script)).text(), "packet\n".repeat(10));
    });
}

#[test]
fn a_grandchild_with_the_output_is_given_two_seconds() {
    alone(|| {
        let ran = run(&sh("sleep 600 & echo $!; exit 3"));
        assert_eq!(*ran.outcome(), Outcome::exited(3));
        assert!((1.9..4.0).contains(&ran.took.as_secs_f64()), "{:?}", ran.took);
        assert!(ran.warnings()[0].starts_with("output pipe left open"), "{ran:?}");
        assert_gone(&ran);
    });
}

#[test]
fn what_a_grandchild_writes_in_time_is_kept() {
    alone(|| {
        let ran = run(&sh("(sleep 0.5; echo late) & echo early"));
        assert_eq!(ran.text(), "early\nlate\n");
        assert!(ran.took < Duration::from_millis(1900) && ran.events.is_empty(), "{ran:?}");
    });
}

#[test]
fn a_grandchild_that_writes_for_ever_is_cut_off() {
    alone(|| {
        let ran = run(&sh("(while :; do echo more; done) & exit 0"));
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert!(ran.took < Duration::from_secs(5) && ran.warnings().len() == 1, "{:?}", ran.took);
        assert_no_child();
    });
}

/// Forks twice, in sessions of its own, and lets go of the output.
const DAEMON: &str = "import os,sys,time\n\
    if os.fork(): time.sleep(0.3); os._exit(0)\n\
    os.setsid()\n\
    if os.fork(): os._exit(0)\n\
    os.setsid(); os.write(1,b'%d\\n'%os.getpid())\n\
    for fd in (0,1,2): os.close(fd)\n\
    time.sleep(600)";

#[test]
fn a_daemon_is_killed_at_once() {
    alone(|| {
        let ran = run(&python(DAEMON));
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert!(ran.took < Duration::from_millis(1500), "{:?}", ran.took);
        assert!(ran.events.is_empty(), "{:?}", ran.events);
        assert_gone(&ran);
    });
}

#[test]
fn two_hundred_children_are_killed() {
    alone(|| {
        let ran =
            run(&sh("i=0; while [ $i -lt 200 ]; do setsid sleep 600 >/dev/null 2>&1 & echo $!; i=$((i+1)); done"));
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert_eq!(ran.text().lines().count(), 200);
        assert!(ran.took < Duration::from_secs(20), "{:?}", ran.took);
        assert_gone(&ran);
    });
}

#[test]
fn one_that_flees_from_process_to_process_is_caught() {
    alone(|| {
        let script = "import os,time\n\
            if os.fork(): time.sleep(0.3); os._exit(0)\n\
            for fd in (0,1,2): os.close(fd)\n\
            while 1:\n  os.setsid() if os.getsid(0)!=os.getpid() else None\n  if os.fork(): os._exit(0)";
        let ran = run(&python(script));
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        assert_no_child();
    });
}

#[test]
fn without_output_it_is_still_running() {
    alone(|| {
        let ran = run(&sh("echo before; exec >&- 2>&-; sleep 0.7; exit 4"));
        assert_eq!(*ran.outcome(), Outcome::exited(4));
        assert_eq!(ran.text(), "before\n");
        assert!(ran.took > Duration::from_millis(600), "{:?}", ran.took);
    });
}

#[test]
fn a_leader_that_its_child_traces_is_ended() {
    alone(|| {
        // PTRACE_SEIZE of the parent, which exits: the kernel shows its end to the tracer only.
        let script = "import ctypes,os,time\nr,w=os.pipe()\n\
            if os.fork():\n  os.read(r,1); os._exit(7)\n\
            libc=ctypes.CDLL(None,use_errno=True); libc.ptrace.argtypes=[ctypes.c_long]*4\n\
            ok=libc.ptrace(0x4206,os.getppid(),0,0); os.write(1,b'seized %d'%ok); os.write(w,b'x'); time.sleep(600)";
        let ran = run(&python(script));
        assert_eq!(ran.text(), "seized 0");
        assert_eq!(*ran.outcome(), Outcome::exited(7), "{ran:?}");
        assert_no_child();
    });
}

#[test]
fn errors_name_the_path_and_the_reason() {
    alone(|| {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let plain = write("plain", "#!/bin/sh\n", 0o644);
        let orphan = write("orphan", "#! /no/such/interpreter -x\n", 0o755);
        let unfit = write("unfit", &format!("#!{plain}\n"), 0o755);
        let text = write("text", "echo hello\n", 0o755);
        let folder = dir.path().display().to_string();
        for (command, said) in [
            (&plain, format!("fork/exec {plain}: permission denied")),
            (&orphan, format!("fork/exec {orphan}: interpreter /no/such/interpreter: no such file or directory")),
            (&unfit, format!("fork/exec {unfit}: interpreter {plain}: permission denied")),
            (&folder, format!("fork/exec {folder}: is a directory")),
            (&format!("{plain}/x"), format!("fork/exec {plain}/x: not a directory")),
            (
                &text,
                format!(
                    "fork/exec {text}: exec format error (neither a program of this machine nor a script that begins \
                         with #!)"
                ),
            ),
        ] {
            let ran = run(&job([command]));
            assert_eq!((ran.error().kind(), ran.error().to_string()), (Kind::Invalid, said));
        }
        let mut wrong = sh("exit 0");
        wrong.working_directory = plain.clone();
        assert_eq!(run(&wrong).error().to_string(), format!("chdir {plain}: not a directory"));
        let long = job(["sh".to_owned(), "-c".into(), "exit 0".into(), "x".repeat(200_000)]);
        assert!(run(&long).error().to_string().ends_with("sh: argument list too long"));
        assert_no_child();
    });
}

#[test]
fn a_file_that_is_being_written_is_tried_again() {
    alone(|| {
        use std::os::unix::fs::OpenOptionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy");
        std::fs::copy("/bin/true", &path).unwrap();
        let _open = std::fs::OpenOptions::new().append(true).mode(0o755).open(&path).unwrap();
        let ran = run(&job([path.display().to_string()]));
        assert_eq!(ran.error().kind(), Kind::Retry);
        assert!(ran.error().to_string().ends_with("/busy: text file busy"), "{ran:?}");
    });
}

#[test]
fn without_file_descriptors_it_is_tried_again() {
    alone(|| {
        let mut open = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            open.push(file);
        }
        open.truncate(open.len() - 3);
        let ran = run(&sh("exit 0"));
        drop(open);
        assert_eq!(ran.error().kind(), Kind::Retry, "{ran:?}");
        assert!(ran.error().to_string().ends_with("too many open files"), "{ran:?}");
    });
}

#[test]
fn a_hostile_progress_file_is_left_alone() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress").display().to_string();
        for trick in [
            "mkfifo $JOBMGR_PROGRESS",
            "echo '5 x' > real; ln -s real $JOBMGR_PROGRESS",
            "echo '5 x' > other; ln other $JOBMGR_PROGRESS",
            "mkdir $JOBMGR_PROGRESS",
        ] {
            let mut tricky = sh(&format!("{trick}; sleep 0.5"));
            tricky.env.insert("JOBMGR_PROGRESS".into(), path.clone());
            tricky.working_directory = dir.path().display().to_string();
            let ran = run(&tricky);
            assert_eq!((ran.outcome(), &ran.events), (&Outcome::exited(0), &vec![]), "{trick}");
            let _ = std::fs::remove_file(&path);
        }
    });
}

#[test]
fn nothing_starts_in_a_closed_runner() {
    alone(|| {
        assert!(jobmgr_executor_process::close(Duration::from_secs(5)));
        assert_eq!(run(&sh("exit 0")).error().kind(), Kind::Retry);
    });
}
