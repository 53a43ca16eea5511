//! The executor `template`: runs a job's command behind another program.
//!
//! It is an example to change. What it does stands in `run`; all else says what jobspecs and configuration may have.

use std::process::Command;

use jobmgr_plugin_api::{Context, Error, Executor, Job, Outcome, Result, export_executor};
use schemars::JsonSchema;
use serde::Deserialize;

/// One for all jobs; made from the configuration.
struct Template {
    before: Vec<String>,
}

/// `[Executors.template.Config]` of config.toml.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Config {
    /// What every job runs behind, such as `["nice", "-n", "10"]`.
    before: Vec<String>,
}

/// `[Options]` of jobspecs.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Options {
    /// What this job runs behind; default: what the configuration says.
    before: Option<Vec<String>>,
}

impl Executor for Template {
    type Config = Config;
    type Options = Options;
    const NAME: &'static str = "template";

    fn new(config: Config) -> Result<Self> {
        Ok(Template { before: config.before })
    }

    fn validate(&self, options: &Options) -> Result<()> {
        match &options.before {
            Some(before) if before.first().is_some_and(String::is_empty) => {
                Err(Error::invalid("'Before' begins with an empty word; it begins with a program"))
            }
            _ => Ok(()),
        }
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        let before = job.options.before.as_ref().unwrap_or(&self.before);
        let mut words = before.iter().chain(&job.command);
        let program = words.next().ok_or_else(|| Error::invalid("the job has no command"))?;
        let mut command = Command::new(program);
        // The job's environment is this and nothing else.
        command.args(words).env_clear().envs(&job.env).current_dir(&job.working_directory);
        // Output goes to the job's log, a stop to the command.
        ctx.run_command(&mut command)
    }
}

export_executor!(Template);

#[cfg(test)]
mod tests {
    use jobmgr_plugin_api::Kind;
    use jobmgr_plugin_api::test::Host;

    use super::*;

    fn job(command: &[&str], options: Options) -> Job<Options> {
        let mut job = Job::new("1", 1, "jm-test-1-1", options);
        job.command = command.iter().map(ToString::to_string).collect();
        job.env = std::env::vars().filter(|(name, _)| name == "PATH").collect();
        job.working_directory = std::env::temp_dir().display().to_string();
        job
    }

    #[test]
    fn a_command_runs_behind_another() {
        let (before, command) = match cfg!(windows) {
            true => (["cmd", "/c"], ["echo", "hello"]),
            false => (["sh", "-c"], ["echo hello", "x"]),
        };
        let options = Options { before: Some(before.map(String::from).to_vec()) };
        let host = Host::default();
        let executor = Template::new(Config::default()).unwrap();
        let outcome = executor.run(&job(&command, options), &host.context()).unwrap();
        assert_eq!(outcome, Outcome::exited(0));
        assert_eq!(String::from_utf8(host.stdout()).unwrap().trim_end(), "hello");
    }

    #[test]
    fn an_empty_program_is_refused() {
        let executor = Template::new(Config::default()).unwrap();
        let error = executor.validate(&Options { before: Some(vec![String::new()]) }).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
