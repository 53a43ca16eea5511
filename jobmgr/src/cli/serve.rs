//! `jobmgr serve`: the API and a worker in one process, or the API alone.

use std::io::stdout;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::platform::{Stops, open_files};
use super::{BAD_CONFIG, complain, say, service};
use crate::auth::{By, Entry, NewToken, Scopes, Secret};
use crate::config::{self, Auth, Config};
use crate::domain::executor::Executors;
use crate::domain::submission::LOCAL_USER;
use crate::http::{self, Abouts, Api, Audit, Gate};
use crate::jobspecs::Jobspecs;
use crate::notify::{Notifier, Targets};
use crate::runner::executors;
use crate::store::Store;
use crate::telemetry;
use crate::worker::presence::{Announced, Presence, Who};
use crate::worker::{self, Worker};

/// How to serve.
#[derive(clap::Args, Default)]
pub(super) struct Serve {
    /// Only answer over HTTP; the jobs are run by others (jobmgr worker, or another jobmgr serve) on the same database
    #[arg(long)]
    no_worker: bool,
}

/// Serves until it is asked to stop.
pub(super) async fn serve(how: Serve) -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match serve_with(&how, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

async fn serve_with(how: &Serve, config: Config) -> Result<(), String> {
    // From here on a signal is a request, however early it comes.
    let mut stops = Stops::new().map_err(|error| format!("can't listen for signals: {error}"))?;
    if let Some(files) = &config.server.tls {
        http::check_tls(files).map_err(|why| format!("[Server] TLS: {why}"))?;
    }
    let listener = bind(&config).await?;
    let traces = telemetry::start(&config.telemetry)?;
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    if !how.no_worker {
        worker::platform::adopt_orphans();
    }
    let mut parts = service::parts(&config).await?;
    let (database, jobspecs) = (parts.store.clone(), parts.jobspecs.clone());
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if !address.ip().is_unspecified() {
        // Good for jobs of this machine at least.
        parts.public_url.get_or_insert_with(|| format!("{scheme}://{address}"));
    }
    let targets = Arc::new(Targets::new(&config.webhooks));
    let api = Api {
        store: parts.store.clone(),
        blobs: parts.blobs.clone(),
        abouts: Abouts::new(parts.store.clone(), jobspecs.clone(), !how.no_worker),
        secrets: parts.secrets.clone(),
        targets: Arc::clone(&targets),
        executors: known_executors(&parts),
        config: Arc::new(within_open_files(config.server.clone())),
        gate: Arc::new(Gate::new(parts.store.clone(), config.server.auth, config.limits.clone())),
        audit: Audit::start(parts.store.clone()),
        queues: Arc::default(),
    };
    let keeper = service::keeper(&parts, &config);
    let (store, secrets) = (parts.store.clone(), parts.secrets.clone());
    let notifier = Notifier { store, secrets, targets, config: config.webhooks.clone() };
    let behind = Behind::start(how, parts).await?;
    let keeping = tokio::spawn(keeper.run());
    let silent = CancellationToken::new();
    let telling = tokio::spawn(notifier.run(silent.clone()));
    greet(&format!("{scheme}://{address}"), &jobspecs, how);
    first_token(&config, &database).await?;
    let closing = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, api, closing.clone()));
    let ended = tokio::select! {
        why = stops.next() => {
            // The API answers while the jobs finish, so that who waits for one learns its end.
            match behind {
                Behind::Worker(worker) => service::drain(*worker, stops, why, config.worker.drain).await,
                Behind::Nobody(presence) => {
                    info!("{why}: ends");
                    presence.end().await;
                }
            }
            Ok(())
        }
        wrong = behind.misplaced() => {
            match behind {
                Behind::Worker(worker) => service::give_up(*worker).await,
                Behind::Nobody(presence) => presence.end().await,
            }
            Err(wrong)
        }
    };
    keeping.abort();
    silent.cancel();
    closing.cancel();
    let served = server.await.map_err(|error| error.to_string())?;
    // Messages that are on their way have a moment; the others are sent by whoever serves next.
    drop(telling.await);
    database.close().await;
    traces.end();
    served.map_err(|error| format!("the HTTP server failed: {error}"))?;
    ended
}

