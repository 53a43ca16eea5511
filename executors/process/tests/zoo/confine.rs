//! Jobs with a user, limits or a sandbox.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jobmgr_executor_process::{Limits, Options, Sandbox, Size, abilities};
use jobmgr_plugin_api::{Ending, Job, KillReason, Kind, Outcome, Stop};
use nix::unistd::{Uid, User};

use crate::linux::{assert_no_child, python, sh};
use crate::support::{after, alone, run, run_until};

/// Whether this machine can do all of that. Where it can't, that is said, and it is a failure where all should be.
fn can(options: &[&str]) -> bool {
    let missing: Vec<_> =
        abilities().into_iter().filter(|(option, found)| options.contains(option) && found.is_err()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "this machine can't do it: {missing:?}");
    eprintln!("NOT TESTED: this machine can't do it: {missing:?}");
    false
}

/// With a key of its own: the control groups of all tests are in one folder.
fn with(mut job: Job<Options>, options: Options) -> Job<Options> {
    job.key = format!("zoo-{}-1", std::process::id());
    job.options = options;
    job
}

fn limited(job: Job<Options>, limits: Limits) -> Job<Options> {
    with(job, Options { limits, ..Options::default() })
}

/// A directory as jobmgr makes one for an attempt, below one that is closed to others.
struct Place {
    root: tempfile::TempDir,
    own: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("7-1");
        std::fs::create_dir_all(own.join("artifacts")).unwrap();
        for folder in [root.path(), &own, &own.join("artifacts")] {
            std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
        }
        Self { root, own }
    }

    fn run_in(&self, mut job: Job<Options>, options: Options) -> crate::support::Ran {
        job.dir = self.own.display().to_string();
        job.working_directory = job.dir.clone();
        run(&with(job, options))
    }
}

fn user(name: &str) -> Options {
    Options { user: Some(name.into()), ..Options::default() }
}

fn sandbox(sandbox: Sandbox) -> Options {
    Options { sandbox, ..Options::default() }
}

/// No folder of this process's job is left.
fn assert_no_group() {
    let name = format!("jobmgr-job-zoo-{}-1", std::process::id());
    let found = std::process::Command::new("find").args(["/sys/fs/cgroup", "-name", &name]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

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
fn what_is_wrong_with_a_command_is_said_as_ever() {
    alone(|| {
        let limits = Limits { files: Some(64), ..Limits::default() };
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, "echo hello\n").unwrap();
        std::fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).unwrap();
        for path in [text.display().to_string(), dir.path().display().to_string(), "/no/such/program".into()] {
            let plain = run(&crate::support::job([&path]));
            let confined = run(&limited(crate::support::job([&path]), limits.clone()));
            assert_eq!(confined.error().to_string(), plain.error().to_string());
            assert_eq!(confined.error().kind(), Kind::Invalid);
        }
        let mut lost = limited(sh("exit 0"), limits);
        lost.working_directory = "/no/such/folder".into();
        assert_eq!(run(&lost).error().to_string(), "chdir /no/such/folder: no such file or directory");
        assert_no_child();
    });
}

#[test]
fn the_environment_and_the_files_of_a_job_are_as_ever() {
    alone(|| {
        let script = "import os\nprint(dict(os.environ))\nfor fd in range(40):\n  \
                      try: print(fd,os.readlink('/proc/self/fd/%d'%fd).split(':')[0])\n  except OSError: pass\n\
                      print(os.getpgid(0)==os.getpid(),os.getcwd())";
        let mut job = python(script);
        job.env.insert("LD_LIBRARY_PATH".into(), "/no/such".into());
        let plain = run(&job);
        let confined = run(&limited(job, Limits { files: Some(64), ..Limits::default() }));
        assert_eq!(confined.text(), plain.text());
        let signals = crate::support::job(["grep", "^Sig[BI]", "/proc/self/status"]);
        let plain_signals = run(&signals);
        let confined_signals = run(&limited(signals, Limits { files: Some(64), ..Limits::default() }));
        assert_eq!(confined_signals.text(), plain_signals.text());
        assert!(plain_signals.text().contains("SigIgn"), "{plain_signals:?}");
        assert!(plain.text().contains("\n0 /dev/null\n1 pipe\n2 pipe\n"), "{plain:?}");
    });
}

