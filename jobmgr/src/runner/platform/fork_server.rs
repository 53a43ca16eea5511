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
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, pidfd_send_signal, waitpid};
use tokio::io::unix::AsyncFd;

use super::Role;
use super::unix::{leave_session, settle, take_line};

/// How much environment fits into a request, in bytes. With more, a runner is started as a program.
const MOST: usize = 128 << 10;
/// How long a fork may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server waits before it forks another one.
const PAUSE_NANOSECONDS: i64 = 5_000_000;
/// The exit status of the one in between when the one that waited has become a runner.
const TAKEN: i32 = 0;
/// The same when the worker is gone.
const GONE: i32 = 1;

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
        rustix::net::sockopt::set_socket_timeout(&line, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("jobmgr").args(["runner", "--plugin", "--forks"]).env_clear();
        let process = command.stdin(theirs).stdout(Stdio::null()).spawn()?;
        Ok(Self { line, process })
    }

    /// The process id of a new runner.
    fn fork(&self, environment: &[u8], files: [BorrowedFd<'_>; 3]) -> io::Result<Pid> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&self.line, &[IoSlice::new(environment)], &mut ancillary, SendFlags::NOSIGNAL)?;
        let mut answer = [0; 4];
        let count = rustix::io::retry_on_intr(|| rustix::net::recv(&self.line, &mut answer, RecvFlags::empty()))?.1;
        let pid = (count == answer.len()).then(|| Pid::from_raw(i32::from_le_bytes(answer))).flatten();
        pid.ok_or_else(|| io::Error::other("it can't fork"))
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

/// Whether this process can have a fork server, which takes no more than so much environment.
pub(super) fn takes(environment: &[(OsString, OsString)]) -> bool {
    let size: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    ADOPTS.load(Ordering::Relaxed) && size <= MOST
}

/// Forks a runner with this environment, and with these files as its standard input, output and error. `runners` has
/// those of this process, and is to stay locked meanwhile.
pub(super) fn fork(
    runners: &mut HashSet<u32>,
    environment: &[(OsString, OsString)],
    files: [BorrowedFd<'_>; 3],
) -> io::Result<Forked> {
    let bytes = environment.iter().flat_map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    let bytes: Vec<u8> = bytes.collect();
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let forked = (|| {
        let server = match &*server {
            Some(server) => server,
            None => server.insert(ForkServer::start()?),
        };
        runners.insert(server.process.id());
        let pid = server.fork(&bytes, files)?;
        runners.insert(pid.as_raw_nonzero().get().unsigned_abs());
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is owned, and stays the same and open until the AsyncFd is dropped.
        #[allow(unsafe_code)]
        let ended = unsafe { AsyncFd::register(pidfd) }?;
        Ok(Forked { pid, ended, status: None })
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
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => self.status = Some(ExitStatus::from_raw(status.as_raw())),
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
        match fork_here()? {
            None => return stand_between(line, prepare),
            Some(between) if wait(between)?.exit_status() == Some(GONE) => return Ok(Role::Served),
            Some(_) => {}
        }
        // The next one is made when this one has begun, unless it is asked for.
        let mut asked = [PollFd::new(&line, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE_NANOSECONDS };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut asked, Some(&pause)))?;
    }
}

/// Is the parent of a process that waits, until it has become a runner; comes out of this in that one alone.
fn stand_between<T>(line: OwnedFd, prepare: impl FnOnce() -> T) -> io::Result<Role<T>> {
    let (taken, take) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let Some(waiting) = fork_here()? else {
        drop(taken);
        settle()?;
        return await_request(line, take, prepare());
    };
    drop((line, take));
    let told = rustix::io::retry_on_intr(|| rustix::io::read(&taken, &mut [0]))? > 0;
    // One that was ended from outside is replaced.
    let gone = !told && wait(waiting)?.exited();
    exit(if gone { GONE } else { TAKEN });
}

/// Waits for a request, and answers with the id of this process, which is its runner.
fn await_request<T>(line: OwnedFd, take: OwnedFd, prepared: T) -> io::Result<Role<T>> {
    let mut environment = vec![0; MOST];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let pieces = &mut [IoSliceMut::new(&mut environment)];
    let size = rustix::io::retry_on_intr(|| recvmsg(&line, pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC))?.bytes;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let Ok(files) = <[OwnedFd; 3]>::try_from(rights.flatten().collect::<Vec<_>>()) else { return Ok(Role::Served) };
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    rustix::net::send(&line, &pid.to_le_bytes(), SendFlags::NOSIGNAL)?;
    // Whoever stood between may have been ended.
    let _ = rustix::io::write(&take, &[1]);
    become_one(&environment[..size], files)?;
    Ok(Role::Runner(prepared))
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

fn wait(child: Pid) -> io::Result<WaitStatus> {
    let waited = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
    waited.map(|(_, status)| status).ok_or_else(|| io::Error::other("there is no such child"))
}

/// Ends this process without running anything more.
fn exit(status: i32) -> ! {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn _exit(status: std::ffi::c_int) -> !;
    }
    // SAFETY: it returns to nobody.
    #[allow(unsafe_code)]
    unsafe {
        _exit(status)
    }
}
