//! Linux: a process that forks the runners of libraries.
//!
//! The dynamic linker writes a megabyte into a process of this program before its first line runs, which takes longer
//! than many a job. A fork server does that once, and what it forks shares those pages with it. One process is forked
//! before it is asked for. Another stands between it and the server until then: the end of that one makes the worker,
//! as the one that adopts orphans, the parent.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, pidfd_open, pidfd_send_signal, waitid, waitpid,
};
use tokio::io::unix::AsyncFd;

use super::unix::{leave_session, settle, take_line};
use super::{Role, exit};

/// How much environment fits into a request, in bytes. With more, a runner is started as a program.
const MOST: usize = 128 << 10;
/// Variables that say something to a program when it starts, by how their names begin: to the dynamic linker, to the
/// allocator of the C library, to Rust's threads.
const AT_THE_START: [&str; 4] = ["LD_", "MALLOC_", "GLIBC_TUNABLES", "RUST_MIN_STACK"];
/// How long the answer to a request may take, with the start of a server before it.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long the server waits before it forks another one.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// The exit status of the one in between when the one that waited is to be replaced: it has become a runner, or was
/// killed.
const AGAIN: i32 = 0;
/// The same when the worker is gone.
const GONE: i32 = 1;
/// The same when there is nobody to wait.
const POOR: i32 = 2;

/// Whether orphans below this process become its children.
static ADOPTS: AtomicBool = AtomicBool::new(false);
/// The server of this process, from its first use on.
static SERVER: Mutex<Option<ForkServer>> = Mutex::new(None);
/// The line of the runner that this process has become.
static LINE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// From now on orphans below this process become its children, so that it can have a fork server.
pub(crate) fn orphans_come_here() {
    ADOPTS.store(true, Ordering::Relaxed);
}

/// The worker's end.
struct ForkServer {
    line: OwnedFd,
    process: Child,
}

impl ForkServer {
    fn start() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (line, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("jobmgr").args(["runner", "--plugin", "--forks"]).env_clear();
        let process = command.stdin(theirs).stdout(Stdio::null()).spawn()?;
        Ok(Self { line, process })
    }

    /// The process id of a new runner. Whoever has the request has the pipe for the answer, so that its death is seen.
    fn fork(&self, environment: &[u8], [line, out, error]: [BorrowedFd<'_>; 3]) -> io::Result<Pid> {
        let (answer, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let files = [line, out, error, theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&self.line, &[IoSlice::new(environment)], &mut ancillary, SendFlags::NOSIGNAL)?;
        drop(theirs);
        if poll_for(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&PATIENCE))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the process that forks does not answer"));
        }
        let mut bytes = [0; 4];
        let count = retry_on_intr(|| rustix::io::read(&answer, &mut bytes))?;
        let pid = (count == bytes.len()).then(|| Pid::from_raw(i32::from_le_bytes(bytes))).flatten();
        pid.ok_or_else(|| io::Error::other("the process that forks has ended"))
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A runner that was forked: a child of this process.
pub(super) struct Forked {
    pid: Pid,
    /// Readable from its end on.
    ended: AsyncFd<OwnedFd>,
    status: Option<ExitStatus>,
}

/// Whether this process can have a fork server, and that one can give a runner this environment.
pub(super) fn takes(environment: &[(OsString, OsString)]) -> bool {
    let size = 1 + environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    let early = |name: &OsString| AT_THE_START.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()));
    ADOPTS.load(Ordering::Relaxed) && size <= MOST && !environment.iter().any(|(name, _)| early(name))
}

/// Forks a runner with this environment, and with these files as its standard input, output and error. `runners` has
/// those of this process, and is to stay locked meanwhile.
pub(super) fn fork(
    runners: &mut HashSet<u32>,
    environment: &[(OsString, OsString)],
    files: [BorrowedFd<'_>; 3],
) -> io::Result<Forked> {
    // Never empty, which would be the end of the line.
    let mut bytes = vec![0];
    for (name, value) in environment {
        bytes.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let forked = (|| {
        let server = match &*server {
            Some(server) => server,
            None => server.insert(ForkServer::start()?),
        };
        runners.insert(server.process.id());
        let pid = server.fork(&bytes, files)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is owned, and stays the same and open until the AsyncFd is dropped.
        #[allow(unsafe_code)]
        let ended = unsafe { AsyncFd::register(pidfd) }?;
        let forked = Forked { pid, ended, status: None };
        runners.insert(forked.pid());
        Ok(forked)
    })();
    if forked.is_err()
        && let Some(broken) = server.take()
    {
        runners.remove(&broken.process.id());
    }
    forked
}

impl Forked {
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        if self.status.is_none() {
            drop(self.ended.readable().await?);
        }
        for _ in 0..1_000 {
            self.reap()?;
            if let Some(status) = self.status {
                return Ok(status);
            }
            // Its parent, who forked it, has not ended yet.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(io::Error::other("it is another process's child"))
    }

    /// Takes the status of one that has ended and is this process's child.
    fn reap(&mut self) -> io::Result<()> {
        let id = WaitId::PidFd(self.ended.as_fd());
        match waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => {
                // As wait(2) has it.
                let exited = status.exit_status().map(|code| (code & 0xff) << 8);
                let killed = status.terminating_signal();
                self.status = exited.or(killed).map(ExitStatus::from_raw);
            }
            Ok(None) | Err(rustix::io::Errno::CHILD) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) async fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            pidfd_send_signal(&self.ended, Signal::KILL)?;
            self.wait().await?;
        }
        Ok(())
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if self.status.is_none() {
            // What is not reaped here is, as an orphan.
            let _ = pidfd_send_signal(&self.ended, Signal::KILL);
            let _ = self.reap();
        }
    }
}

