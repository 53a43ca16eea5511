//! An executor of commands that run under `jobmgr wrap` somewhere else, and one that asks of jobmgr what a test tells it
//! to. Whoever runs the commands finds `KEY.job` in a folder, and leaves `KEY.exit` there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::serde_json::{Value, from_slice, json};
use jobmgr_plugin_api::{Context, Error, Executor, Job, KillReason, Outcome, Recover, Result, Stop, wrapped};
use schemars::JsonSchema;
use serde::Deserialize;

struct Remote {
    folder: PathBuf,
}

/// `[Executors.NAME.Config]`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Config {
    /// Where the two meet.
    folder: PathBuf,
}

/// `[Options]`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Options {
    /// The program with `wrap`; without, it asks what the files `ask-N` say, until there is one named `end`.
    wrap: Option<PathBuf>,
    /// For how many files it gets grants.
    #[serde(default)]
    files: u32,
}

impl Executor for Remote {
    type Config = Config;
    type Options = Options;
    const NAME: &'static str = "remote";

    fn new(config: Config) -> Result<Self> {
        Ok(Self { folder: config.folder })
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        if let Some(program) = &job.options.wrap {
            fs::write(self.file(job, "grants"), wrapped::grants(ctx, job.options.files)?)?;
            let (grants, code) = (self.file(job, "grants"), self.file(job, "code"));
            let mut command = vec![json!(program), json!("wrap"), json!("--log"), json!("--grants"), json!(grants)];
            command.extend([json!("--exit-file"), json!(code), json!("--")]);
            command.extend(job.command.iter().map(|word| json!(word)));
            let mut env = job.env.clone();
            env.retain(|name, _| !matches!(name.as_str(), "JOBMGR_ARTIFACTS_DIR" | "JOBMGR_OUTPUT"));
            fs::write(self.file(job, "new"), json!({"command": command, "env": env}).to_string())?;
            fs::rename(self.file(job, "new"), self.file(job, "job"))?;
        }
        ctx.checkpoint(&job.key)?;
        self.follow(job, ctx)
    }
}

impl Recover for Remote {
    fn recover(&self, job: &Job<Options>, _handle: Option<&[u8]>, ctx: &Context<'_>) -> Result<Outcome> {
        self.follow(job, ctx)
    }
}

impl Remote {
    fn file(&self, job: &Job<Options>, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", job.key))
    }

    fn follow(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        let mut killed = None;
        loop {
            if job.options.wrap.is_none() {
                self.ask(ctx)?;
                if self.folder.join("end").exists() {
                    return Ok(Outcome::exited(0));
                }
            }
            let gone = self.file(job, "exit").exists();
            if self.file(job, "code").exists() || gone {
                let ended = wrapped::collect(ctx, job)?.ok_or_else(|| Error::lost("it has not reported"))?;
                return killed.map_or_else(|| ended.outcome(), |why| Ok(Outcome::killed(why)));
            }
            if killed.is_some() {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            match ctx.wait_stop(Duration::from_millis(20)) {
                None => {}
                Some(Stop::Detach) => return Err(Error::stopped()),
                Some(_) => {
                    fs::write(self.file(job, "cancel"), "")?;
                    killed = Some(KillReason::Cancelled);
                }
            }
        }
    }

    /// Asks what is to be asked next, and writes the answer down.
    fn ask(&self, ctx: &Context<'_>) -> Result<()> {
        let Some(n) = (0..1000).find(|n| !self.folder.join(format!("answer-{n}")).exists()) else { return Ok(()) };
        let Ok(asked) = fs::read(self.folder.join(format!("ask-{n}"))) else { return Ok(()) };
        let asked: Value = from_slice(&asked).map_err(|error| Error::failed(error.to_string()))?;
        let answer = match ctx.request(asked["method"].as_str().unwrap_or_default(), &asked["json"]) {
            Ok(answer) => json!({"ok": answer}),
            Err(error) => json!({"kind": format!("{:?}", error.kind()), "error": error.to_string()}),
        };
        let new = self.folder.join("answer-new");
        fs::write(&new, answer.to_string())?;
        Ok(fs::rename(new, self.folder.join(format!("answer-{n}")))?)
    }
}

jobmgr_plugin_api::export_executor!(Remote, recover);
