//! Linux: a socket pair as the runner's standard input, a session and a subreaper of its own.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::crash;

use super::{Kind, Started};

/// The runners of this process; what else is its child is an orphan of a dead runner.
static RUNNERS: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

fn runners<T>(act: impl FnOnce(&mut HashSet<u32>) -> T) -> T {
    let mut runners = RUNNERS.lock().unwrap_or_else(PoisonError::into_inner);
    act(runners.get_or_insert_default())
}

/// Whether a child of this process is one of its runners. The set is complete while `act` runs.
pub(crate) fn with_runners<T>(act: impl FnOnce(&HashSet<u32>) -> T) -> T {
    runners(|runners| act(runners))
}

/// A runner's process.
pub(in crate::runner) struct Process {
    child: tokio::process::Child,
    pid: Option<u32>,
}

/// Starts `jobmgr runner`. The file that runs now is started, whatever has become of its path.
pub(in crate::runner) fn start_runner(kind: Kind) -> io::Result<Started> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("jobmgr").arg("runner").env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    if let Some(point) = crash::inherited() {
        command.env(crash::VARIABLE, point);
    }
    if let Some(limit) = crash::kill_limit() {
        command.env(jobmgr_executor_process::KILL_LIMIT_VARIABLE, limit);
    }
    command.stdin(OwnedFd::from(theirs));
    match kind {
        Kind::Own => drop(command.stdout(Stdio::null()).stderr(Stdio::inherit())),
        Kind::Plugin(env) => drop(command.arg("--plugin").envs(env).stdout(Stdio::piped()).stderr(Stdio::piped())),
    }
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    // The set is locked meanwhile, so that nobody takes the new child for an orphan.
    let mut child = runners(|runners| {
        let child = command.spawn()?;
        runners.extend(child.id());
        io::Result::Ok(child)
    })?;
    ours.set_nonblocking(true)?;
    let (input, out) = tokio::net::UnixStream::from_std(ours)?.into_split();
    let pid = child.id();
    let printed = super::printed(child.stdout.take(), child.stderr.take());
    Ok(Started { process: Process { child, pid }, input: Box::new(input), out: Box::new(out), printed })
}

impl Process {
    pub(in crate::runner) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(in crate::runner) async fn wait(&mut self) -> Option<std::process::ExitStatus> {
        self.child.wait().await.ok()
    }

    pub(in crate::runner) async fn kill(&mut self) {
        // It may have ended by itself meanwhile.
        drop(self.child.kill().await);
    }

    /// How the runner ended, in words.
    pub(in crate::runner) async fn epitaph(&mut self) -> String {
        let status = match tokio::time::timeout(std::time::Duration::from_secs(5), self.child.wait()).await {
            Ok(Ok(status)) => status,
            _ => return "the runner closed its line before it gave a result".into(),
        };
        match (status.signal(), status.code()) {
            (Some(signal), _) => format!("the runner was ended by signal {signal} before it gave a result"),
            (_, Some(code)) => format!("the runner exited with code {code} before it gave a result"),
            _ => "the runner ended before it gave a result".into(),
        }
    }
}

/// How a library's runner ended, in words.
pub(in crate::runner) fn epitaph(status: std::process::ExitStatus) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was ended by {} ({signal})", signal_name(signal)),
        (_, Some(code)) => format!("exited with code {code}"),
        _ => "ended".into(),
    };
    format!("the executor's process {how} before it gave a result")
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS",
        _ => "a signal",
    }
}

/// Before a library is opened: no core of it, and at most so many bytes of memory.
pub(in crate::runner) fn limit_runner(memory: Option<u64>) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Core, most(0))?;
    if let Some(bytes) = memory {
        setrlimit(Resource::Data, most(bytes))?;
    }
    Ok(())
}

impl Drop for Process {
    fn drop(&mut self) {
        runners(|runners| self.pid.is_some_and(|pid| runners.remove(&pid)));
    }
}

/// Makes this process a runner: takes the line off standard input, leads a session, adopts orphans.
pub(in crate::runner) fn become_runner() -> io::Result<(File, File)> {
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(stdin.as_fd())
        .map_err(|_| io::Error::other("standard input is not the line to a worker"))?;
    let line = fcntl_dupfd_cloexec(stdin.as_fd(), 100)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    fcntl_setfd(&null, FdFlags::CLOEXEC)?;
    hide_strangers();
    // The leader of a session can't become one again: that is fine.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // One that is stopped (SIGSTOP) would not see that its line has closed. It is woken when its worker's process ends,
    // and when the thread does that started it, which does no harm; not killed: it has a job to end.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT))?;
    // Where memory runs out, a job should go before the server does; raising the score is always allowed.
    drop(std::fs::write("/proc/self/oom_score_adj", "300"));
    let line = File::from(line);
    Ok((line.try_clone()?, line))
}

/// Keeps files from the jobs that whoever started the server left open in it.
fn hide_strangers() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    for entry in open.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if number > 2 {
            // SAFETY: it was open just now, and no other thread is there yet that could have closed it.
            #[allow(unsafe_code)]
            let stranger = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl_setfd(stranger, FdFlags::CLOEXEC);
        }
    }
}

/// Ends this process without running anything more.
pub(in crate::runner) fn exit_now() -> ! {
    // SIGKILL of one's own process runs no handler, no destructor and no atexit function.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}