/// A user that every system has, with a group of its own.
fn somebody() -> User {
    User::from_name("nobody").unwrap().unwrap()
}

#[test]
fn a_job_is_its_user_and_owns_its_directory() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let (nobody, place) = (somebody(), Place::new());
        let script = "id -u; id -g; echo made > artifacts/made; echo 42 > .progress; cat $HOME/x 2>/dev/null; \
                      echo $USER $LOGNAME; touch ../else 2>/dev/null || echo closed; ls .. 2>/dev/null || echo unseen";
        let ran = place.run_in(sh(script), user("nobody"));
        let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
        let said = format!("{uid}\n{gid}\nnobody nobody\nclosed\nunseen\n");
        assert_eq!(ran.text(), said, "{ran:?}");
        assert!(ran.warnings().is_empty(), "{ran:?}");
        for (path, owner) in [("", uid), ("artifacts", uid), ("artifacts/made", uid), (".progress", uid)] {
            assert_eq!(place.own.join(path).metadata().unwrap().uid(), owner, "{path}");
        }
        // What jobmgr collects and removes.
        assert_eq!(std::fs::read_to_string(place.own.join("artifacts/made")).unwrap(), "made\n");
        std::fs::remove_dir_all(&place.own).unwrap();
        let mode = place.root.path().metadata().unwrap().mode();
        assert_eq!(mode & 0o7777, 0o701);
        // The runner is who it was.
        assert_eq!(run(&sh("id -u")).text(), "0\n");
    });
}

#[test]
fn a_group_may_be_named_and_the_other_groups_come_along() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let ran = run(&with(sh("id -u; id -g; id -G"), user("0:1")));
        let groups: Vec<&str> = ran.text().lines().collect();
        assert_eq!((groups[0], groups[1]), ("0", "1"), "{ran:?}");
        let expected = std::process::Command::new("id").args(["-G", "root"]).output().unwrap();
        for group in String::from_utf8(expected.stdout).unwrap().split_whitespace().filter(|group| *group != "0") {
            assert!(groups[2].split(' ').any(|found| found == group), "{group}: {ran:?}");
        }
        let ran = run(&with(sh("id -u; id -g; id -G"), user("54321:54322")));
        assert_eq!(ran.text(), "54321\n54322\n54322\n", "{ran:?}");
    });
}

#[test]
fn a_job_that_is_not_root_can_do_no_more_than_its_user() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        let ran = run(&with(
            sh("grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status; cat /etc/shadow || echo closed"),
            user("nobody"),
        ));
        let none = "0000000000000000";
        assert_eq!(ran.text(), format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapAmb:\t{none}\nclosed\n"), "{ran:?}");
        let place = Place::new();
        let program = place.root.path().join("program");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        let path = program.display().to_string();
        let ran = place.run_in(crate::support::job([&path]), user("nobody"));
        assert_eq!(ran.error().to_string(), format!("fork/exec {path}: permission denied (as user nobody)"));
        let mut job = sh("exit 0");
        job.working_directory = "/root".into();
        if Path::new("/root").metadata().is_ok_and(|found| found.mode() & 0o001 == 0) {
            let ran = run(&with(job, user("nobody")));
            assert_eq!(ran.error().to_string(), "chdir /root: permission denied (as user nobody)");
        }
    });
}

#[test]
fn who_is_not_there_is_an_error() {
    alone(|| {
        let ran = run(&with(sh("exit 0"), user("no-such-user")));
        let error = ran.error();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.to_string(), "'User': there is no user 'no-such-user' on this machine");
    });
}

/// Becomes somebody without rights, as jobmgr is on most machines.
fn give_up_rights() {
    let uid = somebody().uid;
    nix::unistd::setresuid(uid, uid, uid).unwrap();
    // As after the start of a program: its files in /proc are its own.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
}

