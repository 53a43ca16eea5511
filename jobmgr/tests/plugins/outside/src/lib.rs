//! An executor of jobs that outlive jobmgr. Whoever runs them finds `KEY.job` in a folder, and leaves `KEY.out`,
//! `KEY.err` and `KEY.exit` there.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use jobmgr_plugin_api::{
    Context, Error, Executor, Job, KillReason, Logged, Outcome, Recover, Result, Stop, Stream, export_executor,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

struct Outside {
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
    /// Its process ends once between the submission and the first checkpoint.
    #[serde(default)]
    dies_unnoticed: bool,
}

impl Executor for Outside {
    type Config = Config;
    type Options = Options;
    const NAME: &'static str = "outside";

    fn new(config: Config) -> Result<Self> {
        if !config.folder.is_dir() {
            return Err(Error::retry(format!("{}: is no folder", config.folder.display())));
        }
        Ok(Self { folder: config.folder })
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        self.note("runs", job)?;
        let text = jobmgr_plugin_api::serde_json::json!({"command": job.command, "env": job.env}).to_string();
        fs::write(self.file(job, "new"), text)?;
        fs::rename(self.file(job, "new"), self.file(job, "job"))?;
        if job.options.dies_unnoticed {
            std::process::abort();
        }
        ctx.checkpoint(&job.key)?;
        self.follow(job, ctx)
    }
}

impl Recover for Outside {
    fn recover(&self, job: &Job<Options>, handle: Option<&[u8]>, ctx: &Context<'_>) -> Result<Outcome> {
        self.note(if handle.is_some() { "recovers by handle" } else { "recovers by key" }, job)?;
        if handle.is_some_and(|handle| handle != job.key.as_bytes()) {
            return Err(Error::failed("that is another one's handle"));
        }
        if !self.file(job, "job").exists() {
            return Err(if handle.is_some() {
                Error::lost(format!("{} is gone", job.key))
            } else {
                Error::never_started()
            });
        }
        ctx.checkpoint(&job.key)?;
        self.follow(job, ctx)
    }

    fn cleanup(&self, job: &Job<Options>, _handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<()> {
        self.note("cleans", job)?;
        if self.folder.join("no-cleaning").exists() {
            return Err(Error::retry("not now"));
        }
        for end in ["job", "out", "err", "exit", "cancel"] {
            let _ = fs::remove_file(self.file(job, end));
        }
        Ok(())
    }
}

impl Outside {
    fn file(&self, job: &Job<Options>, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", job.key))
    }

    /// Says what is done, for the tests.
    fn note(&self, what: &str, job: &Job<Options>) -> Result<()> {
        let mut notes = OpenOptions::new().create(true).append(true).open(self.folder.join("notes"))?;
        Ok(notes.write_all(format!("{} {what}\n", job.key).as_bytes())?)
    }

    fn follow(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        let mut places = job.logged.map(|logged| logged.bytes);
        let Logged { bytes, time_ns, time_bytes, .. } = job.logged[0];
        ctx.log(Stream::Executor, format!("{} from {bytes} {time_ns} {time_bytes}\n", job.key).as_bytes())?;
        let mut killed = None;
        loop {
            let exit = fs::read_to_string(self.file(job, "exit")).ok();
            let outputs = [("out", Stream::Stdout), ("err", Stream::Stderr)];
            for ((end, stream), place) in outputs.into_iter().zip(&mut places) {
                let Ok(mut file) = File::open(self.file(job, end)) else { continue };
                file.seek(SeekFrom::Start(*place))?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                if !bytes.is_empty() {
                    *place += bytes.len() as u64;
                    // A time that tells how much came before it.
                    ctx.log_at(stream, SECOND + *place, &bytes)?;
                }
            }
            if let Some(exit) = exit {
                let code = exit.trim().parse().map_err(|_| Error::failed("no exit code"))?;
                return Ok(killed.map_or_else(|| Outcome::exited(code), Outcome::killed));
            }
            if killed.is_some() {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            match ctx.wait_stop(Duration::from_millis(20)) {
                None => {}
                Some(Stop::Detach) => return Err(Error::stopped()),
                Some(why) => {
                    File::create(self.file(job, "cancel"))?;
                    let timeout = why == Stop::Timeout;
                    killed = Some(if timeout { KillReason::Timeout } else { KillReason::Cancelled });
                }
            }
        }
    }
}

export_executor!(Outside, recover, concurrent);
