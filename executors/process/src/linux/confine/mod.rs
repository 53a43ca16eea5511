//! Jobs with a user, limits or a sandbox.
//!
//! What these are can't be undone, and `posix_spawn` does none of it. So this program is started again (`launch`), is
//! told over a socket what to take on (`plan`), takes it on, and executes the job's command. The runner keeps its
//! rights: to end the job, and to take what it leaves.

/// Control groups: where they can be made, and the one of a job.
mod cgroup;
/// The process that becomes the job's.
mod launch;
/// What that process is told, and what it answers.
mod plan;
/// What a job may see and change.
mod sandbox;
/// From the runner's side.
mod start;
/// Users, and what has to be theirs.
mod user;

pub use cgroup::Group;
pub use launch::launch;
pub use start::{finish, start};

use jobmgr_plugin_api::Error;

use crate::Options;

/// Everything is known here; what this machine can't do is found out when a job asks for it.
pub fn check_options(_options: &Options) -> Result<(), Error> {
    Ok(())
}

/// What of `[Options]` this machine can do: the option, and why not.
pub fn abilities() -> Vec<(&'static str, Result<(), String>)> {
    let own = rustix::process::geteuid();
    let user = if own.is_root() { Ok(()) } else { Err(format!("jobmgr runs as user {}, not as root", own.as_raw())) };
    let sandbox = if sandbox::is_enforced() { Ok(()) } else { Err("the kernel has no Landlock".to_owned()) };
    let mut all = cgroup::probe();
    all.extend([("User", user), ("Sandbox", sandbox)]);
    all
}
