//! `jobmgr gc`: removes what has been kept for long enough, now; or says what that would be.

use std::io::stdout;
use std::process::ExitCode;

use super::{BAD_CONFIG, complain, say, service};
use crate::worker::Parts;

/// What to do with it.
#[derive(clap::Args)]
pub(super) struct Gc {
    /// Only list what would go, and by which rule
    #[arg(long)]
    dry_run: bool,
}

/// One pass; exit status 1 when something could not be done.
pub(super) async fn gc(how: Gc) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let parts = match service::parts(&config).await {
        Ok(parts) => parts,
        Err(why) => return complain(&why, BAD_CONFIG),
    };
    if let Err(why) = is_the_store(&parts).await {
        return complain(&why, BAD_CONFIG);
    }
    let verb = if how.dry_run { "would remove" } else { "removed" };
    let keeper = service::keeper(&parts, &config);
    let totals = keeper.pass(how.dry_run, &mut |gone| say(stdout(), format_args!("{verb} {gone}"))).await;
    say(stdout(), format_args!("{verb} in all: {totals}"));
    parts.store.close().await;
    totals.troubles.iter().fold(ExitCode::SUCCESS, |_, trouble| complain(trouble, 1))
}

/// Rows must not go here while their objects are elsewhere.
async fn is_the_store(parts: &Parts) -> Result<(), String> {
    let mine = parts.blobs.identity().await.map_err(|error| format!("[Storage] {error}"))?;
    let workers = parts.store.workers().await.map_err(|error| error.to_string())?;
    let others = |storage: &str| !storage.is_empty() && storage != mine;
    match workers.into_iter().find(|worker| worker.alive && others(&worker.presence.storage)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "[Storage] {} is not the store that jobmgr on {} ({}) uses with this database; use its configuration, and \
             for a folder its machine",
            parts.blobs.describe(),
            other.presence.host,
            other.presence.name,
        )),
    }
}
