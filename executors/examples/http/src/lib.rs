#![doc = include_str!("../README.md")]

use std::io::copy;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use jobmgr_plugin_api::{Context, Error, Executor, Job, KillReason, NoConfig, Outcome, Result, Stop, export_executor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Posts jobs to a URL.
pub struct Http(ureq::Agent);

/// `[Options]` of jobspecs.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Options {
    /// Where the job is posted to.
    #[serde(rename = "URL")]
    #[schemars(regex(pattern = "^https?://"))]
    pub url: String,
    /// What the artifact is called that the answer becomes.
    #[serde(default = "answer")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub artifact: String,
}

fn answer() -> String {
    "answer".into()
}

impl Executor for Http {
    type Config = NoConfig;
    type Options = Options;
    const NAME: &'static str = "http";

    fn new(_: NoConfig) -> Result<Self> {
        // One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
        let agent = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).build();
        Ok(Http(agent.new_agent()))
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        let (tell, told) = channel();
        let (agent, job) = (self.0.clone(), job.clone());
        // A request can't be interrupted, but it can be left.
        std::thread::spawn(move || drop(tell.send(post(&agent, &job))));
        loop {
            match (told.recv_timeout(Duration::from_millis(20)), ctx.stop()) {
                (Ok(ended), _) => return ended,
                (Err(RecvTimeoutError::Disconnected), _) => return Err(Error::failed("the request was not finished")),
                (_, None) => {}
                (_, Some(Stop::Timeout)) => return Ok(Outcome::killed(KillReason::Timeout)),
                (_, Some(_)) => return Ok(Outcome::killed(KillReason::Cancelled)),
            }
        }
    }
}

/// Posts the job, and keeps the answer.
fn post(agent: &ureq::Agent, job: &Job<Options>) -> Result<Outcome> {
    let sent = agent.post(&job.options.url).send_json(job);
    let answer = sent.map_err(|error| Error::retry(format!("{}: {error}", job.options.url)))?;
    let status = answer.status();
    // What lies in this folder at the end is an artifact.
    let path = std::path::Path::new(&job.dir).join("artifacts").join(&job.options.artifact);
    copy(&mut answer.into_body().into_reader(), &mut std::fs::File::create(path)?)?;
    let code = if status.is_success() { 0 } else { 1 };
    Ok(Outcome::exited(code).with_message(format!("the server answered {status}")))
}

export_executor!(Http);