#[test]
fn only_root_changes_the_user() {
    alone(|| {
        if !can(&["User"]) {
            return;
        }
        give_up_rights();
        let uid = Uid::current();
        let ran = run(&with(sh("exit 0"), user("root")));
        assert_eq!(ran.error().kind(), Kind::Failed);
        let said = format!("'User': only root can run a job as 'root', and jobmgr runs as user {uid}");
        assert_eq!(ran.error().to_string(), said);
        let own = run(&with(sh("id -u"), user(&format!("{uid}:{}", nix::unistd::Gid::current()))));
        assert_eq!(own.text(), format!("{uid}\n"), "{own:?}");
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
fn a_readonly_job_writes_in_its_own_directory_only() {
    alone(|| {
        if !can(&["Sandbox"]) {
            return;
        }
        let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "seen").unwrap();
        let (folder, secret) = (outside.path().display(), secret.display());
        let script = format!(
            "cat {secret}; echo; echo x > {folder}/made || echo 1; echo x >> {secret} || echo 2; rm {secret} || echo 3; \
             mkdir {folder}/more || echo 4; ln -s a {folder}/b || echo 5; mv artifacts {folder}/c || echo 6; \
             echo x > /dev/null && echo 7; echo y > artifacts/y && mv artifacts/y y && cat y; mktemp >/dev/null && echo 8; \
             echo err > /dev/stderr; (echo x > /proc/self/oom_score_adj) || echo 9"
        );
        let ran = place.run_in(sh(&script), sandbox(Sandbox::Readonly));
        assert_eq!(ran.text(), "seen\n1\n2\n3\n4\n5\n6\n7\ny\n8\n9\n", "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(std::fs::read_to_string(secret.to_string()).unwrap(), "seen");
        assert_eq!(*ran.outcome(), Outcome::exited(0));
    });
}

#[test]
fn a_private_job_reads_the_system_and_its_own_only() {
    alone(|| {
        if !can(&["Sandbox"]) {
            return;
        }
        let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
        let other = place.root.path().join("8-1");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("secret"), "seen").unwrap();
        std::fs::write(outside.path().join("given"), "given\n").unwrap();
        let script = format!(
            "cat {}/secret || echo 1; ls {} || echo 2; ls /root || echo 3; ls /home || echo 4; ls / || echo 5; \
             cat /etc/passwd > /dev/null && echo 6; ls /usr/bin > /dev/null && echo 7; echo own > own && cat own; \
             kill -0 {} || echo 8; sh -c 'ls /root' || echo 9; grep NoNewPrivs /proc/self/status",
            other.display(),
            place.root.path().display(),
            std::process::id(),
        );
        let ran = place.run_in(sh(&script), sandbox(Sandbox::Private));
        let said = ran.text().replace("\n8\n", "\n");
        assert_eq!(said, "1\n2\n3\n4\n5\n6\n7\nown\n9\nNoNewPrivs:\t1\n", "{}", String::from_utf8_lossy(&ran.stderr));
        // Where it starts is its own to read, not to write; so is its command.
        let program = outside.path().join("given.sh");
        std::fs::write(&program, "#!/bin/sh\ncat given; echo x > made || echo closed\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let mut job = with(crate::support::job([program.display().to_string()]), sandbox(Sandbox::Private));
        job.dir = place.own.display().to_string();
        job.working_directory = outside.path().display().to_string();
        let ran = run(&job);
        assert_eq!(ran.text(), "given\nclosed\n", "{}", String::from_utf8_lossy(&ran.stderr));
    });
}

#[test]
fn all_of_it_goes_together() {
    alone(|| {
        if !can(&["User", "Sandbox", "Memory", "Pids"]) {
            return;
        }
        let place = Place::new();
        let limits = Limits { memory: Some(Size(64 << 20)), pids: Some(30), cpus: None, files: Some(128) };
        let options = Options { user: Some("nobody".into()), limits, sandbox: Sandbox::Private, allow_batch: false };
        let ran =
            place.run_in(sh("id -un; ulimit -n; echo x > artifacts/x && echo made; ls /root || echo closed"), options);
        assert_eq!(ran.text(), "nobody\n128\nmade\nclosed\n", "{ran:?}");
        assert_no_child();
        assert_no_group();
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
