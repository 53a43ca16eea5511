//! All that an executor written for version 1.0 may name. Never changed: it shows that such sources still compile, and
//! do what they did.
#![allow(missing_docs)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobmgr_plugin_api::schemars::{self, JsonSchema};
use jobmgr_plugin_api::serde::{self, Deserialize};
use jobmgr_plugin_api::serde_json::json;
use jobmgr_plugin_api::{
    Context, Ending, Error, Executor, Job, KillReason, Kind, Outcome, Recover, Result, Stop, Stream, export_executor,
};

struct Whole {
    word: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "serde", rename_all = "PascalCase", deny_unknown_fields)]
#[schemars(crate = "schemars")]
struct Config {
    /// Said by each job.
    word: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "serde", rename_all = "PascalCase", deny_unknown_fields)]
#[schemars(crate = "schemars")]
struct Options {
    /// How the job ends.
    #[serde(default)]
    ending: String,
}

impl Executor for Whole {
    type Config = Config;
    type Options = Options;
    const NAME: &'static str = "whole";

    fn new(config: Config) -> Result<Self> {
        if config.word.is_empty() {
            return Err(Error::invalid("Word: is empty"));
        }
        Ok(Whole { word: config.word })
    }

    fn validate(&self, options: &Options) -> Result<()> {
        if options.ending == "bad" { Err(Error::invalid("Ending: is bad")) } else { Ok(()) }
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        ctx.stdout(format!("{} {} {}\n", self.word, job.attempt, job.command.join(" ")))?;
        ctx.stderr("aside\n")?;
        ctx.log(Stream::Executor, b"own\n")?;
        ctx.log_at(Stream::Stdout, 1_700_000_000_000_000_000, b"long ago\n")?;
        ctx.progress(50.0, "half");
        ctx.warn("a warning");
        ctx.event(json!({"warning": "another one"}));
        ctx.checkpoint(job.key.as_bytes())?;
        let seen = Arc::new(AtomicU32::new(0));
        let guard = ctx.on_stop({
            let seen = Arc::clone(&seen);
            move |why| seen.store(if why == Stop::Cancel { 1 } else { 2 }, Ordering::Relaxed)
        });
        let Err(refused) = ctx.request("no.such.method", &json!({})) else {
            return Err(Error::failed("there is such a method"));
        };
        if refused.kind() != Kind::Unsupported || ctx.stop().is_some() {
            return Err(Error::failed(format!("{refused}, {:?}", ctx.stop())));
        }
        if job.options.ending == "wait" {
            let stop = ctx.wait_stop(Duration::from_secs(600));
            drop(guard);
            return match (stop, seen.load(Ordering::Relaxed)) {
                (Some(Stop::Cancel), 1) => Ok(Outcome::killed(KillReason::Cancelled)),
                other => Err(Error::failed(format!("{other:?}"))),
            };
        }
        ctx.sleep(Duration::from_millis(1))?;
        let (dir, artifacts) = (&job.dir, "artifacts/made.txt");
        let outcome =
            ctx.run_command(Command::new("/bin/sh").args(["-c", &format!("echo made > {dir}/{artifacts}")]))?;
        match job.options.ending.as_str() {
            "five" => Ok(Outcome::exited(5).with_message("five")),
            "nine" => Ok(Outcome::signaled(9)),
            "failed" => Err(Error::failed("it failed")),
            _ if matches!(outcome.ending, Ending::Exited(0)) => Ok(outcome),
            _ => Err(Error::retry("once more")),
        }
    }
}

impl Recover for Whole {
    fn recover(&self, job: &Job<Options>, handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<Outcome> {
        match handle {
            Some(handle) if handle == job.key.as_bytes() && job.logged[0].bytes > 0 => Ok(Outcome::exited(0)),
            Some(_) => Err(Error::lost("it is gone")),
            None => Err(Error::never_started()),
        }
    }

    fn cleanup(&self, _job: &Job<Options>, _handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<()> {
        Ok(())
    }
}

export_executor!(Whole, recover);
