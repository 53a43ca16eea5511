//! A host for unit tests of executors.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stops::Stops;
use crate::{Context, Error, Event, OnStop, Result, Stop, Stream};

/// Records what an executor does. Give [`context`](Self::context) to `run`.
#[derive(Default)]
pub struct Host {
    state: Mutex<State>,
    stops: Stops,
    stop_at: Option<(Instant, Stop)>,
}

type Answer = Box<dyn Fn(&Value) -> Result<Value> + Send>;

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    executor: Vec<u8>,
    events: Vec<Event>,
    checkpoints: Vec<Vec<u8>>,
    requests: Vec<(String, Value)>,
    answers: BTreeMap<String, Answer>,
}

impl Host {
    /// A host that asks for a stop after a while: as soon as the executor looks after that, or waits for it. A call of
    /// `on_stop` needs [`stop`](Self::stop) from another thread.
    pub fn stop_after(limit: Duration, why: Stop) -> Self {
        Self { stop_at: Some((Instant::now() + limit, why)), ..Self::default() }
    }

    /// A context for one call.
    pub fn context(&self) -> Context<'_> {
        Context::new(self)
    }

    /// Answers a method of [`Context::request`].
    pub fn answer(&self, method: &str, answer: impl Fn(&Value) -> Result<Value> + Send + 'static) {
        self.state().answers.insert(method.to_owned(), Box::new(answer));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the executor to stop. Call it from another thread.
    pub fn stop(&self, why: Stop) {
        self.stops.ask(why);
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.state().stdout.clone()
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> Vec<u8> {
        self.state().stderr.clone()
    }

    /// What the executor said for itself.
    pub fn executor_log(&self) -> Vec<u8> {
        self.state().executor.clone()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// The handles that were kept, the last one last.
    pub fn checkpoints(&self) -> Vec<Vec<u8>> {
        self.state().checkpoints.clone()
    }

    /// What was asked for.
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.state().requests.clone()
    }
}

impl crate::Host for Host {
    fn log(&self, stream: Stream, _time_ns: u64, data: &[u8]) -> Result<()> {
        let mut state = self.state();
        match stream {
            Stream::Stdout => state.stdout.extend_from_slice(data),
            Stream::Stderr => state.stderr.extend_from_slice(data),
            Stream::Executor => state.executor.extend_from_slice(data),
        }
        Ok(())
    }

    fn event(&self, event: Event) {
        self.state().events.push(event);
    }

    fn checkpoint(&self, handle: &[u8]) -> Result<()> {
        self.state().checkpoints.push(handle.to_vec());
        Ok(())
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        let Some((when, why)) = self.stop_at else { return self.stops.wait(limit) };
        let left = when.saturating_duration_since(Instant::now());
        if let Some(stop) = self.stops.wait(limit.min(left)) {
            return Some(stop);
        }
        if limit >= left {
            self.stops.ask(why);
        }
        self.stops.wait(Duration::ZERO)
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        self.stops.add(call)
    }

    fn no_stop(&self, id: u64) {
        self.stops.remove(id);
    }

    fn request(&self, method: &str, json: &Value) -> Result<Value> {
        let mut state = self.state();
        state.requests.push((method.to_owned(), json.clone()));
        match state.answers.get(method) {
            Some(answer) => answer(json),
            None => Err(Error::new(crate::Kind::Unsupported, format!("there is no method '{method}'"))),
        }
    }
}
