//! The job's own process: start, signals, reaping.
//!
//! Its number names it, and its group, until it is reaped. Whoever reaps or signals by number holds the lock, so that
//! a number is never used after it may have become somebody else's.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobmgr_plugin_api::{Error, Job, Result};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};

use super::confine::Group;
use crate::{Options, command};

static LEADER: Mutex<Leader> = Mutex::new(Leader { pid: None, status: None, closed: false, group: None, began: true });

/// The leader of the running job.
pub struct Leader {
    /// Until it is reaped.
    pid: Option<Pid>,
    /// How the last one ended.
    status: Option<WaitStatus>,
    /// No other job may start.
    closed: bool,
    /// The job's control group, if it has one.
    group: Option<Group>,
    /// Whether the leader became the job's command, as far as is known.
    began: bool,
}

/// The leader, and the right to reap and to signal by number.
pub fn lock() -> MutexGuard<'static, Leader> {
    LEADER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on no job starts.
pub fn close() {
    lock().closed = true;
}

/// Removes the job's control group, if nobody has yet.
pub fn clear() {
    let (group, _) = lock().take_group();
    drop(group);
}

/// A process that has just been started.
pub struct Started {
    pub pidfd: OwnedFd,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
}

/// Starts the job in a process group of its own.
///
/// What is set here keeps std on `posix_spawn`, whose price does not grow with this process: an absolute program, no
/// user, no `pre_exec`.
pub fn start(job: &Job<Options>) -> Result<Started> {
    let program = command::resolve(job)?;
    let mut command = Command::new(&program);
    command.args(&job.command[1..]).env_clear().envs(&job.env).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !job.working_directory.is_empty() {
        command.current_dir(&job.working_directory);
    }
    spawn(command, None, |error| command::explain(error, &program, job))
}

/// Starts a process as the job's own; `explain` says why it can't be.
pub fn spawn(
    mut command: Command,
    group: Option<Group>,
    explain: impl FnOnce(&std::io::Error) -> Error,
) -> Result<Started> {
    let mut leader = lock();
    if leader.closed {
        return Err(Error::retry("this runner is closing"));
    }
    let mut child = command.spawn().map_err(|error| explain(&error))?;
    let pid = Pid::from_child(&child);
    leader.pid = Some(pid);
    leader.status = None;
    leader.group = group;
    leader.began = true;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| Error::failed(format!("pidfd_open (Linux 5.3 has it): {errno}")))?;
    Ok(Started { pidfd, stdout: child.stdout.take(), stderr: child.stderr.take() })
}

impl Leader {
    /// Kills what is in the job's control group.
    pub fn kill_control_group(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// The job's control group, for who removes it, and whether the job's command began.
    pub fn take_group(&mut self) -> (Option<Group>, bool) {
        (self.group.take(), self.began)
    }

    /// The leader ended before it became the job's command.
    pub fn never_began(&mut self) {
        self.began = false;
    }

    /// Signals the leader's group; a group that is gone needs none.
    pub fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Whether this is the number of the leader's group.
    pub fn leads(&self, group: Pid) -> bool {
        self.pid == Some(group)
    }

    /// How the leader ended, if it was reaped since this was asked.
    pub fn take_status(&mut self) -> Option<WaitStatus> {
        self.status.take()
    }

    /// Reaps whoever has exited; whether there are children still.
    pub fn reap_all(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.leads(pid) => {
                    self.pid = None;
                    self.status = Some(status);
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}
