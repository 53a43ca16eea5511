use std::collections::BTreeMap;

use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::check_label;
use crate::quantity::{Quantity, check_quantity};
use crate::volume::Volume;
use crate::wrap::Wrap;

/// What a jobspec may say in `[Options]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Options {
    /// The image that the job runs in.
    pub image: String,
    /// The namespace of its Job object; without it the configuration's.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Runs the image's own entry point with the jobspec's `Arguments`, and not the jobspec's `Command`.
    #[serde(default)]
    pub image_command: bool,
    /// The service account of its pod; without it the pod gets no token of the cluster.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Labels that its node must have.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Processors, such as 2 or "500m": as many as it gets, and no more.
    #[serde(default)]
    pub cpus: Option<Quantity>,
    /// Memory, such as "512Mi" or "4Gi": as much as it gets, and no more.
    #[serde(default)]
    pub memory: Option<Quantity>,
    /// Whole GPUs.
    #[serde(default)]
    pub gpus: Option<u32>,
    /// Resources that the node must have free; over what `Cpus`, `Memory` and `Gpus` say.
    #[serde(default)]
    pub requests: BTreeMap<String, Quantity>,
    /// Resources that it may not go over; over what `Cpus`, `Memory` and `Gpus` say.
    #[serde(default)]
    pub limits: BTreeMap<String, Quantity>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`; without it the cluster's rule.
    #[serde(default)]
    pub image_pull_policy: Option<PullPolicy>,
    /// Names of secrets with the credentials of registries.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// Taints that it tolerates, as Kubernetes writes them: `{key, operator, value, effect}`.
    #[serde(default)]
    pub tolerations: Vec<Map<String, Value>>,
    /// What else it sees as folders.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// The folder in the container that stands for the job's temporary directory.
    #[serde(default = "job_directory")]
    pub job_directory: String,
    /// How long Kubernetes keeps what has ended, in seconds, where jobmgr is not there to remove it.
    #[serde(default = "a_week")]
    pub ttl: u32,
    /// Runs the command under `jobmgr wrap`, so that its artifacts come home.
    #[serde(default)]
    pub wrap: Option<Wrap>,
    /// Anything else of a pod template, in Kubernetes' own words; it is merged over what jobmgr makes. Its container is
    /// named `job`.
    #[serde(default)]
    pub pod: Map<String, Value>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all: the node must have it.
    Never,
}

fn job_directory() -> String {
    "/jobmgr".into()
}

fn a_week() -> u32 {
    7 * 24 * 3600
}

impl Options {
    /// Refuses what can't be right on any cluster.
    pub(crate) fn check(&self) -> Result<()> {
        if self.image.is_empty() || self.image.contains(char::is_whitespace) {
            return Err(Error::invalid(format!("Image: must be the name of an image, and is '{}'", self.image)));
        }
        if let Some(namespace) = &self.namespace {
            check_label("Namespace", namespace)?;
        }
        for (key, value) in [("Cpus", &self.cpus), ("Memory", &self.memory)] {
            value.iter().try_for_each(|value| check_quantity(key, value))?;
        }
        for (key, table) in [("Requests", &self.requests), ("Limits", &self.limits)] {
            table.iter().try_for_each(|(name, value)| check_quantity(&format!("{key}.{name}"), value))?;
        }
        check_folder("JobDirectory", &self.job_directory)?;
        for (index, volume) in self.volumes.iter().enumerate() {
            volume.check(&format!("Volumes[{index}]"))?;
        }
        self.wrap.iter().try_for_each(|wrap| wrap.check(!self.image_command))?;
        self.check_pod()
    }

    fn check_pod(&self) -> Result<()> {
        for (key, value) in &self.pod {
            if !["metadata", "spec"].contains(&key.as_str()) {
                return Err(Error::invalid(format!("Pod.{key}: a pod template has 'metadata' and 'spec'")));
            }
            if !value.is_object() {
                return Err(Error::invalid(format!("Pod.{key}: must be a table, and is {value}")));
            }
        }
        let spec = self.pod.get("spec").and_then(Value::as_object);
        if spec.is_some_and(|spec| spec.contains_key("restartPolicy")) {
            return Err(Error::invalid("Pod.spec.restartPolicy: is Never: jobmgr itself runs a job again"));
        }
        Ok(())
    }
}

/// An absolute path in a container.
pub(crate) fn check_folder(key: &str, path: &str) -> Result<()> {
    if !path.starts_with('/') || path.len() < 2 || path.contains(':') || path.ends_with('/') {
        return Err(Error::invalid(format!(
            "{key}: must be the absolute path of a folder in the container, without ':' and '/' at its end, \
             and is '{path}'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use serde_json::{Value, json};

    use super::Options;

    fn check(more: Value) -> Result<(), String> {
        let mut options = json!({"Image": "busybox"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let options: Options = serde_json::from_value(options).map_err(|error| error.to_string())?;
        options.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (json!({"Image": ""}), "Image: must be the name of an image, and is ''"),
            (json!({"Namespace": "A"}), "Namespace: must be at most 63 characters of a-z"),
            (json!({"Cpus": "many"}), "Cpus: must be a quantity such as 2, \"500m\" or \"4Gi\", and is 'many'"),
            (json!({"Memory": "1 GB"}), "Memory: must be a quantity"),
            (json!({"Requests": {"a/b": "-1"}}), "Requests.a/b: must be a quantity"),
            (json!({"JobDirectory": "x"}), "JobDirectory: must be the absolute path of a folder in the container"),
            (json!({"Volumes": [{"MountPath": "/x"}]}), "Volumes[0]: needs one of Claim, ConfigMap,"),
            (json!({"Pod": {"kind": "Pod"}}), "Pod.kind: a pod template has 'metadata' and 'spec'"),
            (json!({"Pod": {"spec": 5}}), "Pod.spec: must be a table, and is 5"),
            (json!({"Pod": {"spec": {"restartPolicy": "Always"}}}), "Pod.spec.restartPolicy: is Never"),
            (json!({"Wrap": {"Path": "jobmgr"}}), "Wrap.Path: must be the absolute path"),
            (json!({"Wrap": {}, "ImageCommand": true}), "Wrap: needs the jobspec's Command"),
            (json!({"Colour": 1}), "unknown field `Colour`"),
            (json!({"ImagePullPolicy": "Sometimes"}), "unknown variant `Sometimes`"),
        ];
        for (options, want) in cases {
            let error = check(options.clone()).unwrap_err();
            assert!(error.contains(want), "{options}: {error}");
        }
        for (options, quantity) in [("Cpus", json!(0.5)), ("Memory", json!("1.5Gi")), ("Memory", json!("1e9"))] {
            check(json!({ options: quantity })).unwrap();
        }
    }
}
