//! `jobmgr token`: who may call, from the machine that has the database.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use super::{BAD_CONFIG, complain, say};
use crate::auth::{self, By, Entry, NewToken, Scopes, Secret};
use crate::domain::duration::age::Age;
use crate::domain::time::rfc3339;
use crate::store::Store;

/// What to do with tokens.
#[derive(clap::Subcommand)]
pub(super) enum Token {
    /// Make a token and print it; it is shown this once
    Create(Create),
    /// List the tokens, without their texts
    List {
        /// Also those that were revoked
        #[arg(long)]
        all: bool,
        /// As JSON, an object per line
        #[arg(long)]
        json: bool,
    },
    /// End a token; servers take it no more within a second
    Revoke {
        /// Its name or its number
        token: String,
    },
}

/// A new token.
#[derive(clap::Args)]
pub(super) struct Create {
    /// What it is to be called
    #[arg(value_parser = name)]
    name: String,
    /// What it may do, with commas between: read (see the jobs of all users), submit (submit jobs; see, cancel and
    /// retry those of its own user), admin (everything)
    #[arg(long, default_value = "submit")]
    scopes: Scopes,
    /// The user whose jobs it submits; left out, one that nobody was before
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    user: Option<i64>,
    /// How long it holds: 12h, 30d, 2w; left out, until it is revoked
    #[arg(long)]
    expires: Option<Age>,
    /// How many jobs of its user may be queued; left out, as [Limits] MaxQueued says
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    max_queued: Option<u64>,
    /// How many requests it may make in a minute; left out, as [Limits] RequestsPerMinute says
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
}

fn name(text: &str) -> Result<String, String> {
    auth::check_name(text).map(|()| text.to_owned())
}

/// Exit status 1 when it can't be done, 2 when it is the configuration.
pub(super) async fn token(what: Token) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match Store::open(&config.database).await {
        Ok(store) => store,
        Err(error) => return complain(&error.to_string(), BAD_CONFIG),
    };
    let done = match what {
        Token::Create(new) => create(&store, new).await,
        Token::List { all, json } => list(&store, all, json).await,
        Token::Revoke { token } => revoke(&store, &token).await,
    };
    store.close().await;
    done.map_or_else(|why| complain(&why, 1), |()| ExitCode::SUCCESS)
}

async fn create(store: &Store, new: Create) -> Result<(), String> {
    let secret = Secret::random()?;
    let lasts_ms = new.expires.map(|Age(lasts)| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX / 4).max(1));
    let token = NewToken {
        name: new.name.clone(),
        digest: secret.digest(),
        user_id: new.user,
        scopes: new.scopes,
        max_queued: new.max_queued,
        requests_per_minute: new.rate,
        lasts_ms,
    };
    let made = store.create_token(token).await.map_err(|error| error.to_string())?;
    let token = made.ok_or_else(|| format!("there is a token '{}' already; revoke it first", new.name))?;
    note(store, "token.create", &token).await?;
    let until =
        token.expires_ms.map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {}", rfc3339(end)));
    let auth::Token { id, name, user_id, scopes, .. } = token;
    // What it is goes where scripts don't look; its text alone is the output.
    say(stderr(), format_args!("token {id}, {name}: user {user_id}, scopes {scopes}, holds {until}; shown this once:"));
    say(stdout(), secret.reveal());
    Ok(())
}

async fn list(store: &Store, all: bool, json: bool) -> Result<(), String> {
    let failed = |error: crate::store::StoreError| error.to_string();
    let (tokens, (_, now_ms)) = (store.tokens().await.map_err(failed)?, store.tokens_version().await.map_err(failed)?);
    let shown = tokens.iter().filter(|token| all || token.revoked_ms.is_none());
    if !json {
        say(
            stdout(),
            format_args!(
                "{:>4}  {:<24} {:>6}  {:<18} {:<8} {:<24}  LAST USED",
                "ID", "NAME", "USER", "SCOPES", "STATE", "EXPIRES"
            ),
        );
    }
    for token in shown {
        let time = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), rfc3339);
        if json {
            say(stdout(), in_json(token, now_ms));
            continue;
        }
        let auth::Token { id, name, user_id, scopes, .. } = token;
        let (state, expires, used) = (token.standing(now_ms), time(token.expires_ms), time(token.used_ms));
        say(
            stdout(),
            format_args!(
                "{id:>4}  {name:<24} {user_id:>6}  {scopes:<18} {state:<8} {expires:<24}  {used}",
                scopes = scopes.to_string()
            ),
        );
    }
    Ok(())
}

fn in_json(token: &auth::Token, now_ms: i64) -> serde_json::Value {
    let time = |time: Option<i64>| time.map(rfc3339);
    serde_json::json!({
        "id": token.id,
        "name": token.name,
        "userID": token.user_id,
        "scopes": token.scopes.words().collect::<Vec<_>>(),
        "state": token.standing(now_ms),
        "maxQueued": token.max_queued,
        "requestsPerMinute": token.requests_per_minute,
        "created": rfc3339(token.created_ms),
        "expires": time(token.expires_ms),
        "revoked": time(token.revoked_ms),
        "used": time(token.used_ms),
    })
}

async fn revoke(store: &Store, which: &str) -> Result<(), String> {
    let tokens = store.tokens().await.map_err(|error| error.to_string())?;
    let number = which.parse::<i64>().ok();
    let meant = |token: &&auth::Token| token.revoked_ms.is_none() && (Some(token.id) == number || token.name == which);
    let token = tokens.iter().find(meant).ok_or_else(|| format!("there is no token '{which}' that is not revoked"))?;
    if store.revoke_token(token.id).await.map_err(|error| error.to_string())? {
        note(store, "token.revoke", token).await?;
    }
    say(stdout(), format_args!("token {}, {}: revoked", token.id, token.name));
    Ok(())
}

async fn note(store: &Store, action: &str, token: &auth::Token) -> Result<(), String> {
    let target = format!("token {} {} (user {}, {})", token.id, token.name, token.user_id, token.scopes);
    let entry = Entry::done(By::command_line(), action, target);
    store.audit(vec![entry]).await.map_err(|error| error.to_string())
}
