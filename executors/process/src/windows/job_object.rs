//! The kernel's job: what belongs to it, and its end.
#![allow(unsafe_code, reason = "the system's calls")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::Child;
use std::ptr::{from_mut, from_ref, null};

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Console as console;
use windows_sys::Win32::System::Diagnostics::ToolHelp as tool;
use windows_sys::Win32::System::JobObjects as job;
use windows_sys::Win32::System::Threading::{OpenThread, ResumeThread, THREAD_SUSPEND_RESUME};

use crate::Limits;

/// A Job Object: all processes in it die when it is dropped, or when this process dies.
pub struct JobObject(OwnedHandle);

impl JobObject {
    /// An empty one, which nobody may leave. All that is in it together gets no more memory and no more processes than
    /// `limits` say: what asks for more is refused.
    pub fn new(limits: &Limits) -> io::Result<Self> {
        // SAFETY: no attributes and no name; the handle is checked, and owned by nobody else.
        let object = unsafe {
            let handle = job::CreateJobObjectW(null(), null());
            if handle.is_null() {
                return Err(io::Error::last_os_error());
            }
            Self(OwnedHandle::from_raw_handle(handle))
        };
        let mut found = job::JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        found.BasicLimitInformation.LimitFlags = job::JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        if let Some(memory) = limits.memory {
            found.BasicLimitInformation.LimitFlags |= job::JOB_OBJECT_LIMIT_JOB_MEMORY;
            found.JobMemoryLimit = usize::try_from(memory.0).unwrap_or(usize::MAX);
        }
        if let Some(pids) = limits.pids {
            found.BasicLimitInformation.LimitFlags |= job::JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
            found.BasicLimitInformation.ActiveProcessLimit = u32::try_from(pids).unwrap_or(u32::MAX);
        }
        object.set(job::JobObjectExtendedLimitInformation, &found)?;
        Ok(object)
    }

    /// Gives all that is in it together so much processor time: 1.5 is all of one and half of another one.
    pub fn limit_cpus(&self, cpus: f64) -> io::Result<()> {
        let all = std::thread::available_parallelism()?.get() as f64;
        // In hundredths of a percent of the machine.
        let rate = (cpus / all * 10_000.0).clamp(1.0, 10_000.0) as u32;
        let rules = job::JOBOBJECT_CPU_RATE_CONTROL_INFORMATION {
            ControlFlags: job::JOB_OBJECT_CPU_RATE_CONTROL_ENABLE | job::JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP,
            Anonymous: job::JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0 { CpuRate: rate },
        };
        self.set(job::JobObjectCpuRateControlInformation, &rules)
    }

    /// Sets what belongs to this class of information, which `value` must be the type of.
    fn set<T>(&self, class: job::JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        let size = size_of_val(value) as u32;
        // SAFETY: the callers give a class with its own type, the size is the type's.
        checked(unsafe { job::SetInformationJobObject(self.raw(), class, from_ref(value).cast(), size) })
    }

    fn raw(&self) -> *mut std::ffi::c_void {
        self.0.as_raw_handle()
    }

    /// Takes a process in, and everything that it will start.
    pub fn add(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open as long as their owners live.
        checked(unsafe { job::AssignProcessToJobObject(self.raw(), child.as_raw_handle()) })
    }

    /// Kills everything in it; it does not wait.
    pub fn terminate(&self) {
        // SAFETY: the handle is open. It can only fail when there is nothing to kill.
        unsafe { job::TerminateJobObject(self.raw(), 1) };
    }

    /// How many processes are in it.
    pub fn active(&self) -> io::Result<u32> {
        let mut counts = job::JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        let class = job::JobObjectBasicAccountingInformation;
        let size = size_of_val(&counts) as u32;
        let place = from_mut(&mut counts).cast();
        // SAFETY: the class goes with the type, the size is the type's, nobody else has the place.
        checked(unsafe { job::QueryInformationJobObject(self.raw(), class, place, size, std::ptr::null_mut()) })?;
        Ok(counts.ActiveProcesses)
    }
}

fn checked(done: i32) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets a process run that was created suspended. std keeps the handle of its thread to itself, so that is looked up.
pub fn resume(child: &Child) -> io::Result<()> {
    // SAFETY: the handle is checked, and owned by nobody else.
    let threads = unsafe {
        let handle = tool::CreateToolhelp32Snapshot(tool::TH32CS_SNAPTHREAD, 0);
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        OwnedHandle::from_raw_handle(handle)
    };
    let mut entry = tool::THREADENTRY32 { dwSize: size_of::<tool::THREADENTRY32>() as u32, ..Default::default() };
    // SAFETY: the snapshot is open, the entry's size is set.
    let mut more = unsafe { tool::Thread32First(threads.as_raw_handle(), &mut entry) };
    while more != 0 && entry.th32OwnerProcessID != child.id() {
        // SAFETY: as above.
        more = unsafe { tool::Thread32Next(threads.as_raw_handle(), &mut entry) };
    }
    checked(more)?;
    // SAFETY: the handle is checked, and owned by nobody else; a suspended process keeps its one thread.
    unsafe {
        let handle = OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID);
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        let thread = OwnedHandle::from_raw_handle(handle);
        if ResumeThread(thread.as_raw_handle()) == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Whether this process has a console, which its children then share.
pub fn has_console() -> bool {
    // SAFETY: it takes nothing.
    unsafe { console::GetConsoleCP() != 0 }
}

/// Sends Ctrl-Break to a process group; whether there is somebody who may hear it.
pub fn send_break(group: u32) -> bool {
    let borrowed = !has_console();
    // SAFETY: they take numbers only. A service has no console and borrows the group's own for the call.
    unsafe {
        if borrowed && console::AttachConsole(group) == 0 {
            return false;
        }
        let sent = console::GenerateConsoleCtrlEvent(console::CTRL_BREAK_EVENT, group) != 0;
        if borrowed {
            console::FreeConsole();
        }
        sent
    }
}
