//! The running job: start, question, end.

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Context, Error, Job, Result};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED};

use super::job_object::{JobObject, has_console, resume};
use super::program::is_batch;
use crate::{Limits, Options, Sandbox, command};

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

/// Nothing to do: a Job Object goes with this process.
pub fn clear() {}

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
pub fn start(job: &Job<Options>, ctx: &Context<'_>) -> Result<Child> {
    check_options(&job.options)?;
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
    let object = object(&job.options.limits, ctx)?;
    let mut child = command.spawn().map_err(|error| command::explain(&error, &program, job))?;
    if let Err(error) = contain(&object, &child) {
        // It never ran.
        let _ = child.kill();
        return Err(Error::retry(format!("cannot put the job into a Job Object: {error}")));
    }
    running.object = Some(Arc::new(object));
    Ok(child)
}

/// What this platform can't do is refused, not left out.
pub fn check_options(options: &Options) -> Result<()> {
    let refused = |option: &str| Err(Error::invalid(format!("'{option}' is for Linux; on Windows, leave it out")));
    match options {
        Options { user: Some(_), .. } => refused("User"),
        Options { sandbox: Sandbox::Readonly | Sandbox::Private, .. } => refused("Sandbox"),
        _ => Ok(()),
    }
}

/// A Job Object with limits; what it can't keep is said.
fn object(limits: &Limits, ctx: &Context<'_>) -> Result<JobObject> {
    let object = JobObject::new(limits).map_err(|error| Error::retry(format!("CreateJobObject: {error}")))?;
    if let Some(error) = limits.cpus.and_then(|cpus| object.limit_cpus(cpus).err()) {
        ctx.warn(format!("Limits.Cpus is not enforced: {}", command::reason(&error)));
    }
    if limits.files.is_some() {
        ctx.warn(format!("Limits.Files is not enforced: {NO_FILES}"));
    }
    Ok(object)
}

const NO_FILES: &str = "Windows has no such limit";

/// What of `[Options]` this machine can do.
pub fn abilities() -> Vec<(&'static str, std::result::Result<(), String>)> {
    let cpus = JobObject::new(&Limits::default()).and_then(|object| object.limit_cpus(1.0));
    let linux = || Err("it is for Linux".to_owned());
    vec![
        ("Memory", Ok(())),
        ("Cpus", cpus.map_err(|error| command::reason(&error))),
        ("Pids", Ok(())),
        ("User", linux()),
        ("Sandbox", linux()),
    ]
}

/// Jobs are started in one step here.
pub fn launch() {}

fn contain(object: &JobObject, child: &Child) -> io::Result<()> {
    object.add(child)?;
    resume(child)
}
