//! What a jobspec says in `[Options]`.

use std::collections::BTreeMap;

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Size;

/// `[Options]` of a jobspec with `Executor = "docker"`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Options {
    /// The image to run: `alpine:3.22`, `ghcr.io/team/tool@sha256:...`.
    pub image: String,
    /// When to pull the image. Default: `missing`.
    pub pull: Option<Pull>,
    /// The image's platform where there is a choice: `linux/arm64`.
    pub platform: Option<String>,
    /// Replaces the image's entry point; the jobspec's command and arguments follow it.
    pub entrypoint: Option<Vec<String>>,
    /// Where the command starts, in the container. Default: the jobspec's `WorkingDirectory`, or the image's.
    pub working_directory: Option<String>,
    /// `name`, `uid` or `uid:gid` in the container; `@worker`: the user that jobmgr runs as. Default: the image's.
    pub user: Option<String>,
    /// More groups for the user, by name or number.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// The container's name on its network.
    pub hostname: Option<String>,
    /// Where the job's directory is in the container; an empty text: nowhere. Default `/jobmgr`.
    pub job_directory: Option<String>,
    /// What else of the engine's machine is in the container.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Memory as file system: path in the container to mount options, such as `"/scratch" = "size=64m"`.
    #[serde(default)]
    pub tmpfs: BTreeMap<String, String>,
    /// `none`, `bridge`, `host`, or the name of one of the engine's networks. Default: the engine's.
    pub network: Option<String>,
    /// More lines for `/etc/hosts`: `name:address`.
    #[serde(default)]
    pub extra_hosts: Vec<String>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<String>,
    /// The most memory, without swap on top; what needs more is killed. `"2GiB"` or bytes.
    pub memory: Option<Size>,
    /// The most processor time: 1.5 is one and a half cores.
    pub cpus: Option<f64>,
    /// The most processes and threads.
    pub pids_limit: Option<i64>,
    /// The size of `/dev/shm`: `"1GiB"` or bytes.
    pub shm_size: Option<Size>,
    /// Limits as of `ulimit`: `[Options.Ulimits.nofile]` with `Soft` and `Hard`.
    #[serde(default)]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// GPUs: `"all"`, how many, or a list of their ids.
    pub gpus: Option<Gpus>,
    /// Devices of the engine's machine: `/dev/fuse`, `/dev/sda:/dev/xvda:r`.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The image's own files can't be changed.
    #[serde(default)]
    pub read_only: bool,
    /// A small process 1 that passes signals on and reaps orphans. Without it a program that does not handle SIGTERM
    /// is only ended by the SIGKILL after `KillGrace`.
    #[serde(default)]
    pub init: bool,
    /// Capabilities to add: `NET_ADMIN`.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities to take away: `ALL`.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// Security options: `no-new-privileges`, `seccomp=...`, `label=disable`.
    #[serde(default)]
    pub security_opt: Vec<String>,
    /// Everything that the engine's machine may do: the job is then as good as root there.
    #[serde(default)]
    pub privileged: bool,
    /// Kernel parameters of the container's namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// `host`, `private`, `shareable` or `container:NAME`.
    pub ipc: Option<String>,
    /// The engine's runtime: `runc`, `nvidia`, `kata`.
    pub runtime: Option<String>,
    /// More labels for the container.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// When to pull an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// Before every job.
    Always,
    /// Never: an image that the engine does not have fails the job.
    Never,
}

/// Something of the engine's machine in the container.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Mount {
    /// An absolute path on the engine's machine, or the name of a volume.
    pub source: String,
    /// An absolute path in the container.
    pub target: String,
    /// It can't be changed from the container.
    #[serde(default)]
    pub read_only: bool,
}

/// A limit as of `ulimit`; -1: none.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Ulimit {
    /// What holds.
    pub soft: i64,
    /// Up to what a process may raise it.
    pub hard: i64,
}

/// Which GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Gpus {
    /// So many.
    Count(u32),
    /// Only `all`.
    All(String),
    /// These, by index or UUID.
    Ids(Vec<String>),
}

