//! `jobmgr serve`: the API and a worker in one process, or the API alone.

use std::io::stdout;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::platform::{Stops, open_files};
use super::{BAD_CONFIG, complain, say, service};
use crate::config::{self, Config};
use crate::http::{self, Abouts, Api};
use crate::jobspecs::Jobspecs;
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
    let listener = bind(&config).await?;
    let mut parts = service::parts(&config).await?;
    let (database, jobspecs) = (parts.store.clone(), parts.jobspecs.clone());
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if !address.ip().is_unspecified() {
        // Good for jobs of this machine at least.
        parts.public_url.get_or_insert_with(|| format!("http://{address}"));
    }
    let api = Api {
        store: parts.store.clone(),
        blobs: parts.blobs.clone(),
        abouts: Abouts::new(parts.store.clone(), jobspecs.clone(), !how.no_worker),
        secrets: parts.secrets.clone(),
        config: Arc::new(within_open_files(config.server.clone())),
    };
    let keeper = service::keeper(&parts, &config);
    let behind = Behind::start(how, parts).await?;
    let keeping = tokio::spawn(keeper.run());
    greet(address, &jobspecs, how);
    let closing = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, api, closing.clone()));
    let why = stops.next().await;
    // The API answers while the jobs finish, so that who waits for one learns its end.
    match behind {
        Behind::Worker(worker) => service::drain(*worker, stops, why, config.worker.drain).await,
        Behind::Nobody(presence) => {
            info!("{why}: ends");
            presence.end().await;
        }
    }
    keeping.abort();
    closing.cancel();
    let served = server.await.map_err(|error| error.to_string())?;
    database.close().await;
    served.map_err(|error| format!("the HTTP server failed: {error}"))
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
            worker::platform::adopt_orphans();
            return Ok(Behind::Worker(Box::new(Worker::start(parts).await?)));
        }
        let who = Who::server(parts.store.installation(), parts.config.name.clone());
        let presence = Presence::new(parts.store, parts.blobs, None, who, parts.config.lease);
        Ok(Behind::Nobody(presence.announce().await?))
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

fn greet(address: std::net::SocketAddr, jobspecs: &Jobspecs, how: &Serve) {
    say(stdout(), format_args!("jobmgr {} listens on http://{address}", env!("CARGO_PKG_VERSION")));
    say(stdout(), format_args!("  try it in a browser: http://{address}/docs"));
    if how.no_worker {
        say(stdout(), format_args!("  runs no jobs itself"));
        return;
    }
    service::tell(jobspecs);
}
