//! Starting a job with a user, limits or a sandbox, and its end: from the runner's side.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jobmgr_plugin_api::{Context, Ending, Error, Job, KillReason, Outcome, Result, serde_json};

use super::cgroup::{Group, Needs, Unmet};
use super::plan::{Bound, Failure, Plan, READY, Step};
use super::sandbox::Rooms;
use super::user::{self, Identity};
use crate::linux::leader::{self, Started};
use crate::{Limits, Options, Sandbox, command};

/// How long a process may take to become the job; file systems on a network can hang.
const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// Starts a job that is not plain.
pub fn start(job: &Job<Options>, ctx: &Context<'_>) -> Result<Started> {
    let program = command::resolve(job)?;
    let user = job.options.user.as_deref().map(identity).transpose()?.flatten();
    if let Some(user) = user.as_ref().filter(|_| !job.dir.is_empty()) {
        hand_over(user, Path::new(&job.dir), ctx)?;
    }
    let needs = Needs::of(&job.options.limits);
    let (group, unmet) = if needs.any() { Group::create(&job.key, &needs) } else { (None, Vec::new()) };
    let plan = Plan {
        groups: group.as_ref().map(Group::folders).unwrap_or_default(),
        bounds: bounds(&job.options.limits, &unmet, user.as_ref(), ctx),
        sandbox: Rooms::of(job, &program),
        directory: job.working_directory.clone(),
        program,
        arguments: job.command[1..].to_vec(),
        env: environment(job, user.as_ref()),
        user,
    };
    let plan_json = serde_json::to_vec(&plan).map_err(|error| Error::invalid(format!("the command: {error}")))?;
    let (ours, theirs) = UnixStream::pair().map_err(|error| cannot("socketpair", &error))?;
    let started = spawn(group, theirs)?;
    tell(&ours, &plan_json, &plan, job)?;
    Ok(started)
}

/// Who the job is to be; `None`: who this process is.
fn identity(text: &str) -> Result<Option<Identity>> {
    let user = user::look_up(text)?;
    if user.is_own() {
        return Ok(None);
    }
    user.check_rights(text)?;
    Ok(Some(user))
}

fn hand_over(user: &Identity, directory: &Path, ctx: &Context<'_>) -> Result<()> {
    let failed = |error: io::Error| {
        let (name, reason) = (user.name(), command::reason(&error));
        Error::failed(format!("'User': the job's directory {} can't become {name}'s: {reason}", directory.display()))
    };
    user.take(directory).map_err(failed)?;
    if let Some(closed) = user.stopped_at(directory) {
        let (name, closed) = (user.name(), closed.display());
        ctx.warn(format!("'User': {name} may not pass {closed}, in which the job's directory is (chmod o+x)"));
    }
    Ok(())
}

/// The bounds of single processes: files always, the others where there is no control group for them.
fn bounds(limits: &Limits, unmet: &[Unmet], user: Option<&Identity>, ctx: &Context<'_>) -> Vec<(Bound, u64)> {
    let mut bounds = Vec::new();
    bounds.extend(limits.files.map(|files| (Bound::Files, files)));
    for Unmet { limit, why } in unmet {
        match *limit {
            "Memory" => {
                bounds.extend(limits.memory.map(|memory| (Bound::Data, memory.0)));
                ctx.warn(format!(
                    "Limits.Memory holds for each process of the job, not for all together, and more memory is refused, \
                     not answered with a kill: {why}"
                ));
            }
            "Pids" if user.is_some_and(|user| user.uid != 0) => {
                bounds.extend(limits.pids.map(|pids| (Bound::Processes, pids)));
                ctx.warn(format!("Limits.Pids holds for all processes of the job's user together: {why}"));
            }
            limit => ctx.warn(format!("Limits.{limit} is not enforced: {why}")),
        }
    }
    bounds
}