impl Options {
    /// Checks what a schema can't say.
    pub(crate) fn check(&self) -> Result<()> {
        if self.image.trim().is_empty() {
            return wrong("Image: is empty; name one such as \"alpine:3.22\"");
        }
        for (name, size) in [("Memory", self.memory), ("ShmSize", self.shm_size)] {
            if size == Some(Size(0)) {
                return wrong(format!("{name}: must be above 0, such as \"2GiB\""));
            }
        }
        if self.cpus.is_some_and(|cpus| !(cpus > 0.0 && cpus.is_finite())) {
            return wrong("Cpus: must be above 0, such as 1.5");
        }
        if self.pids_limit.is_some_and(|limit| limit == 0 || limit < -1) {
            return wrong("PidsLimit: must be above 0, or -1 for none");
        }
        match &self.gpus {
            Some(Gpus::All(word)) if word != "all" => {
                return wrong(format!("Gpus: {word:?} is neither \"all\" nor a number nor a list of ids"));
            }
            Some(Gpus::Count(0)) => return wrong("Gpus: 0 is none; leave it out"),
            _ => {}
        }
        self.check_paths()
    }

    fn check_paths(&self) -> Result<()> {
        for mount in &self.mounts {
            if mount.source.is_empty() {
                return wrong("Mounts: Source is empty; it is an absolute path or the name of a volume");
            }
            if mount.source.starts_with('.') || mount.source.starts_with('~') {
                return wrong(format!(
                    "Mounts: Source {:?} is neither an absolute path nor the name of a volume",
                    mount.source
                ));
            }
            absolute("Mounts: Target", &mount.target)?;
        }
        for target in self.tmpfs.keys() {
            absolute("Tmpfs", target)?;
        }
        match &self.job_directory {
            Some(directory) if directory == "/" => wrong("JobDirectory: \"/\" would hide the image"),
            Some(directory) if !directory.is_empty() => absolute("JobDirectory", directory),
            _ => Ok(()),
        }
    }
}

/// Paths in containers: those of Linux, or of Windows with a drive.
fn absolute(option: &str, path: &str) -> Result<()> {
    let drive = path.as_bytes().get(1) == Some(&b':');
    if path.starts_with('/') || drive {
        return Ok(());
    }
    wrong(format!("{option}: {path:?} is no absolute path in the container"))
}

fn wrong(why: impl Into<String>) -> Result<()> {
    Err(Error::invalid(why))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(more: Value) -> std::result::Result<Options, String> {
        let mut all = json!({"Image": "a:1"});
        if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        let options: Options = serde_json::from_value(all).map_err(|why| why.to_string())?;
        options.check().map_err(|why| why.to_string())?;
        Ok(options)
    }

    #[test]
    fn what_the_readme_shows_is_right() {
        let options = parse(json!({
            "Pull": "never", "Memory": "2GiB", "Cpus": 1.5, "Gpus": "all", "User": "1000:1000", "ReadOnly": true,
            "Mounts": [{"Source": "/data", "Target": "/data", "ReadOnly": true}, {"Source": "cache", "Target": "/c"}],
            "Tmpfs": {"/tmp": "size=64m"}, "Ulimits": {"nofile": {"Soft": 10, "Hard": 20}}, "PidsLimit": -1,
        }));
        let options = options.expect("is right");
        assert_eq!(options.pull, Some(Pull::Never));
        assert_eq!(options.gpus, Some(Gpus::All("all".into())));
        assert_eq!(parse(json!({"Gpus": 2})).expect("a count").gpus, Some(Gpus::Count(2)));
        assert_eq!(
            parse(json!({"Gpus": ["0", "1"]})).expect("ids").gpus,
            Some(Gpus::Ids(vec!["0".into(), "1".into()]))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (options, name) in [
            (json!({"Image": ""}), "Image"),
            (json!({"Pull": "sometimes"}), "sometimes"),
            (json!({"Memory": "much"}), "'much' is not a size; use a number of bytes, or a size such as \"512MiB\""),
            (json!({"ShmSize": 0}), "ShmSize"),
            (json!({"Cpus": 0}), "Cpus"),
            (json!({"PidsLimit": 0}), "PidsLimit"),
            (json!({"Gpus": "some"}), "Gpus"),
            (json!({"Gpus": 0}), "Gpus"),
            (json!({"Mounts": [{"Source": "./x", "Target": "/x"}]}), "./x"),
            (json!({"Mounts": [{"Source": "/x", "Target": "x"}]}), "Target"),
            (json!({"Tmpfs": {"tmp": ""}}), "Tmpfs"),
            (json!({"JobDirectory": "jobs"}), "JobDirectory"),
            (json!({"JobDirectory": "/"}), "JobDirectory"),
            (json!({"Imag": "b"}), "Imag"),
        ] {
            let why = parse(options.clone()).expect_err(&options.to_string());
            assert!(why.contains(name), "{options}: {why}");
        }
    }
}
