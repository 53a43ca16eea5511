use jobmgr_plugin_api::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::options::check_folder;
use crate::quantity::{Quantity, check_quantity};

/// A folder in the container; exactly one key says what is in it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Volume {
    /// Where the container sees it.
    pub mount_path: String,
    /// Only this part of it.
    pub sub_path: Option<String>,
    /// The job can't write to it.
    pub read_only: bool,
    /// A PersistentVolumeClaim of this name.
    pub claim: Option<String>,
    /// The ConfigMap of this name.
    pub config_map: Option<String>,
    /// The Secret of this name.
    pub secret: Option<String>,
    /// This folder of the node.
    pub host_path: Option<String>,
    /// An empty folder on the node's disk of at most this size.
    pub scratch: Option<Quantity>,
}

impl Volume {
    pub(crate) fn check(&self, key: &str) -> Result<()> {
        check_folder(&format!("{key}.MountPath"), &self.mount_path)?;
        let texts = [&self.claim, &self.config_map, &self.secret, &self.host_path];
        let count = texts.iter().filter(|text| text.is_some()).count() + usize::from(self.scratch.is_some());
        if count != 1 || texts.into_iter().flatten().any(String::is_empty) {
            return Err(Error::invalid(format!("{key}: needs one of Claim, ConfigMap, Secret, HostPath and Scratch")));
        }
        self.scratch.iter().try_for_each(|size| check_quantity(&format!("{key}.Scratch"), size))
    }

    /// The volume of a pod.
    pub(crate) fn volume(&self, name: &str) -> Value {
        let mut volume = json!({ "name": name });
        let (kind, source) = match (&self.claim, &self.config_map, &self.secret, &self.host_path, &self.scratch) {
            (Some(claim), ..) => ("persistentVolumeClaim", json!({"claimName": claim, "readOnly": self.read_only})),
            (_, Some(name), ..) => ("configMap", json!({ "name": name })),
            (_, _, Some(name), ..) => ("secret", json!({ "secretName": name })),
            (_, _, _, Some(path), _) => ("hostPath", json!({ "path": path })),
            (.., Some(size)) => ("emptyDir", json!({ "sizeLimit": size.json() })),
            _ => ("emptyDir", json!({})),
        };
        volume[kind] = source;
        volume
    }

    /// Its place in the container.
    pub(crate) fn mount(&self, name: &str) -> Value {
        let mut mount = json!({"name": name, "mountPath": self.mount_path, "readOnly": self.read_only});
        if let Some(path) = &self.sub_path {
            mount["subPath"] = json!(path);
        }
        mount
    }
}