/// What is behind the API in this process.
enum Behind {
    Worker(Box<Worker>),
    /// Other processes do the work; they are told that this one is there.
    Nobody(Announced),
}

impl Behind {
    async fn start(how: &Serve, parts: worker::Parts) -> Result<Self, String> {
        if !how.no_worker {
            return Ok(Behind::Worker(Box::new(Worker::start(parts).await?)));
        }
        let who = Who::server(parts.store.installation(), parts.config.name.clone());
        let presence = Presence::new(parts.store, parts.blobs, None, who, parts.config.lease);
        Ok(Behind::Nobody(presence.announce().await?))
    }

    /// Waits until the store turns out to be the wrong one; gives what is wrong.
    async fn misplaced(&self) -> String {
        match self {
            Behind::Worker(worker) => worker.misplaced().await,
            Behind::Nobody(presence) => presence.misplaced().await,
        }
    }
}

/// At most half of the files that may be open are connections, so that jobs can always be run. The limit itself is not
/// raised: jobs inherit it, and programs that use select(2) break when it is high.
fn within_open_files(mut server: config::Server) -> config::Server {
    let most = open_files().map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX)).max(1);
    if server.max_connections > most {
        debug!("at most {most} connections at once, since {} files may be open (ulimit -n)", most * 2);
        server.max_connections = most;
    }
    server
}

async fn bind(config: &Config) -> Result<TcpListener, String> {
    let listen = config.server.listen;
    TcpListener::bind(listen).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!(
                    "; another program (another jobmgr?) has port {}: stop it, or set another port with \
                     [Server] Listen in config.toml or JOBMGR_SERVER__LISTEN",
                    listen.port()
                )
            }
            _ => String::new(),
        };
        format!("[Server] Listen = \"{listen}\": {error}{hint}")
    })
}

/// Where other machines reach a server that needs tokens and never had one, it makes one, so that somebody can call it.
async fn first_token(config: &Config, store: &Store) -> Result<(), String> {
    if config.server.auth != Some(Auth::Token) {
        return Ok(());
    }
    if config.server.listen.ip().to_canonical().is_loopback() {
        let tokens = store.tokens().await.map_err(|error| error.to_string())?;
        if tokens.is_empty() {
            say(stdout(), "  needs a token, and there is none yet: jobmgr token create NAME --scopes admin");
        }
        return Ok(());
    }
    let secret = Secret::random()?;
    let new = NewToken {
        name: "admin".into(),
        digest: secret.digest(),
        user_id: Some(LOCAL_USER),
        scopes: Scopes::ADMIN,
        max_queued: None,
        requests_per_minute: None,
        lasts_ms: None,
    };
    let made = store.create_first_token(new).await.map_err(|error| error.to_string())?;
    let Some(token) = made else { return Ok(()) };
    let entry = Entry::done(By::command_line(), "token.create", format_args!("token {} admin, at the start", token.id));
    store.audit(vec![entry]).await.map_err(|error| error.to_string())?;
    say(stdout(), "  a token that may do everything, shown this once:");
    say(stdout(), format_args!("  {}", secret.reveal()));
    Ok(())
}

/// What can run jobs here.
fn known_executors(parts: &worker::Parts) -> Executors {
    let plugins = parts.plugins.clone();
    Executors::new(move || executors::known(&plugins))
}

fn greet(address: &str, jobspecs: &Jobspecs, how: &Serve) {
    say(stdout(), format_args!("jobmgr {} listens on {address}", env!("CARGO_PKG_VERSION")));
    say(stdout(), format_args!("  try it in a browser: {address}/docs"));
    if how.no_worker {
        say(stdout(), format_args!("  runs no jobs itself"));
        return;
    }
    service::tell(jobspecs);
}
