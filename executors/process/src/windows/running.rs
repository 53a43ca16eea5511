//! The running job: start, question, end.

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Error, Job, Result};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED};

use super::job_object::{JobObject, has_console, resume};
use super::program::is_batch;
use crate::{Options, command};

static RUNNING: Mutex<Running> = Mutex::new(Running { object: None, closed: false });

struct Running {
    object: Option<Arc<JobObject>>,
    closed: bool,
}

fn lock() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on no job starts.
pub fn close() {
    lock().closed = true;
}

/// Ends the running job, if there is one; see [`crate::end_descendants`].
pub fn end_descendants(deadline: Duration) -> bool {
    let object = lock().object.clone();
    object.is_none_or(|object| end(&object, deadline))
}

/// Whether a process of the running job is left.
pub fn any_left() -> bool {
    let object = lock().object.clone();
    object.is_some_and(|object| object.active().is_ok_and(|count| count > 0))
}

/// Kills everything in it and waits until it is empty: `false` if it is not in time.
fn end(object: &JobObject, deadline: Duration) -> bool {
    let until = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    while object.active().is_ok_and(|count| count > 0) {
        object.terminate();
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

/// Starts the job in a Job Object and a process group of its own. It is created suspended: nothing that it starts is
/// outside.
pub fn start(job: &Job<Options>) -> Result<Child> {
    let program = command::resolve(job)?;
    if is_batch(&program) && !job.options.allow_batch {
        return Err(Error::invalid(format!(
            "fork/exec {}: a batch file, whose arguments cmd.exe reads by rules of its own (CVE-2024-24576); AllowBatch = \
             true in the jobspec's [Options] allows it",
            program.display()
        )));
    }
    let mut command = Command::new(&program);
    command.args(&job.command[1..]).env_clear().envs(&job.env);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !job.working_directory.is_empty() {
        command.current_dir(&job.working_directory);
    }
    // Without a console to share, each console program would open a window.
    let window = if has_console() { 0 } else { CREATE_NO_WINDOW };
    command.creation_flags(CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP | window);
    let mut running = lock();
    if running.closed {
        return Err(Error::retry("this runner is closing"));
    }
    let object = JobObject::new().map_err(|error| Error::retry(format!("CreateJobObject: {error}")))?;
    let mut child = command.spawn().map_err(|error| command::explain(&error, &program, job))?;
    if let Err(error) = contain(&object, &child) {
        // It never ran.
        let _ = child.kill();
        return Err(Error::retry(format!("cannot put the job into a Job Object: {error}")));
    }
    running.object = Some(Arc::new(object));
    Ok(child)
}

fn contain(object: &JobObject, child: &Child) -> io::Result<()> {
    object.add(child)?;
    resume(child)
}
