//! Windows: two pipes as the runner's standard input and output, and a job object that ends it with its worker.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::process::Stdio;
use std::ptr;

use windows_sys::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, SetHandleInformation};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
};
use windows_sys::Win32::System::Diagnostics::Debug::{SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, GetCurrentProcess};

use super::{Kind, Started};

/// Variables without which programs on Windows don't start, or don't find other programs.
const NEEDED: [&str; 5] = ["PATH", "PATHEXT", "SystemRoot", "SystemDrive", "ComSpec"];

/// A runner's process. When this is dropped, or this process ends in whatever way, the system ends the runner and all
/// that it started.
pub(in crate::runner) struct Process {
    child: tokio::process::Child,
    pid: Option<u32>,
    job: OwnedHandle,
}

/// Starts `jobmgr runner`, with a console of its own, so that a Ctrl-C for the server does not reach its jobs.
pub(in crate::runner) fn start_runner(kind: Kind) -> io::Result<Started> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.arg("runner").env_clear();
    command.envs(NEEDED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    match kind {
        Kind::Own => drop(command.stderr(Stdio::inherit())),
        // Standard output is the line.
        Kind::Plugin(env) => drop(command.arg("--plugin").envs(env).stderr(Stdio::piped())),
    }
    command.kill_on_drop(true).creation_flags(CREATE_NO_WINDOW);
    let job = job_object()?;
    let mut child = command.spawn()?;
    let process = child.raw_handle().ok_or_else(|| io::Error::other("the runner has ended already"))?;
    // SAFETY: both handles are open; the runner waits for its first request, so nothing can have left it yet.
    if unsafe { AssignProcessToJobObject(job.as_raw_handle() as HANDLE, process as HANDLE) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let missing = || io::Error::other("the runner has no pipes");
    let input = child.stdout.take().ok_or_else(missing)?;
    let out = child.stdin.take().ok_or_else(missing)?;
    let pid = child.id();
    let printed = super::printed(None::<tokio::process::ChildStdout>, child.stderr.take());
    Ok(Started { process: Process { child, pid, job }, input: Box::new(input), out: Box::new(out), printed })
}

fn job_object() -> io::Result<OwnedHandle> {
    job_object_limited(None)
}

fn job_object_limited(memory: Option<u64>) -> io::Result<OwnedHandle> {
    // SAFETY: null asks for default security and no name.
    let handle = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle is open and nobody else's.
    let job = unsafe { OwnedHandle::from_raw_handle(handle as RawHandle) };
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    if let Some(memory) = memory {
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_PROCESS_MEMORY;
        limits.ProcessMemoryLimit = usize::try_from(memory).unwrap_or(usize::MAX);
    }
    let size = size_of_val(&limits) as u32;
    // SAFETY: the pointer and the size describe `limits`, of the type that the class asks for.
    let set = unsafe {
        SetInformationJobObject(handle, JobObjectExtendedLimitInformation, ptr::from_ref(&limits).cast(), size)
    };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(job) }
}

impl Process {
    pub(in crate::runner) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(in crate::runner) async fn wait(&mut self) -> Option<std::process::ExitStatus> {
        self.child.wait().await.ok()
    }

    pub(in crate::runner) async fn kill(&mut self) {
        // SAFETY: the handle is open. It may have ended by itself meanwhile.
        unsafe { TerminateJobObject(self.job.as_raw_handle() as HANDLE, 1) };
        drop(self.child.kill().await);
    }

    /// How the runner ended, in words.
    pub(in crate::runner) async fn epitaph(&mut self) -> String {
        match tokio::time::timeout(std::time::Duration::from_secs(5), self.child.wait()).await {
            Ok(Ok(status)) => format!("the runner ended with {status} before it gave a result"),
            _ => "the runner closed its line before it gave a result".into(),
        }
    }
}

/// How a library's runner ended, in words.
pub(in crate::runner) fn epitaph(status: std::process::ExitStatus) -> String {
    // Those of crashes have the highest bit set, and are known by their hexadecimal digits.
    let how = match status.code() {
        Some(code) if code >= 0 => format!("exited with code {code}"),
        _ => format!("ended with {status}"),
    };
    format!("the executor's process {how} before it gave a result")
}

/// Before a library is opened: a crash asks nobody anything, and it has at most so many bytes of memory.
pub(in crate::runner) fn limit_runner(memory: Option<u64>) -> io::Result<()> {
    // SAFETY: it changes this process's own mode.
    unsafe { SetErrorMode(SEM_NOGPFAULTERRORBOX | SEM_FAILCRITICALERRORS) };
    let Some(memory) = memory else { return Ok(()) };
    let job = job_object_limited(Some(memory))?;
    // SAFETY: the handle is open; the other one stands for this process.
    if unsafe { AssignProcessToJobObject(job.as_raw_handle() as HANDLE, GetCurrentProcess()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // It is kept as long as the process.
    std::mem::forget(job);
    Ok(())
}

/// Makes this process a runner: takes the line off standard input and output.
pub(in crate::runner) fn become_runner() -> io::Result<(File, File)> {
    Ok((take(STD_INPUT_HANDLE)?, take(STD_OUTPUT_HANDLE)?))
}

/// The pipe at a standard handle, no longer inherited by anybody, with NUL in its place.
fn take(which: STD_HANDLE) -> io::Result<File> {
    // SAFETY: any of the constants may be asked for.
    let handle = unsafe { GetStdHandle(which) };
    if handle == INVALID_HANDLE_VALUE || handle.is_null() {
        return Err(io::Error::other("a standard handle is missing"));
    }
    // SAFETY: the handle is open.
    if unsafe { GetFileType(handle) } != FILE_TYPE_PIPE {
        return Err(io::Error::other("standard input and output are not the line to a worker"));
    }
    // SAFETY: the handle is open. A job must not inherit it: the line would stay open after the runner.
    if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let null = File::options().read(true).write(true).open("NUL")?;
    // SAFETY: both handles are open; NUL's stays so, since it is never closed.
    if unsafe { SetStdHandle(which, null.as_raw_handle() as HANDLE) } == 0 {
        return Err(io::Error::last_os_error());
    }
    std::mem::forget(null);
    // SAFETY: nothing else uses the pipe now that it is no standard handle any more.
    Ok(unsafe { File::from_raw_handle(handle as RawHandle) })
}

/// Ends this process without running anything more.
pub(in crate::runner) fn exit_now() -> ! {
    std::process::exit(1)
}

/// There is no such thing here.
pub(in crate::runner) fn serve_forks<T>(_prepare: impl FnOnce() -> T) -> io::Result<super::Role<T>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "processes can't be forked here"))
}
