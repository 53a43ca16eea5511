//! What an executor sees of jobmgr, from inside the runner.

use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Error, Event, Host, OnStop, Result, Stop, Stream};

use super::wire::{self, Type};

/// The runner's side of every context.
pub(super) struct Line {
    out: Mutex<File>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    job: u32,
    stop: Option<Stop>,
    on_stop: Option<OnStop>,
    calling: bool,
}

impl Line {
    pub(super) fn new(out: File) -> Self {
        Self { out: Mutex::new(out), state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the last job's stop.
    pub(super) fn begin(&self, job: u32) {
        *self.state() = State { job, ..State::default() };
    }

    /// Sends a frame; an error means that the worker is gone.
    pub(super) fn send(&self, kind: Type, first: &[u8], rest: &[u8]) -> std::io::Result<()> {
        let job = self.state().job;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write(&mut *out, kind, job, first, rest)
    }

    /// Asks job number `job` to stop; one that came too late is dropped.
    pub(super) fn stop(&self, job: u32, why: Stop) {
        let mut state = self.state();
        if state.job != job || state.stop.is_some() {
            return;
        }
        state.stop = Some(why);
        let call = state.on_stop.take();
        state.calling = call.is_some();
        drop(state);
        self.changed.notify_all();
        if let Some(mut call) = call {
            call(why);
            self.state().calling = false;
            self.changed.notify_all();
        }
    }
}

impl Host for Line {
    fn log(&self, stream: Stream, data: &[u8]) -> Result<()> {
        let stream = match stream {
            Stream::Stdout => 1,
            _ => 2,
        };
        for piece in data.chunks(wire::MAX - 1) {
            self.send(Type::Log, &[stream], piece).map_err(|error| Error::failed(error.to_string()))?;
        }
        Ok(())
    }

    fn event(&self, event: Event) {
        if let Ok(json) = serde_json::to_vec(&event) {
            // An event that can't be sent has nobody left to read it.
            drop(self.send(Type::Event, &json, &[]));
        }
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        let until = Instant::now().checked_add(limit);
        let mut state = self.state();
        while state.stop.is_none() {
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stop
    }

    fn on_stop(&self, call: Option<OnStop>) {
        let mut state = self.state();
        while state.calling {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match (state.stop, call) {
            (Some(why), Some(mut call)) => {
                drop(state);
                call(why);
            }
            (_, call) => state.on_stop = call,
        }
    }
}
