use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[Executors.slurm.Config]` of the server's configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Config {
    /// The folder of `sbatch`, `squeue`, `sacct` and `scancel`; without it they are looked for in `PATH`.
    pub bin: Option<PathBuf>,
    /// The `slurm.conf` to use, where it is not at its usual place.
    pub conf: Option<PathBuf>,
    /// A folder that this machine and the nodes see under the same path. Scripts, output and artifacts of running jobs
    /// are kept there. Without it they are in the job's own temporary directory, which the nodes must see then.
    pub shared_dir: Option<PathBuf>,
    /// How often Slurm is asked about all jobs together, in seconds.
    pub poll_every: f64,
    /// How long Slurm may know nothing of a job before it counts as lost, in seconds.
    pub unseen_limit: f64,
    /// How long one command of Slurm may take, in seconds.
    pub command_limit: f64,
    /// Whether `sacct` has answers. Without it that is found out.
    pub accounting: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bin: None,
            conf: None,
            shared_dir: None,
            poll_every: 5.0,
            unseen_limit: 300.0,
            command_limit: 60.0,
            accounting: None,
        }
    }
}

impl Config {
    /// Refuses what can't serve.
    pub(crate) fn check(&self) -> Result<()> {
        for (key, path) in [("Bin", &self.bin), ("Conf", &self.conf), ("SharedDir", &self.shared_dir)] {
            let Some(path) = path else { continue };
            if !path.is_absolute() {
                return Err(Error::invalid(format!("{key}: must be an absolute path, and is '{}'", path.display())));
            }
        }
        for (key, path) in [("Bin", &self.bin), ("SharedDir", &self.shared_dir)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_dir()) {
                return Err(Error::invalid(format!("{key}: there is no folder '{}'", path.display())));
            }
        }
        for (key, seconds) in self.durations() {
            if !(0.05..=86_400.0).contains(&seconds) {
                return Err(Error::invalid(format!("{key}: must be from 0.05 to 86400 seconds, and is {seconds}")));
            }
        }
        Ok(())
    }

    fn durations(&self) -> [(&'static str, f64); 3] {
        [("PollEvery", self.poll_every), ("UnseenLimit", self.unseen_limit), ("CommandLimit", self.command_limit)]
    }

    pub(crate) fn command_limit(&self) -> Duration {
        Duration::from_secs_f64(self.command_limit)
    }
}
