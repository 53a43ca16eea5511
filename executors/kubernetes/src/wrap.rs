use jobmgr_plugin_api::{Context, Error, Job, Outcome, Poll, Result, wrapped};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Options;
use crate::manifest::{CONTAINER, literal};
use crate::options::check_folder;

/// Where the program is put that an image brings.
const FOLDER: &str = "/jobmgr-wrap";
/// Linux takes no variable of 128 KiB.
const MAX_GRANTS: usize = 120 << 10;

/// Runs the command under `jobmgr wrap`, which uploads what it left.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
pub struct Wrap {
    /// An image with the program `jobmgr`, and `cp`, from which it is taken; without it the job's image has it.
    pub image: Option<String>,
    /// Where the program is in that image.
    pub path: String,
    /// How many artifacts it may leave at most.
    pub artifacts: u32,
}

impl Default for Wrap {
    fn default() -> Self {
        Self { image: None, path: "/usr/local/bin/jobmgr".into(), artifacts: 50 }
    }
}

impl Wrap {
    pub(crate) fn check(&self, has_command: bool) -> Result<()> {
        check_folder("Wrap.Path", &self.path)?;
        if !has_command {
            return Err(Error::invalid("Wrap: needs the jobspec's Command, and can't be with ImageCommand"));
        }
        Ok(())
    }

    /// Puts it around the command of a pod's container.
    pub(crate) fn around(&self, grants: &str, pod: &mut Value) {
        let mut program = self.path.clone();
        if let Some(image) = &self.image {
            program = format!("{FOLDER}/jobmgr");
            let mount = json!({"name": "jobmgr-wrap", "mountPath": FOLDER});
            append(&mut pod["volumes"], json!({"name": "jobmgr-wrap", "emptyDir": {}}));
            append(&mut pod["containers"][0]["volumeMounts"], mount.clone());
            pod["initContainers"] = json!([{
                "name": "jobmgr-wrap", "image": image, "volumeMounts": [mount],
                "command": ["cp", self.path, program],
            }]);
        }
        let container = &mut pod["containers"][0];
        debug_assert_eq!(container["name"], CONTAINER);
        append(&mut container["env"], json!({"name": "JOBMGR_GRANTS", "value": literal(grants)}));
        if let Value::Array(command) = &mut container["command"] {
            command.splice(0..0, [json!(program), json!("wrap"), json!("--")]);
        }
    }
}

fn append(list: &mut Value, item: Value) {
    if let Value::Array(list) = list {
        list.push(item);
    }
}

/// The addresses for what a wrapped job will leave.
pub fn grants(job: &Job<Options>, ctx: &Context<'_>) -> Result<Option<String>> {
    let Some(wrap) = &job.options.wrap else { return Ok(None) };
    let grants = wrapped::grants(ctx, wrap.artifacts)?;
    if grants.len() > MAX_GRANTS {
        let (count, size) = (wrap.artifacts, grants.len());
        return Err(Error::invalid(format!(
            "Wrap.Artifacts: the addresses for {count} files, and for the job's input files, take {size} bytes, and \
             {MAX_GRANTS} fit into a variable"
        )));
    }
    Ok(Some(grants))
}

/// Brings home what a wrapped job has uploaded; `poll` is how it ended.
pub fn collect(job: &Job<Options>, poll: Option<&Poll>, ctx: &Context<'_>) -> Result<()> {
    match (wrapped::collect(ctx, job)?, poll) {
        (Some(report), _) => report.outcome().map(drop),
        (None, Some(Poll::Ended(Outcome { exit_code: Some(0), .. }))) => {
            Err(Error::failed("the command ended well, but 'jobmgr wrap' has not reported what it left"))
        }
        (None, _) => {
            ctx.warn("it was ended before 'jobmgr wrap' could upload what it left");
            Ok(())
        }
    }
}
