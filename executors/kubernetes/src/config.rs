use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[Executors.kubernetes.Config]` of the server's configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Config {
    /// The kubeconfig file that leads to the cluster; without it jobmgr runs in a pod and uses its service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; without it its current one.
    pub context: Option<String>,
    /// The namespace of jobs that name none; without it that of the context or of jobmgr's own pod.
    pub namespace: Option<String>,
    /// What the cluster calls a GPU, for `Gpus` of jobspecs.
    pub gpu_resource: String,
    /// How often the API server is asked about all jobs together, in seconds.
    pub poll_every: f64,
    /// How long the API server may know nothing of a job before it counts as lost, in seconds.
    pub unseen_limit: f64,
    /// How long one answer of the API server may take, in seconds.
    pub request_limit: f64,
    /// How long an image that can't be pulled, or another start that does not come about, is tried, in seconds.
    pub start_patience: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            gpu_resource: "nvidia.com/gpu".into(),
            poll_every: 2.0,
            unseen_limit: 15.0,
            request_limit: 30.0,
            start_patience: 120.0,
        }
    }
}

impl Config {
    /// Refuses what can't serve.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(path) = &self.kubeconfig {
            if !path.is_absolute() {
                let path = path.display();
                return Err(Error::invalid(format!("Kubeconfig: must be an absolute path, and is '{path}'")));
            }
        } else if self.context.is_some() {
            return Err(Error::invalid("Context: is one of a kubeconfig file, which 'Kubeconfig' names"));
        }
        if let Some(namespace) = &self.namespace {
            check_label("Namespace", namespace)?;
        }
        if !self.gpu_resource.contains('/') {
            let name = &self.gpu_resource;
            return Err(Error::invalid(format!("GpuResource: must be a name such as nvidia.com/gpu, and is '{name}'")));
        }
        for (key, seconds) in self.durations() {
            if !(0.05..=86_400.0).contains(&seconds) {
                return Err(Error::invalid(format!("{key}: must be from 0.05 to 86400 seconds, and is {seconds}")));
            }
        }
        Ok(())
    }

    fn durations(&self) -> [(&'static str, f64); 4] {
        [
            ("PollEvery", self.poll_every),
            ("UnseenLimit", self.unseen_limit),
            ("RequestLimit", self.request_limit),
            ("StartPatience", self.start_patience),
        ]
    }

    pub(crate) fn request_limit(&self) -> Duration {
        Duration::from_secs_f64(self.request_limit)
    }

    pub(crate) fn start_patience(&self) -> Duration {
        Duration::from_secs_f64(self.start_patience)
    }
}

/// Names of namespaces and the like: RFC 1123 labels.
pub(crate) fn check_label(key: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = (1..=63).contains(&name.len()) && name.chars().all(is_plain);
    if !is_name || name.starts_with('-') || name.ends_with('-') {
        return Err(Error::invalid(format!(
            "{key}: must be at most 63 characters of a-z, 0-9 and -, not at its ends, and is '{name}'"
        )));
    }
    Ok(())
}
