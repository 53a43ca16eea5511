//! What `[Executors.docker.Config]` says.

use std::collections::BTreeMap;
use std::time::Duration;

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;
use crate::options::Pull;

/// `[Executors.docker.Config]`: which engine, and what holds for jobspecs that say nothing of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Config {
    /// Where the engine listens: `unix:///path/to/socket`, `npipe:////./pipe/name` or `tcp://host:port` (not
    /// encrypted). Default: `DOCKER_HOST` of this process, or the platform's usual place.
    pub host: Option<String>,
    /// For jobspecs without `Pull`.
    pub pull: Option<Pull>,
    /// For jobspecs without `Network`.
    pub network: Option<String>,
    /// For jobspecs without `User`.
    pub user: Option<String>,
    /// For jobspecs without `Memory`.
    pub memory: Option<Size>,
    /// For jobspecs without `Cpus`.
    pub cpus: Option<f64>,
    /// For jobspecs without `PidsLimit`.
    pub pids_limit: Option<i64>,
    /// How long an engine may be away while a container runs before the job is given up, in seconds. Default 300.
    pub reconnect_seconds: Option<u64>,
    /// The engine's log driver, from which output is read. Default `local` (Docker) or `k8s-file` (podman).
    pub log_driver: Option<String>,
    /// Who pulls, by registry: `[Executors.docker.Config.Registries."ghcr.io"]`.
    pub registries: BTreeMap<String, Registry>,
}

/// A login to a registry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Registry {
    /// The user's name.
    pub username: String,
    /// The file that has the password or token; read at every pull.
    pub password_file: String,
}

impl Config {
    /// The engine's address.
    pub(crate) fn host(&self) -> String {
        let from_env = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        self.host.clone().or_else(from_env).unwrap_or_else(crate::platform::default_host)
    }

    /// How long an engine may be away.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.reconnect_seconds.unwrap_or(300))
    }

    /// Checks what a schema can't say.
    pub(crate) fn check(&self) -> Result<()> {
        if self.memory == Some(Size(0)) {
            return Err(Error::invalid("Memory: must be above 0, such as \"2GiB\""));
        }
        if self.cpus.is_some_and(|cpus| !(cpus > 0.0 && cpus.is_finite())) {
            return Err(Error::invalid("Cpus: must be above 0, such as 1.5"));
        }
        Ok(())
    }
}
