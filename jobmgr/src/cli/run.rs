//! `jobmgr run`: one job, here and now.

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::platform::Stops;
use super::{BAD_CONFIG, complain, say};
use crate::blobs::{Blobs, Uploaded};
use crate::config::{self, Config};
use crate::domain::input::{self, InputId, NewInput};
use crate::domain::job::{Artifact, Ended, Job, LogBody, Parameters, Reason, Status};
use crate::domain::jobspec::{About, Jobspec, ParameterType};
use crate::domain::keys;
use crate::domain::submission::{LOCAL_USER, NewJob};
use crate::jobspecs::{INVALID_NAME, Jobspecs};
use crate::runner::executors;
use crate::runner::plugin::Plugins;
use crate::secrets::Secrets;
use crate::store::Store;
use crate::worker::{self, Live, Tap, Worker};

/// What to run.
#[derive(Args)]
pub(super) struct Run {
    /// The jobspec's name: jobspecs/NAME.toml
    pub(super) name: String,
    /// A parameter of the job; may be given many times. Of a file its path: KEY=@FILE
    #[arg(short, long = "parameter", value_name = "KEY=VALUE", value_parser = pair)]
    pub(super) parameter: Vec<(String, String)>,
    /// Where to save the files that the job leaves in its artifacts folder
    #[arg(long, value_name = "DIR")]
    pub(super) artifacts: Option<PathBuf>,
}

/// A parameter as it is typed.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a parameter is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the job; gives its exit status.
pub(super) async fn run(what: Run) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match run_with(what, config).await {
        Ok(code) => code,
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

/// Runs a job with this configuration.
pub(super) async fn run_with(what: Run, config: Config) -> Result<ExitCode, String> {
    let mut stops = Stops::new().map_err(|error| format!("can't listen for signals: {error}"))?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    worker::platform::adopt_orphans();
    let plugins = Plugins::new(&config.executors);
    let jobspecs = Jobspecs::checked(config.server.jobspecs.clone(), executors::check(&plugins));
    let reread = jobspecs.clone();
    plugins.introduce(move || reread.reread()).await;
    let spec = jobspecs.get(&what.name).map_err(|why| hint(&what.name, why, &jobspecs))?;
    let mut parameters: Parameters = what.parameter.into_iter().collect();
    declared(&spec, &parameters).map_err(|why| format!("{}: {why}", what.name))?;
    let store = scratch_store(scratch.path()).await?;
    let blobs = scratch_blobs(scratch.path())?;
    let secrets = Secrets::passing(store.installation()).map_err(|error| error.to_string())?;
    let inputs = files(&store, &blobs, &spec, &mut parameters).await?;
    secrets.seal_parameters(&About::of(&spec), &mut parameters).map_err(|error| error.to_string())?;
    let bar = progress_bar();
    let parts = worker::Parts {
        store: store.clone(),
        blobs: blobs.clone(),
        jobspecs,
        plugins,
        secrets,
        config: Arc::new(config::Worker { concurrency: 1, ..config.worker }),
        public_url: None,
        tap: Some(show(bar.clone())),
    };
    let worker = Worker::start(parts).await?;
    let new = NewJob { name: what.name, parameters, inputs, priority: spec.priority, ..NewJob::default() };
    let id = store.submit(new).await.map_err(|error| error.to_string())?;
    let force = CancellationToken::new();
    let job = tokio::select! {
        job = finished(&store, id) => Some(job?),
        _ = stops.next() => {
            end(&store, id, &mut stops).await;
            None
        }
    };
    force.cancel();
    worker.drain(force).await;
    bar.finish_and_clear();
    let Some(job) = job else { return Ok(complain("stopped", 130)) };
    let Some(ended) = &job.ended else { return Ok(complain("the job did not end", 1)) };
    if let LogBody::Inline(said) = &ended.executor_log.body {
        for line in String::from_utf8_lossy(said).lines() {
            say(stderr(), format_args!("jobmgr: executor: {line}"));
        }
    }
    if let Some(error) = &ended.error {
        say(stderr(), format_args!("jobmgr: {}: {error}", job.name));
    }
    save(&blobs, ended, what.artifacts.as_deref()).await?;
    Ok(ExitCode::from(status_of(&job, ended)))
}

/// The API takes parameters that nobody declared, as the original did; here it is a slip of the one who typed.
fn declared(spec: &Jobspec, given: &Parameters) -> Result<(), String> {
    let known: Vec<_> = spec.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!("parameter '{name}' is not declared by the jobspec; declared: {known}"))
}