/// What `jobmgr runner --plugin --forks` does until the line closes: has a process at hand that waits for a request and
/// then is a runner. No other thread may be there.
pub(super) fn serve<T>(prepare: impl FnOnce() -> T) -> io::Result<Role<T>> {
    let line = take_line()?;
    leave_session()?;
    rustix::thread::set_name(c"jobmgr-forks")?;
    loop {
        let Some(between) = fork_here()? else { return stand_between(line, prepare) };
        let ended = pidfd_open(between, PidfdFlags::empty())?;
        poll_for(&mut [PollFd::new(&ended, PollFlags::IN), PollFd::new(&line, PollFlags::empty())], None)?;
        if poll_for(&mut [PollFd::new(&line, PollFlags::empty())], Some(&Timespec::default()))? > 0 {
            // The worker is gone, which one that is stopped does not see. The death of its parent wakes it.
            let _ = pidfd_send_signal(&ended, Signal::KILL);
            return Ok(Role::Served);
        }
        let status = retry_on_intr(|| waitpid(Some(between), WaitOptions::empty()))?;
        match status.and_then(|(_, status)| status.exit_status()) {
            Some(GONE) => return Ok(Role::Served),
            Some(POOR) => return Err(io::Error::other("no process can be forked now")),
            _ => {}
        }
        // The next one is made when this one has begun, unless it is asked for.
        poll_for(&mut [PollFd::new(&line, PollFlags::IN)], Some(&PAUSE))?;
    }
}

/// Is the parent of a process that waits, until it has become a runner; comes out of this in that one alone.
fn stand_between<T>(line: OwnedFd, prepare: impl FnOnce() -> T) -> io::Result<Role<T>> {
    let Ok((taken, take)) = pipe_with(PipeFlags::CLOEXEC) else { exit(POOR) };
    let Some(waiting) = fork_here().unwrap_or_else(|_| exit(POOR)) else {
        drop(taken);
        settle()?;
        return await_request(line, take, prepare());
    };
    drop((line, take));
    if retry_on_intr(|| rustix::io::read(&taken, &mut [0])).is_ok_and(|count| count > 0) {
        exit(AGAIN);
    }
    // It stays for the worker, which may have had its answer.
    let status = retry_on_intr(|| waitid(WaitId::Pid(waiting), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    match status.ok().flatten().map(|status| status.exit_status()) {
        Some(Some(0)) => exit(GONE),
        Some(None) => exit(AGAIN),
        Some(Some(_)) | None => exit(POOR),
    }
}

/// Waits for a request, and answers with the id of this process, which is its runner.
fn await_request<T>(line: OwnedFd, take: OwnedFd, prepared: T) -> io::Result<Role<T>> {
    let mut environment = vec![0; MOST];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let pieces = &mut [IoSliceMut::new(&mut environment)];
    let size = retry_on_intr(|| recvmsg(&line, pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?.bytes;
    if size == 0 {
        return Ok(Role::Served);
    }
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let files = <[OwnedFd; 4]>::try_from(rights.flatten().collect::<Vec<_>>());
    let [theirs, output, error, answer] = files.map_err(|_| io::Error::other("a request without its files"))?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    rustix::io::write(&answer, &pid.to_le_bytes())?;
    drop(answer);
    // Whoever stood between may have been ended.
    let _ = rustix::io::write(&take, &[1]);
    become_one(&environment[..size], [theirs, output, error])?;
    Ok(Role::Runner(prepared))
}

fn poll_for(files: &mut [PollFd<'_>], time: Option<&Timespec>) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::event::poll(files, time))?)
}

/// In the new process `None`; in this one its id.
fn fork_here() -> io::Result<Option<Pid>> {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn fork() -> std::ffi::c_int;
    }
    // SAFETY: there is no other thread in this process, so that the new one is as whole as it.
    #[allow(unsafe_code)]
    let pid = unsafe { fork() };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
}

fn become_one(environment: &[u8], [line, output, error]: [OwnedFd; 3]) -> io::Result<()> {
    // Its command line is the server's, which can't be changed.
    rustix::thread::set_name(c"jobmgr-runner")?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(error)?;
    for variable in environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty()) {
        let equals = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
        let (name, value) = (&variable[..equals], variable.get(equals + 1..).unwrap_or_default());
        // SAFETY: the threads of this process, if there are others, wait and look at no environment.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    Ok(())
}

/// The line of the runner that this process has become.
pub(super) fn line() -> Option<OwnedFd> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner).take()
}
