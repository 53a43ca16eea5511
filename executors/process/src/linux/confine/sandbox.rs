//! What a job may see and change: a Landlock ruleset, which it and all that it starts are held to.

use std::path::{Path, PathBuf};

use jobmgr_plugin_api::Job;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use serde::{Deserialize, Serialize};

use crate::{Options, Sandbox};

/// Where programs, libraries and settings of the system are. What a system does not have is passed over.
const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/proc",
    "/sys",
    "/opt",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/nscd",
];
/// Devices that do nothing and know nothing.
const DEVICES: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];
/// The rights that are asked for; an older kernel knows some less.
const RIGHTS: ABI = ABI::V5;

/// What is open to a job.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rooms {
    /// To read and execute.
    read: Vec<PathBuf>,
    /// To do anything in.
    write: Vec<PathBuf>,
    /// Processes outside can't be signalled.
    alone: bool,
}

impl Rooms {
    /// What `Sandbox` opens to a job with this program; `None` if that is everything.
    pub fn of(job: &Job<Options>, program: &Path) -> Option<Rooms> {
        let own = Some(&job.dir).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let write = DEVICES.into_iter().map(PathBuf::from).chain(own).collect();
        match job.options.sandbox {
            Sandbox::None => None,
            Sandbox::Readonly => Some(Rooms { read: vec!["/".into()], write, alone: false }),
            Sandbox::Private => {
                let start = Some(&job.working_directory).filter(|dir| !dir.is_empty()).map(PathBuf::from);
                let system = SYSTEM.into_iter().map(PathBuf::from);
                let read = system.chain([program.to_owned()]).chain(start).collect();
                Some(Rooms { read, write, alone: true })
            }
        }
    }

    /// Opens what stays open, as long as this process may.
    pub fn prepare(&self) -> Result<RulesetCreated, String> {
        self.ruleset().map_err(|error| {
            format!(
                "'Sandbox': this kernel does not enforce it; it needs Linux 5.13 or newer with landlock in its list of \
                 security modules (lsm=): {error}"
            )
        })
    }

    fn ruleset(&self) -> Result<RulesetCreated, RulesetError> {
        let mut rules =
            least()?.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(RIGHTS))?;
        if self.alone {
            rules = rules.scope(Scope::from_all(ABI::V6))?;
        }
        rules
            .create()?
            .add_rules(path_beneath_rules(&self.read, AccessFs::from_read(RIGHTS)))?
            .add_rules(path_beneath_rules(&self.write, AccessFs::from_all(RIGHTS)))
    }
}

/// What the first kernel with Landlock could do, and every sandbox needs.
fn least() -> Result<Ruleset, RulesetError> {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1))
}

/// Whether this kernel enforces sandboxes.
pub fn is_enforced() -> bool {
    least().and_then(Ruleset::create).is_ok()
}

/// Holds this process to the rules for good, and takes the right to gain rights from it (`no_new_privs`).
pub fn enter(ruleset: RulesetCreated) -> Result<(), String> {
    match ruleset.restrict_self() {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced && status.no_new_privs => Ok(()),
        Ok(status) => Err(format!("'Sandbox': the kernel does not enforce it: {status:?}")),
        Err(error) => Err(format!("'Sandbox': {error}")),
    }
}
