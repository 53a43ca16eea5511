//! What `serve` and `worker` have in common: their parts, and their end.

use std::io::stdout;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::platform::Stops;
use super::say;
use crate::blobs::{BlobError, Blobs};
use crate::config::Config;
use crate::jobspecs::Jobspecs;
use crate::keep::Keeper;
use crate::runner::executors;
use crate::runner::plugin::Plugins;
use crate::secrets::Secrets;
use crate::store::Store;
use crate::worker::{Parts, Worker};

/// How long the store may take to answer before a process starts without it.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a start waits for what executors say about the options in jobspecs.
const ANSWERS: Duration = Duration::from_secs(2);

/// Database, store and jobspecs, opened and checked.
pub(super) async fn parts(config: &Config) -> Result<Parts, String> {
    let store = Store::open(&config.database).await.map_err(|error| error.to_string())?;
    let blobs = Blobs::open(&config.storage, config.aws.as_ref()).map_err(|error| error.to_string())?;
    let secrets = Secrets::new(&config.secrets, &config.database, store.installation());
    let secrets = secrets.map_err(|error| error.to_string())?;
    let plugins = Plugins::new(&config.executors);
    let jobspecs = Jobspecs::checked(config.server.jobspecs.clone(), executors::check(&plugins));
    let reread = jobspecs.clone();
    tokio::join!(check_store(&blobs), plugins.introduce(move || reread.reread())).0?;
    ask_executors(&jobspecs, &plugins).await;
    let public_url = config.server.public_url.clone();
    let config = Arc::new(config.worker.clone());
    Ok(Parts { store, blobs, jobspecs, plugins, secrets, config, public_url, tap: None })
}

/// Who removes what has been kept for long enough.
pub(super) fn keeper(parts: &Parts, config: &Config) -> Keeper {
    let Parts { store, blobs, jobspecs, .. } = parts.clone();
    Keeper { store, blobs, jobspecs, config: config.retention.clone() }
}

/// Has the executors look at the options of all jobspecs, so that what is wrong with them is known before a job runs.
async fn ask_executors(jobspecs: &Jobspecs, plugins: &Plugins) {
    if plugins.names().next().is_none() {
        return;
    }
    let read = jobspecs.clone();
    let asked = tokio::task::spawn_blocking(move || drop(read.list())).await;
    if asked.is_err() || tokio::time::timeout(ANSWERS, plugins.answered()).await.is_err() {
        warn!("some executors have not said yet whether the options in jobspecs are right; they go on");
    }
}

/// Refuses a store that can't serve; one that is only away now may come back while jobs are queued.
async fn check_store(blobs: &Blobs) -> Result<(), String> {
    match tokio::time::timeout(STORE_PATIENCE, blobs.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(BlobError::Unavailable(why))) => warn!("[Storage] {why}; jobs wait until it is there"),
        Ok(Err(error)) => return Err(format!("[Storage] {}: {error}", blobs.describe())),
        Err(_) => warn!("[Storage] {} does not answer; jobs wait until it does", blobs.describe()),
    }
    Ok(())
}

/// Has the worker finish what it runs; a second signal ends that.
pub(super) async fn drain(worker: Worker, mut stops: Stops, why: impl std::fmt::Display, patience: Duration) {
    info!("{why}: claiming no more jobs; the running ones may go on for {patience:?}; once more ends them");
    let force = CancellationToken::new();
    let second = tokio::spawn({
        let force = force.clone();
        async move {
            stops.next().await;
            force.cancel();
        }
    });
    worker.drain(force).await;
    second.abort();
}

/// Has the worker give back at once what it runs.
pub(super) async fn give_up(worker: Worker) {
    let force = CancellationToken::new();
    force.cancel();
    worker.drain(force).await;
}

/// Says which jobspecs there are.
pub(super) fn tell(jobspecs: &Jobspecs) {
    let (loaded, broken): (Vec<_>, Vec<_>) = jobspecs.list().into_iter().partition(|(_, spec)| spec.is_ok());
    let names: Vec<String> = loaded.into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        say(stdout(), format_args!("  no jobspecs in {}/ yet: put a NAME.toml there", jobspecs.folder().display()));
    } else {
        say(stdout(), format_args!("  jobspecs: {}", names.join(", ")));
    }
    for (_, mistake) in broken {
        say(stdout(), format_args!("  can't be used: {}", mistake.err().unwrap_or_default()));
    }
}
