//! A host for unit tests of executors.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Event, OnStop, Result, Stop, Stream};

/// Records what an executor does. Give `Context::new(&host)` to `run`.
#[derive(Default)]
pub struct Host {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    events: Vec<Event>,
    stop: Option<Stop>,
    on_stop: Option<OnStop>,
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the executor to stop. Call it from another thread.
    pub fn stop(&self, why: Stop) {
        let mut state = self.state();
        state.stop = Some(why);
        let call = state.on_stop.take();
        drop(state);
        self.stopped.notify_all();
        if let Some(mut call) = call {
            call(why);
        }
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.state().stdout.clone()
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.state().stderr.clone()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }
}

impl crate::Host for Host {
    fn log(&self, stream: Stream, data: &[u8]) -> Result<()> {
        let mut state = self.state();
        match stream {
            Stream::Stdout => state.stdout.extend_from_slice(data),
            Stream::Stderr => state.stderr.extend_from_slice(data),
        }
        Ok(())
    }

    fn event(&self, event: Event) {
        self.state().events.push(event);
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        let until = Instant::now() + limit;
        let mut state = self.state();
        while state.stop.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.stopped.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stop
    }

    fn on_stop(&self, call: Option<OnStop>) {
        let mut state = self.state();
        match (state.stop, call) {
            (Some(why), Some(mut call)) => {
                drop(state);
                call(why);
            }
            (_, call) => state.on_stop = call,
        }
    }
}
