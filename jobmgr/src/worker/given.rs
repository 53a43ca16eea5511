//! What a job is given: command, environment, directory.

use std::collections::BTreeMap;

use jobmgr_plugin_api::Job;

use super::verdict::Verdict;
use super::workspace::Directory;
use crate::domain::gpu::GIVEN;
use crate::domain::job::{Claim, Reason};
use crate::domain::jobspec::Jobspec;
use crate::domain::parameters::{self, any_sealed};
use crate::runner::Request;
use crate::secrets::Secrets;

/// The job's own variables, from its parameters; checked before anything is made for it.
pub(super) fn parameters(
    secrets: &Secrets,
    claim: &Claim,
    spec: &Jobspec,
) -> Result<BTreeMap<String, String>, Verdict> {
    let given = claim.parameters.as_ref().map_err(|why| {
        Verdict::failed(Reason::CorruptRow, format!("the job's parameters in the database can't be read: {why}"))
    })?;
    let invalid = |why| Verdict::failed(Reason::InvalidJob, why);
    if !any_sealed(given) {
        return parameters::environment(spec, given).map_err(invalid);
    }
    let (given, secret) = secrets.open_parameters(given).map_err(invalid)?;
    // What was secret when it was given is not shown, whatever the jobspec says now.
    let mut spec = spec.clone();
    spec.parameters.iter_mut().for_each(|parameter| parameter.secret |= secret.contains(&parameter.name));
    parameters::environment(&spec, &given).map_err(invalid)
}

/// What executors call the attempt wherever it runs; unique for ever.
pub(super) fn key(installation: &str, claim: &Claim) -> String {
    format!("jm-{installation}-{}-{}", claim.id, claim.attempt)
}

/// The request to the runner, and warnings about what could not be given.
pub(super) fn request(
    installation: &str,
    claim: &Claim,
    spec: &Jobspec,
    mut env: BTreeMap<String, String>,
    (directory, gpus): (&Directory, &[String]),
) -> (Request, Vec<String>) {
    let mut warnings = Vec::new();
    let show = |path: &std::path::Path| path.display().to_string();
    for name in &spec.preserve_env_vars {
        match std::env::var(name) {
            Ok(value) => drop(env.entry(name.clone()).or_insert(value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                warnings.push(format!("PreserveEnvVars: the server's {name} is not UTF-8, so it was left out"));
            }
        }
    }
    if let Some(trace) = &claim.trace_parent {
        env.insert("TRACEPARENT".to_owned(), trace.clone());
    }
    env.extend(spec.env.clone());
    env.extend([
        ("JOBMGR_ARTIFACTS_DIR".to_owned(), show(&directory.artifacts())),
        ("JOBMGR_JOB_ID".to_owned(), claim.id.to_string()),
        ("JOBMGR_ATTEMPT".to_owned(), claim.attempt.to_string()),
        ("JOBMGR_OUTPUT".to_owned(), show(&directory.output())),
        ("JOBMGR_PROGRESS".to_owned(), show(&directory.progress())),
    ]);
    if !gpus.is_empty() {
        env.extend(GIVEN.map(|name| (name.to_owned(), gpus.join(","))));
    }
    let key = key(installation, claim);
    let attempt = u32::try_from(claim.attempt).unwrap_or(u32::MAX);
    let options = serde_json::Value::Object(spec.options.clone());
    let mut job = Job::new(claim.id.to_string(), attempt, key, options);
    job.command = std::iter::once(spec.command.clone()).chain(spec.arguments.iter().cloned()).collect();
    job.env = env;
    job.dir = show(directory.path());
    job.working_directory = spec.working_directory.clone().unwrap_or_else(|| job.dir.clone());
    job.limits.kill_grace_ms = u64::try_from(spec.kill_grace.as_millis()).unwrap_or(u64::MAX);
    job.limits.timeout_ms = u64::try_from(spec.timeout.as_millis()).ok();
    (Request { executor: spec.executor.clone(), job }, warnings)
}
