//! `jobmgr serve`: the API and a worker, in one process.

use std::io::stdout;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::platform::{Stops, open_files};
use super::{BAD_CONFIG, complain, say};
use crate::blobs::{BlobError, Blobs};
use crate::config::{self, Config};
use crate::http::{self, Api};
use crate::jobspecs::Jobspecs;
use crate::runner::executors;
use crate::store::Store;
use crate::worker::{self, Worker};

/// How long the store may take to answer before the server starts without it.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until it is asked to stop.
pub(super) async fn serve() -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match serve_with(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

async fn serve_with(config: Config) -> Result<(), String> {
    // From here on a signal is a request, however early it comes.
    let mut stops = Stops::new().map_err(|error| format!("can't listen for signals: {error}"))?;
    let listener = bind(&config).await?;
    let store = Store::open(&config.database).await.map_err(|error| error.to_string())?;
    let blobs = Blobs::open(&config.storage, config.aws.as_ref()).map_err(|error| error.to_string())?;
    let jobspecs = Jobspecs::checked(config.server.jobspecs.clone(), executors::check);
    check_store(&blobs).await?;
    let database = store.clone();
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let api = Api {
        store: store.clone(),
        blobs: blobs.clone(),
        jobspecs: jobspecs.clone(),
        config: Arc::new(within_open_files(config.server.clone())),
    };
    worker::platform::adopt_orphans();
    let parts =
        worker::Parts { store, blobs, jobspecs: jobspecs.clone(), config: Arc::new(config.worker.clone()), tap: None };
    let worker = Worker::start(parts).await?;
    greet(address, &jobspecs);
    let closing = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, api, closing.clone()));
    let why = stops.next().await;
    info!(
        "{why}: claiming no more jobs; the running ones may go on for {:?}; once more ends them",
        config.worker.drain
    );
    let force = CancellationToken::new();
    let second = tokio::spawn({
        let force = force.clone();
        async move {
            stops.next().await;
            force.cancel();
        }
    });
    // The API answers while the jobs finish, so that who waits for one learns its end.
    worker.drain(force).await;
    second.abort();
    closing.cancel();
    let served = server.await.map_err(|error| error.to_string())?;
    database.close().await;
    served.map_err(|error| format!("the HTTP server failed: {error}"))
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

fn greet(address: std::net::SocketAddr, jobspecs: &Jobspecs) {
    say(stdout(), format_args!("jobmgr {} listens on http://{address}", env!("CARGO_PKG_VERSION")));
    say(stdout(), format_args!("  try it in a browser: http://{address}/docs"));
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
