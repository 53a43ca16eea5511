//! Jobs with a user, limits or a sandbox.

/// What they may use.
mod limits;
/// What they see and change.
mod sandbox;
/// Who they are.
mod user;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jobmgr_executor_process::{Limits, Options, Sandbox, abilities};
use jobmgr_plugin_api::{Job, Kind};
use nix::unistd::User;

use crate::linux::{assert_no_child, python, sh};
use crate::support::{alone, run};

/// Whether this machine can do all of that. Where it can't, that is said, and it is a failure where all should be.
fn can(options: &[&str]) -> bool {
    let missing: Vec<_> =
        abilities().into_iter().filter(|(option, found)| options.contains(option) && found.is_err()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine can't do it: {missing:?}");
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

/// Becomes somebody without rights, as jobmgr is on most machines.
fn give_up_rights() {
    let uid = somebody().uid;
    nix::unistd::setresuid(uid, uid, uid).unwrap();
    // As after the start of a program: its files in /proc are its own.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
}
