//! Linux: a socket pair as the runner's standard input, a session and a subreaper of its own.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use tokio::net::unix::pipe::Receiver;

use crate::crash;

use super::fork_server::{self, Forked};
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
    child: Child,
    pid: Option<u32>,
}

enum Child {
    Started(tokio::process::Child),
    Forked(Forked),
}

/// The worker's end of a runner's line, and the runner's.
fn line() -> io::Result<(tokio::net::UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(ours)?, theirs.into()))
}

fn environment(kind: &Kind) -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
    let crash = crash::inherited().map(|point| (crash::VARIABLE.into(), point));
    let limit = crash::kill_limit();
    let limit = limit.map(|limit| (jobmgr_executor_process::KILL_LIMIT_VARIABLE.into(), limit));
    let named: &[(String, String)] = if let Kind::Plugin(named) = kind { named } else { &[] };
    let named = named.iter().map(|(name, value)| (name.into(), value.into()));
    path.into_iter().chain(crash).chain(limit).chain(named).collect()
}

/// Starts `jobmgr runner`, or has one forked.
pub(in crate::runner) fn start_runner(kind: Kind) -> io::Result<Started> {
    let environment = environment(&kind);
    let plugin = matches!(kind, Kind::Plugin(_));
    if plugin && fork_server::takes(&environment) {
        // Another server is asked where one has ended; where nothing answers there is no time for that.
        let again = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => Err(error),
            _ => fork_runner(&environment),
        };
        match fork_runner(&environment).or_else(again) {
            Ok(started) => return Ok(started),
            Err(error) => tracing::warn!(%error, "no runner can be forked; one is started as a program"),
        }
    }
    spawn_runner(environment, plugin)
}

fn fork_runner(environment: &[(OsString, OsString)]) -> io::Result<Started> {
    let (ours, theirs) = line()?;
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((out, out_theirs), (error, error_theirs)) = (pipe()?, pipe()?);
    let files = [theirs.as_fd(), out_theirs.as_fd(), error_theirs.as_fd()];
    let forked = runners(|runners| fork_server::fork(runners, environment, files))?;
    let pid = Some(forked.pid());
    let process = Process { child: Child::Forked(forked), pid };
    let printed = super::printed(Some(Receiver::from_owned_fd(out)?), Some(Receiver::from_owned_fd(error)?));
    let (input, out) = ours.into_split();
    Ok(Started { process, input: Box::new(input), out: Box::new(out), printed })
}

/// The file that runs now is started, whatever has become of its path.
fn spawn_runner(environment: Vec<(OsString, OsString)>, plugin: bool) -> io::Result<Started> {
    let (ours, theirs) = line()?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg0("jobmgr").arg("runner").env_clear().envs(environment).stdin(theirs);
    if plugin {
        command.arg("--plugin").stdout(Stdio::piped()).stderr(Stdio::piped());
    } else {
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
    }
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    // The set is locked meanwhile, so that nobody takes the new child for an orphan.
    let mut child = runners(|runners| {
        let child = command.spawn()?;
        runners.extend(child.id());
        io::Result::Ok(child)
    })?;
    let (input, out) = ours.into_split();
    let pid = child.id();
    let printed = super::printed(child.stdout.take(), child.stderr.take());
    let process = Process { child: Child::Started(child), pid };
    Ok(Started { process, input: Box::new(input), out: Box::new(out), printed })
}

impl Process {
    pub(in crate::runner) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(in crate::runner) async fn wait(&mut self) -> Option<std::process::ExitStatus> {
        let status = match &mut self.child {
            Child::Started(child) => child.wait().await,
            Child::Forked(forked) => forked.wait().await,
        };
        status.ok()
    }

    pub(in crate::runner) async fn kill(&mut self) {
        // It may have ended by itself meanwhile.
        match &mut self.child {
            Child::Started(child) => drop(child.kill().await),
            Child::Forked(forked) => drop(forked.kill().await),
        }
    }

    /// How the runner ended, in words.
    pub(in crate::runner) async fn epitaph(&mut self) -> String {
        let status = match tokio::time::timeout(std::time::Duration::from_secs(5), self.wait()).await {
            Ok(Some(status)) => status,
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
    let line = match fork_server::line() {
        Some(line) => line,
        None => {
            let line = take_line()?;
            settle()?;
            line
        }
    };
    let line = File::from(line);
    Ok((line.try_clone()?, line))
}

/// What a runner is beside its line.
pub(super) fn settle() -> io::Result<()> {
    leave_session()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Where memory runs out, a job should go before the server does; raising the score is always allowed.
    drop(std::fs::write("/proc/self/oom_score_adj", "300"));
    Ok(())
}

/// Takes the line to the worker off standard input, and keeps it and what else is open from other programs.
pub(super) fn take_line() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(stdin.as_fd())
        .map_err(|_| io::Error::other("standard input is not the line to a worker"))?;
    let line = fcntl_dupfd_cloexec(stdin.as_fd(), 100)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    fcntl_setfd(&null, FdFlags::CLOEXEC)?;
    hide_strangers();
    Ok(line)
}

/// Leaves the worker's session, and is woken when the worker ends.
pub(super) fn leave_session() -> io::Result<()> {
    // The leader of a session can't become one again: that is fine.
    let _ = rustix::process::setsid();
    // One that is stopped (SIGSTOP) would not see that its line has closed. It is woken when its worker's process ends,
    // and when the thread does that started it, which does no harm; not killed: it has a job to end.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT))?;
    Ok(())
}

/// Keeps files from the jobs that whoever started the server left open in it.
fn hide_strangers() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    for entry in open.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if number > 2 {
            // SAFETY: it was open just now, and no other thread is there yet that closes any.
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

/// Forks runners until the worker is gone. Each does `prepare` before it is asked for; a thread that begins there must
/// not look at the environment before it is told something.
pub(in crate::runner) fn serve_forks<T>(prepare: impl FnOnce() -> T) -> io::Result<super::Role<T>> {
    fork_server::serve(prepare)
}
