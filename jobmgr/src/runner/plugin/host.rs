use std::collections::HashMap;
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use jobmgr_plugin_api::{Error, Event, Host, Kind, OnStop, Result, Stop, Stops, Stream};
use serde_json::Value;

use crate::runner::wire::{self, Type};

/// The line to the worker, and the calls that go on.
pub(super) struct Line {
    out: Mutex<File>,
    calls: Mutex<HashMap<u32, Going>>,
}

/// What the reader of the line needs of a call.
struct Going {
    stops: Arc<Stops>,
    answers: Sender<Bytes>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    pub(super) fn new(out: File) -> Self {
        Self { out: Mutex::new(out), calls: Mutex::default() }
    }

    /// Sends a frame; an error means that the worker is gone.
    pub(super) fn send(&self, kind: Type, call: u32, first: &[u8], rest: &[u8]) -> std::io::Result<()> {
        wire::write(&mut *lock(&self.out), kind, call, first, rest)
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>, number: u32) -> Calling {
        let (answers, answered) = channel();
        let stops = Arc::new(Stops::default());
        lock(&self.calls).insert(number, Going { stops: Arc::clone(&stops), answers });
        Calling { line: Arc::clone(self), number, stops, answered: Mutex::new(answered) }
    }

    /// The worker answers what a call has asked.
    pub(super) fn answer(&self, number: u32, payload: Bytes) {
        if let Some(going) = lock(&self.calls).get(&number) {
            // A call that has ended asks for nothing more.
            drop(going.answers.send(payload));
        }
    }

    /// The worker asks for a stop. What the executor does about it may take long, and the line is to be read meanwhile.
    pub(super) fn stop(&self, number: u32, why: Stop) {
        if let Some(going) = lock(&self.calls).get(&number) {
            let stops = Arc::clone(&going.stops);
            std::thread::spawn(move || stops.ask(why));
        }
    }
}

/// What one call of the executor sees.
pub(super) struct Calling {
    line: Arc<Line>,
    number: u32,
    stops: Arc<Stops>,
    /// Held from a question to its answer.
    answered: Mutex<Receiver<Bytes>>,
}

impl Calling {
    /// Says how the call ended. No frame of it follows.
    pub(super) fn done(self, status: i32, json: &[u8]) -> std::io::Result<()> {
        lock(&self.line.calls).remove(&self.number);
        self.line.send(Type::Done, self.number, &[u8::try_from(status).unwrap_or(2)], json)
    }

    fn ask(&self, kind: Type, first: &[u8], rest: &[u8]) -> Result<Bytes> {
        let answered = lock(&self.answered);
        self.send(kind, first, rest)?;
        let gone = || Error::new(Kind::Stopped, "the worker is gone");
        let mut answer = answered.recv().map_err(|_| gone())?;
        if answer.len() < 4 {
            return Err(gone());
        }
        match answer.get_i32_le() {
            0 => Ok(answer),
            status => Err(Error::new(Kind::from_status(status), String::from_utf8_lossy(&answer).into_owned())),
        }
    }

    fn send(&self, kind: Type, first: &[u8], rest: &[u8]) -> Result<()> {
        self.line.send(kind, self.number, first, rest).map_err(|error| Error::failed(error.to_string()))
    }
}

impl Host for Calling {
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        let head = wire::log_head(stream, time_ns);
        data.chunks(wire::MAX_LOG).try_for_each(|piece| self.send(Type::Log, &head, piece))
    }

    fn event(&self, event: Event) {
        let json = event.to_json().to_string();
        if json.len() < wire::MAX {
            // An event that can't be sent has nobody left to read it.
            drop(self.send(Type::Event, json.as_bytes(), &[]));
        }
    }

    fn checkpoint(&self, handle: &[u8]) -> Result<()> {
        self.ask(Type::Checkpoint, handle, &[]).map(drop)
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.stops.wait(limit)
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        self.stops.add(call)
    }

    fn no_stop(&self, id: u64) {
        self.stops.remove(id);
    }

    fn request(&self, method: &str, json: &Value) -> Result<Value> {
        let asked = serde_json::json!([method, json]).to_string();
        let answer = self.ask(Type::Request, asked.as_bytes(), &[])?;
        serde_json::from_slice(&answer).map_err(|error| Error::failed(format!("{method}: {error}")))
    }
}
