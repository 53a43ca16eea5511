//! `jobmgr audit`: who did what.

use std::io::stdout;
use std::process::ExitCode;
use std::time::Duration;

use super::{BAD_CONFIG, complain, say};
use crate::auth::Entry;
use crate::domain::duration::age::Age;
use crate::domain::time::rfc3339;
use crate::store::{Store, StoreError};

/// Which entries.
#[derive(clap::Args)]
pub(super) struct Audit {
    /// How far back: 1h, 7d, 2w
    #[arg(long, default_value = "1d")]
    since: Age,
    /// At most so many, the newest
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// As JSON, an object per line
    #[arg(long)]
    json: bool,
}

/// The oldest first, so that the newest is at the end of a terminal. Exit status 1 when the database fails.
pub(super) async fn audit(which: Audit) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match Store::open(&config.database).await {
        Ok(store) => store,
        Err(error) => return complain(&error.to_string(), BAD_CONFIG),
    };
    let Age(since) = which.since;
    let read = read(&store, since, which.limit).await;
    store.close().await;
    match read {
        Ok(entries) => {
            entries.iter().for_each(|entry| if which.json { say(stdout(), in_json(entry)) } else { show(entry) });
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error.to_string(), 1),
    }
}

async fn read(store: &Store, since: Duration, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let mut entries = store.audited(since, limit).await?;
    entries.reverse();
    Ok(entries)
}

fn show(entry: &Entry) {
    let Entry { by, action, target, outcome, request_id, .. } = entry;
    let user = by.user_id.map_or_else(|| "-".to_owned(), |user| user.to_string());
    let address = if by.address.is_empty() { "-" } else { &by.address };
    let id = if request_id.is_empty() { "-" } else { request_id };
    let (time, token) = (rfc3339(entry.at_ms), &by.token);
    say(stdout(), format_args!("{time}  {outcome:<9} {token} (user {user}, {address})  {action}  {target}  {id}"));
}

fn in_json(entry: &Entry) -> serde_json::Value {
    serde_json::json!({
        "time": rfc3339(entry.at_ms),
        "action": entry.action,
        "target": entry.target,
        "outcome": entry.outcome,
        "userID": entry.by.user_id,
        "tokenID": entry.by.token_id,
        "token": entry.by.token,
        "address": entry.by.address,
        "requestID": entry.request_id,
    })
}
