//! Jobs that run elsewhere: taking them over, what their executors ask for, and cleaning up after them.

/// What executors ask for while they run a job.
mod requests;
/// What may be uploaded for a job from elsewhere, and what was.
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use jobmgr_plugin_api::{Error, Kind};
use tracing::{info, warn};

pub(super) use requests::request;
pub(super) use uploads::{Uploads, forget_uploads};

use super::Shared;
use crate::domain::job::{Claim, JobId};
use crate::domain::parameters::any_sealed;
use crate::runner::plugin::Work;
use crate::runner::{Failure, Said};
use crate::secrets::Secrets;
use crate::store::Leftover;

/// How often it is looked for what executors have not cleaned up, beside the looks after each end.
const TIDY: Duration = Duration::from_secs(60);
/// How long a clean-up may take.
const CLEANING: Duration = Duration::from_secs(60);

/// What stands before a job that is stored sealed; JSON begins otherwise.
const SEALED: &str = "sealed:";

/// What an executor is given, as it is stored; sealed where it has secrets in it.
pub(super) fn closed(secrets: &Secrets, claim: &Claim, job: String) -> Result<String, String> {
    if !claim.parameters.as_ref().is_ok_and(any_sealed) {
        return Ok(job);
    }
    let sealed = secrets.seal(&context((claim.id, claim.attempt)), job.as_bytes());
    sealed.map(|sealed| format!("{SEALED}{sealed}")).map_err(|error| error.to_string())
}

/// What [`closed`] made, as the executor was given it.
pub(super) fn opened(shared: &Shared, attempt: (JobId, i64), stored: &str) -> Result<String, String> {
    let Some(sealed) = stored.strip_prefix(SEALED) else { return Ok(stored.to_owned()) };
    let opened = shared.parts.secrets.open(&context(attempt), sealed).map_err(|error| error.to_string())?;
    String::from_utf8(opened).map_err(|error| error.to_string())
}

fn context((id, attempt): (JobId, i64)) -> String {
    format!("dispatch:{id}-{attempt}")
}

/// Has executors clean up after attempts that are over, until the worker ends.
pub(super) async fn tidy(shared: Arc<Shared>) {
    loop {
        tidy_once(&shared).await;
        tokio::select! {
            () = tokio::time::sleep(TIDY) => {}
            () = shared.untidy.notified() => {}
        }
    }
}

/// One look at what executors have left.
pub(super) async fn tidy_once(shared: &Shared) {
    for name in shared.parts.plugins.names() {
        match shared.parts.store.leftovers(name).await {
            Ok(leftovers) => {
                for leftover in leftovers {
                    clean(shared, &leftover).await;
                }
            }
            Err(error) => warn!(%error, "can't look for what executors have left"),
        }
    }
    if shared.parts.plugins.names().next().is_some() {
        shared.root.forget_elsewhere(&shared.parts.store).await;
    }
}

async fn clean(shared: &Shared, leftover: &Leftover) {
    let Leftover { id, attempt, executor, .. } = leftover;
    match tokio::time::timeout(CLEANING, cleaned(shared, leftover)).await {
        Ok(Ok(())) => {
            if let Err(error) = shared.parts.store.cleaned(*id, *attempt).await {
                warn!(%error, "what has been cleaned up is cleaned up once more");
            }
        }
        Ok(Err(failure)) => {
            warn!(job = id, attempt, executor, why = %failure, "the executor could not clean up; it is tried again")
        }
        Err(_) => {
            warn!(job = id, attempt, executor, "the executor did not clean up in {CLEANING:?}; it is tried again")
        }
    }
}

async fn cleaned(shared: &Shared, leftover: &Leftover) -> Result<(), Failure> {
    let ready = shared.parts.plugins.ready(&leftover.executor).await?;
    if !ready.runner.loaded().capabilities.cleanup {
        return Ok(());
    }
    let work = Work::Cleanup { handle: leftover.handle.clone() };
    let job = opened(shared, (leftover.id, leftover.attempt), &leftover.job).map_err(Failure::Invalid)?;
    let mut call = ready.runner.call(&work, job.as_bytes()).await?;
    let result = loop {
        match call.next().await {
            Said::Done(result) => break result.map(drop),
            Said::Checkpoint(_) | Said::Request(..) => {
                let no = Error::new(Kind::Unsupported, "not while cleaning up");
                drop(call.answer(Err(no)).await);
            }
            _ => {}
        }
    };
    if !ready.shared {
        ready.runner.end().await;
    }
    result
}

/// How many jobs of an executor run beside the slots.
pub(super) fn room(shared: &Shared, name: &str) -> usize {
    shared.parts.plugins.room(name).max(shared.parts.config.concurrency)
}

/// Looks for jobs whose holders are gone, and goes on with as many as there is room for.
pub(super) async fn take_over(shared: Arc<Shared>, name: String, room: Arc<tokio::sync::Semaphore>) {
    let config = Arc::clone(&shared.parts.config);
    while !shared.draining.is_cancelled() {
        let free = u32::try_from(room.available_permits()).unwrap_or(u32::MAX).min(100);
        let mut found = 0;
        if free > 0 {
            let asked = super::leases::now();
            let taken = shared.parts.store.take_over(&name, &shared.root.id, config.lease, free).await;
            match taken {
                Ok(taken) => {
                    found = taken.len();
                    for taken in taken {
                        info!(
                            job = taken.claim.id,
                            attempt = taken.claim.attempt,
                            executor = name,
                            "goes on with a job"
                        );
                        super::slot::resume(&shared, taken, asked, &room).await;
                    }
                }
                Err(error) => warn!(%error, "can't look for jobs that nobody holds"),
            }
        }
        if found > 0 {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(config.poll.max(Duration::from_millis(100))) => {}
            () = shared.draining.cancelled() => {}
        }
    }
}
