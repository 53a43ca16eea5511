//! A jobspec's file as a job, for tools that give one to an executor without a queue.

use std::path::{Path, PathBuf};

use jobmgr_plugin_api::Job;
use serde_json::Value;

use crate::domain::job::Parameters;
use crate::domain::jobspec::Jobspec;
use crate::domain::parameters;

/// A jobspec that was read from a file, with values for its parameters.
pub(super) struct JobFile {
    pub(super) spec: Jobspec,
    env: std::collections::BTreeMap<String, String>,
}

impl JobFile {
    /// Reads it.
    ///
    /// # Errors
    /// The file, and what is wrong in it or with the parameters.
    pub(super) fn read(file: &Path, given: &[(String, String)]) -> Result<Self, String> {
        let failed = |why: String| format!("{}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let spec = Jobspec::parse(&text).map_err(|mistake| failed(mistake.to_string()))?;
        let given: Parameters = given.iter().cloned().collect();
        let env = parameters::environment(&spec, &given).map_err(failed)?;
        Ok(Self { spec, env })
    }

    /// A job of it below `scratch`, where its directory is made.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub(super) fn job(&self, scratch: &Path, key: &str) -> Result<Job<Value>, String> {
        let dir: PathBuf = scratch.join(key);
        let made = std::fs::create_dir_all(dir.join("artifacts"));
        made.map_err(|error| format!("{}: {error}", dir.display()))?;
        let spec = &self.spec;
        let mut job = Job::new("1", 1, key, Value::Object(spec.options.clone()));
        job.command = std::iter::once(&spec.command).chain(&spec.arguments).cloned().collect();
        job.dir = dir.display().to_string();
        job.working_directory = spec.working_directory.clone().unwrap_or_else(|| job.dir.clone());
        job.limits.kill_grace_ms = u64::try_from(spec.kill_grace.as_millis()).unwrap_or(u64::MAX);
        job.limits.timeout_ms = u64::try_from(spec.timeout.as_millis()).ok();
        let preserved = spec.preserve_env_vars.iter();
        job.env = preserved.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect();
        job.env.extend(self.env.clone());
        job.env.extend(spec.env.clone());
        let at = |name: &str| dir.join(name).display().to_string();
        job.env.extend([
            ("JOBMGR_ARTIFACTS_DIR".to_owned(), at("artifacts")),
            ("JOBMGR_JOB_ID".to_owned(), job.id.clone()),
            ("JOBMGR_ATTEMPT".to_owned(), "1".to_owned()),
            ("JOBMGR_OUTPUT".to_owned(), at("output")),
            ("JOBMGR_PROGRESS".to_owned(), at("progress")),
        ]);
        Ok(job)
    }
}
