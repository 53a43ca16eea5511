use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::{Context, Error, Event, Host, Logged, OnStop, Result, Stop, Stream};

/// A host that counts what of the output jobmgr has taken.
pub struct Counted<'a> {
    to: Context<'a>,
    state: Mutex<State>,
}

struct State {
    logged: [Logged; 2],
    /// Why jobmgr took no output.
    gone: Option<Error>,
}

impl<'a> Counted<'a> {
    /// Begins with what jobmgr has already.
    pub fn new(to: Context<'a>, logged: [Logged; 2]) -> Self {
        Self { to, state: Mutex::new(State { logged, gone: None }) }
    }

    /// What jobmgr has now.
    pub fn logged(&self) -> [Logged; 2] {
        self.state().logged
    }

    /// The error of jobmgr, where it was one.
    pub fn gone(&self) -> Option<Error> {
        self.state().gone.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Counted<'_> {
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        let result = self.to.log_at(stream, time_ns, data);
        let mut state = self.state();
        if let Err(error) = &result {
            state.gone = Some(error.clone());
            return result;
        }
        let which = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Executor => return result,
        };
        state.logged[which].add(time_ns, data.len() as u64);
        result
    }

    fn event(&self, event: Event) {
        self.to.event(event.to_json());
    }

    fn checkpoint(&self, handle: &[u8]) -> Result<()> {
        self.to.checkpoint(handle)
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.to.wait_stop(limit)
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        self.to.host().on_stop(call)
    }

    fn no_stop(&self, id: u64) {
        self.to.host().no_stop(id);
    }

    fn logged(&self) -> Option<[Logged; 2]> {
        Some(self.state().logged)
    }

    fn request(&self, method: &str, json: &Value) -> Result<Value> {
        self.to.request(method, json)
    }
}
