//! What an executor sees of jobmgr, from inside the runner.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobmgr_plugin_api::{Error, Event, Host, Kind, OnStop, Result, Stop, Stops, Stream};

use super::wire::{self, Type};

/// The runner's side of every context.
pub(super) struct Line {
    out: Mutex<File>,
    /// The job that runs, and its stop.
    job: Mutex<(u32, Arc<Stops>)>,
}

impl Line {
    pub(super) fn new(out: File) -> Self {
        Self { out: Mutex::new(out), job: Mutex::default() }
    }

    fn job(&self) -> MutexGuard<'_, (u32, Arc<Stops>)> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stops(&self) -> Arc<Stops> {
        Arc::clone(&self.job().1)
    }

    /// Forgets the last job's stop.
    pub(super) fn begin(&self, job: u32) {
        *self.job() = (job, Arc::default());
    }

    /// Sends a frame; an error means that the worker is gone.
    pub(super) fn send(&self, kind: Type, first: &[u8], rest: &[u8]) -> std::io::Result<()> {
        let job = self.job().0;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write(&mut *out, kind, job, first, rest)
    }

    /// Asks job number `job` to stop; one that came too late is dropped.
    pub(super) fn stop(&self, job: u32, why: Stop) {
        let current = self.job().clone();
        if current.0 == job {
            current.1.ask(why);
        }
    }
}

impl Host for Line {
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        let head = wire::log_head(stream, time_ns);
        for piece in data.chunks(wire::MAX_LOG) {
            self.send(Type::Log, &head, piece).map_err(|error| Error::failed(error.to_string()))?;
        }
        Ok(())
    }

    fn event(&self, event: Event) {
        let json = event.to_json().to_string();
        // An event that can't be sent has nobody left to read it.
        drop(self.send(Type::Event, json.as_bytes(), &[]));
    }

    fn checkpoint(&self, _handle: &[u8]) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "an executor that can't recover has no checkpoints"))
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.stops().wait(limit)
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        self.stops().add(call)
    }

    fn no_stop(&self, id: u64) {
        self.stops().remove(id);
    }

    fn request(&self, method: &str, _json: &serde_json::Value) -> Result<serde_json::Value> {
        Err(Error::new(Kind::Unsupported, format!("there is no method '{method}'")))
    }
}
