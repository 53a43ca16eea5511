//! The process that becomes the job's.
//!
//! It has one thread, no environment, and standard input is the line to the runner.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use jobmgr_plugin_api::serde_json;
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Uid, execve, setgroups, setresgid, setresuid};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::plan::{Bound, Failure, Plan, READY, Step};
use super::user::Identity;

/// Becomes the job, or ends.
pub fn launch() -> ! {
    match line() {
        Ok(mut line) => {
            if let Err(failure) = become_job(&mut line) {
                // Without the runner there is nobody to tell.
                let _ = line.write_all(&serde_json::to_vec(&failure).unwrap_or_default());
            }
        }
        Err(error) => eprintln!("{} is started by jobmgr itself; it can't run alone: {error}", crate::LAUNCH),
    }
    std::process::exit(2)
}

/// Takes the line off standard input; it closes when the command is executed.
fn line() -> io::Result<File> {
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(stdin.as_fd())
        .map_err(|_| io::Error::other("standard input is not the line to a runner"))?;
    let line = fcntl_dupfd_cloexec(stdin.as_fd(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(File::from(line))
}

/// Returns only if that fails.
fn become_job(line: &mut File) -> Result<(), Failure> {
    let plan = read_plan(line).map_err(|error| confine("the plan", &error))?;
    for group in &plan.groups {
        // 0 is who writes it.
        std::fs::write(group.join("cgroup.procs"), "0")
            .map_err(|error| confine(&format!("joining {}", group.display()), &error))?;
    }
    // Files are opened and rights used as long as they are there.
    let sandbox = plan.sandbox.as_ref().map(|rooms| rooms.prepare().map_err(says)).transpose()?;
    for (bound, most) in &plan.bounds {
        lower(*bound, *most).map_err(|error| confine("'Limits': setrlimit", &error))?;
    }
    if let Some(user) = &plan.user {
        switch(user).map_err(|error| confine("'User'", &error))?;
    }
    if let Some(ruleset) = sandbox {
        super::sandbox::enter(ruleset).map_err(says)?;
    }
    if !plan.directory.is_empty() {
        std::env::set_current_dir(&plan.directory).map_err(|error| failed(Step::Directory, "", &error))?;
    }
    line.write_all(&[READY]).map_err(|error| confine("the line", &error))?;
    let error = execute(&plan);
    Err(failed(Step::Execute, "", &error))
}

/// Becomes the command. Not by `Command::exec`, which gives a text without `#!` to a shell.
fn execute(plan: &Plan) -> io::Error {
    let words = || -> Result<_, std::ffi::NulError> {
        let program = CString::new(plan.program.as_os_str().as_bytes())?;
        let arguments = plan.arguments.iter().map(|word| CString::new(word.as_str()));
        let arguments = std::iter::once(Ok(program.clone())).chain(arguments).collect::<Result<Vec<_>, _>>()?;
        let env = plan.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok((program, arguments, env.collect::<Result<Vec<_>, _>>()?))
    };
    let (program, arguments, env) = match words() {
        Ok(words) => words,
        Err(_) => return io::Error::from(Errno::EINVAL),
    };
    // Rust programs ignore it; others expect to end by it.
    // SAFETY: no handler is set, and this process has one thread.
    #[allow(unsafe_code)]
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let Err(errno) = execve(&program, &arguments, &env);
    errno.into()
}

fn read_plan(line: &mut File) -> io::Result<Plan> {
    let mut json = Vec::new();
    line.read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Bounds this process; a bound that is lower already stays.
fn lower(bound: Bound, most: u64) -> io::Result<()> {
    let resource = match bound {
        Bound::Data => Resource::Data,
        Bound::Processes => Resource::Nproc,
        Bound::Files => Resource::Nofile,
    };
    let most = getrlimit(resource).maximum.map_or(most, |now| now.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// Becomes a user for good. The groups first: afterwards the right to is gone.
fn switch(user: &Identity) -> io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

fn says(text: String) -> Failure {
    Failure { step: Step::Confine, errno: None, text }
}

fn confine(what: &str, error: &io::Error) -> Failure {
    failed(Step::Confine, &format!("{what}: {}", crate::command::reason(error)), error)
}

fn failed(step: Step, text: &str, error: &io::Error) -> Failure {
    Failure { step, errno: error.raw_os_error(), text: text.to_owned() }
}