/// The job's variables, and those that its user or its sandbox make necessary, unless the job has them.
fn environment(job: &Job<Options>, user: Option<&Identity>) -> std::collections::BTreeMap<String, String> {
    let mut env = job.env.clone();
    let mut offer = |name: &str, value: &str| {
        env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    if let Some((name, home)) = user.and_then(|user| user.known.as_ref()) {
        offer("HOME", home);
        offer("USER", name);
        offer("LOGNAME", name);
    }
    if job.options.sandbox != Sandbox::None && !job.dir.is_empty() {
        offer("TMPDIR", &job.dir);
    }
    env
}

/// Starts this program again, in a process group of its own; what std can do with `posix_spawn`, as for a plain job.
fn spawn(group: Option<Group>, line: UnixStream) -> Result<Started> {
    let mut command = Command::new("/proc/self/exe");
    // Without the job's variables: the loader would listen to some of them while this is still the runner's user.
    command.arg0("jobmgr").arg(crate::LAUNCH).env_clear().process_group(0);
    command.stdin(OwnedFd::from(line)).stdout(Stdio::piped()).stderr(Stdio::piped());
    leader::spawn(command, group, |error| cannot("/proc/self/exe", error))
}

fn cannot(what: &str, error: &io::Error) -> Error {
    Error::retry(format!("the job's process can't be started: {what}: {}", command::reason(error)))
}

/// Gives the new process its plan, and waits until it has become the job.
fn tell(line: &UnixStream, json: &[u8], plan: &Plan, job: &Job<Options>) -> Result<()> {
    let answer = converse(line, json).map_err(|error| {
        Error::retry(format!("the job's process did not begin its command: {}", command::reason(&error)))
    })?;
    match answer.split_first() {
        // It closed its end: the command runs.
        Some((&READY, [])) => Ok(()),
        Some((&READY, failure)) => Err(understand(failure, plan, job)),
        // Killed, maybe for want of memory: how it ended says more.
        None => {
            leader::lock().never_began();
            Ok(())
        }
        _ => Err(understand(&answer, plan, job)),
    }
}

fn converse(mut line: &UnixStream, json: &[u8]) -> io::Result<Vec<u8>> {
    line.set_read_timeout(Some(LAUNCH_LIMIT))?;
    line.set_write_timeout(Some(LAUNCH_LIMIT))?;
    match line.write_all(json) {
        // What has died is not heard any more; whether it said something is read below.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    line.shutdown(Shutdown::Write).or_else(|error| match error.kind() {
        io::ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    })?;
    let mut answer = Vec::new();
    match line.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(answer),
    }
}

/// Why it did not become the job, as a plain job would have said it.
fn understand(failure: &[u8], plan: &Plan, job: &Job<Options>) -> Error {
    let Ok(Failure { step, errno, text }) = serde_json::from_slice(failure) else {
        return Error::failed("the job's process answered something else than its runner's version understands");
    };
    let error = errno.map_or_else(|| io::Error::other(text.clone()), io::Error::from_raw_os_error);
    let who = plan.user.as_ref().map_or_else(String::new, |user| format!(" (as user {})", user.name()));
    match step {
        Step::Confine => Error::failed(text),
        Step::Directory => Error::invalid(format!("chdir {}: {}{who}", plan.directory, command::reason(&error))),
        Step::Execute => {
            let said = command::explain(&error, &plan.program, job);
            jobmgr_plugin_api::Error::new(said.kind(), format!("{said}{who}"))
        }
    }
}

/// Makes the end of a job's control group, if it has one, and of its outcome what that says.
pub fn finish(ended: Result<Outcome>, limits: &Limits, ctx: &Context<'_>) -> Result<Outcome> {
    let (group, began) = leader::lock().take_group();
    let out_of_memory = group.as_ref().is_some_and(Group::ran_out_of_memory);
    drop(group);
    let mut outcome = ended?;
    if matches!(outcome.ending, Ending::Killed(_)) {
        return Ok(outcome);
    }
    let limit = limits.memory.map_or_else(String::new, |memory| memory.to_string());
    match outcome.ending {
        Ending::Exited(0) if began && out_of_memory => {
            ctx.warn(format!("a process of the job was killed: it needed more memory than Limits.Memory = {limit}"));
        }
        _ if out_of_memory => {
            outcome.ending = Ending::Killed(KillReason::OutOfMemory);
            outcome.message = Some(format!("out of memory: the job needed more than Limits.Memory = {limit}"));
        }
        _ if !began => return Err(Error::failed("the job's process ended before its command began")),
        _ => {}
    }
    Ok(outcome)
}