/// Puts the files that are given into the store; the paths, `@` before them or not, become their numbers.
async fn files(store: &Store, blobs: &Blobs, spec: &Jobspec, given: &mut Parameters) -> Result<Vec<InputId>, String> {
    let mut ids = Vec::new();
    for parameter in spec.parameters.iter().filter(|parameter| parameter.kind == ParameterType::File) {
        let Some(value) = given.get_mut(&parameter.name) else { continue };
        let path = Path::new(value.strip_prefix('@').unwrap_or(value));
        let wrong = |why: &dyn std::fmt::Display| format!("parameter '{}': {}: {why}", parameter.name, path.display());
        let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
        let found = file.metadata().map_err(|error| wrong(&error))?;
        if !found.is_file() {
            return Err(wrong(&"this is not a plain file"));
        }
        let key = keys::of_input(store.installation(), &ids.len().to_string());
        let Uploaded { size, sha256 } = blobs.put_file(&key, file, found.len()).await.map_err(|error| wrong(&error))?;
        let input = NewInput { user_id: LOCAL_USER, name: input::name(&path.to_string_lossy()), size, sha256, key };
        let id = store.add_input(input).await.map_err(|error| error.to_string())?;
        *value = id.to_string();
        ids.push(id);
    }
    Ok(ids)
}

/// What would be right, where no jobspec can be had by this name.
fn hint(name: &str, why: String, jobspecs: &Jobspecs) -> String {
    let rule = "a name has 1 to 255 bytes and no '.', '/', '\\', space or control character";
    let why = if why == INVALID_NAME { format!("{why}: {rule}") } else { why };
    let known: Vec<String> = jobspecs.list().into_iter().map(|(name, _)| name).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{}: {why}; jobspecs in {}/: {known}", name.escape_debug(), jobspecs.folder().display())
}

async fn scratch_store(scratch: &Path) -> Result<Store, String> {
    let url = format!("sqlite:{}", scratch.join("queue.db").display());
    let database = config::Database { url: Some(url), ..Default::default() };
    Store::open(&database).await.map_err(|error| error.to_string())
}

fn scratch_blobs(scratch: &Path) -> Result<Blobs, String> {
    let url = format!("file:{}", scratch.join("store").display());
    let storage = config::Storage { url: Some(url), ..Default::default() };
    Blobs::open(&storage, None).map_err(|error| error.to_string())
}

/// Ends the job, wherever it runs: nobody goes on with it from a queue that is thrown away. Once more is enough.
async fn end(store: &Store, id: i64, stops: &mut Stops) {
    if let Err(error) = store.cancel(id).await {
        say(stderr(), format_args!("jobmgr: the job can't be ended: {error}"));
        return;
    }
    tokio::select! {
        _ = finished(store, id) => {}
        _ = stops.next() => {}
    }
}

async fn finished(store: &Store, id: i64) -> Result<Job, String> {
    loop {
        match store.job(id).await.map_err(|error| error.to_string())? {
            Some(job) if job.ended.is_some() => return Ok(job),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Hidden until the job reports progress.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::hidden();
    bar.set_length(100);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: ProgressBar) -> Tap {
    Arc::new(move |_, live| match live {
        // A reader that went away does not stop the job.
        Live::Stdout(data) => bar.suspend(|| {
            let mut out = std::io::stdout().lock();
            drop(out.write_all(data).and_then(|()| out.flush()));
        }),
        Live::Stderr(data) => bar.suspend(|| drop(stderr().lock().write_all(data))),
        Live::Progress(percent, message) => {
            if bar.is_hidden() && stderr().is_terminal() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_position(percent.clamp(0.0, 100.0) as u64);
            bar.set_message(message.to_owned());
        }
        Live::Warning(text) => bar.suspend(|| say(stderr(), format_args!("jobmgr: warning: {text}"))),
    })
}

async fn save(blobs: &Blobs, ended: &Ended, dir: Option<&Path>) -> Result<(), String> {
    for skipped in &ended.skipped {
        say(stderr(), format_args!("jobmgr: artifact {} was left out: {}", skipped.name, skipped.reason));
    }
    let Some(dir) = dir else {
        if !ended.artifacts.is_empty() {
            let names: Vec<_> = ended.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
            say(stderr(), format_args!("jobmgr: artifacts: {} (--artifacts DIR saves them)", names.join(", ")));
        }
        return Ok(());
    };
    for artifact in &ended.artifacts {
        let path = dir.join(&artifact.name);
        save_one(blobs, artifact, &path).await.map_err(|error| format!("{}: {error}", path.display()))?;
        say(stderr(), format_args!("jobmgr: saved {}", path.display()));
    }
    Ok(())
}

async fn save_one(blobs: &Blobs, artifact: &Artifact, path: &Path) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    let mut file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    let mut bytes = blobs.get(&artifact.key, None).await.map_err(|error| error.to_string())?;
    while let Some(piece) = bytes.try_next().await.map_err(|error| error.to_string())? {
        file.write_all(&piece).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn status_of(job: &Job, ended: &Ended) -> u8 {
    let code = |code: Option<i64>| code.and_then(|code| u8::try_from(code).ok());
    match (job.status, job.reason) {
        (Status::Completed, _) => 0,
        (_, Some(Reason::Timeout)) => 124,
        (_, Some(Reason::ExitCode)) => code(ended.exit_code).unwrap_or(1),
        (_, Some(Reason::Signal)) => code(ended.signal.map(|signal| 128 + signal)).unwrap_or(1),
        _ => 1,
    }
}
