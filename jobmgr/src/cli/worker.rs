//! `jobmgr worker`: a worker without an API; no port is open.

use std::io::stdout;
use std::process::ExitCode;

use super::platform::Stops;
use super::{BAD_CONFIG, complain, say, service};
use crate::config::Config;
use crate::telemetry;
use crate::worker::{self, Worker};

/// Works until it is asked to stop.
pub(super) async fn worker() -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match work(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&why, BAD_CONFIG),
    }
}

async fn work(config: Config) -> Result<(), String> {
    let mut stops = Stops::new().map_err(|error| format!("can't listen for signals: {error}"))?;
    let traces = telemetry::start(&config.telemetry)?;
    worker::platform::adopt_orphans();
    let parts = service::parts(&config).await?;
    let (database, jobspecs) = (parts.store.clone(), parts.jobspecs.clone());
    let keeper = service::keeper(&parts, &config);
    let worker = Worker::start(parts).await?;
    let keeping = tokio::spawn(keeper.run());
    let slots = config.worker.concurrency;
    let place = config.database.describe();
    say(stdout(), format_args!("jobmgr {} works for {place}, {slots} jobs at once", env!("CARGO_PKG_VERSION")));
    service::tell(&jobspecs);
    let ended = tokio::select! {
        why = stops.next() => {
            service::drain(worker, stops, why, config.worker.drain).await;
            Ok(())
        }
        wrong = worker.misplaced() => {
            service::give_up(worker).await;
            Err(wrong)
        }
    };
    keeping.abort();
    database.close().await;
    traces.end();
    ended
}
