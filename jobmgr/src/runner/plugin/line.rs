use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobmgr_plugin_api::{Error, Kind, Stop};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Loaded;
use crate::metrics;
use crate::runner::link::{Failure, Said, understand};
use crate::runner::platform::{self, Kind as Runs};
use crate::runner::wire::{self, Frame, Frames, Type};

/// How long a runner may take to end what it runs, and itself, when its line closes.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a runner may take to take a frame. Its own thread reads the line, whatever the library does, unless
/// something has stopped the process; who waits for it would wait for ever.
const TAKING: Duration = Duration::from_secs(10);
/// How many frames of a call wait for whoever listens to it.
const WAITING: usize = 64;
/// How much of what a library prints is kept: the end of it.
const OWN: usize = 64 << 10;
/// How long what a library has printed is still read when its process has ended and another one holds the pipes.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a runner opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The library, as [`find`](super::find) gives it.
    pub path: PathBuf,
    /// `[Executors.NAME.Config]`
    pub config: Value,
    /// How much memory its process may have, in bytes.
    pub memory: Option<u64>,
    /// `first` or `larger`: another table than this version's; for `jobmgr plugin check`.
    pub shown: Option<String>,
}

/// Which function of an executor is called.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// With options.
    Validate,
    /// With a job.
    Run,
    /// With a job; where it has never begun, it is run.
    Recover {
        /// The last handle that it kept.
        handle: Option<Vec<u8>>,
    },
    /// With a job.
    Cleanup {
        /// The last handle that it kept.
        handle: Option<Vec<u8>>,
    },
}

/// A runner process with a library in it; cheap to clone. It ends when the last one is dropped.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
    pub(super) loaded: Arc<Loaded>,
}

struct Shared {
    out: tokio::sync::Mutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>,
    calls: Mutex<Option<HashMap<u32, mpsc::Sender<Frame>>>>,
    last: AtomicU32,
    /// How it ended.
    fate: watch::Receiver<Option<String>>,
    closing: CancellationToken,
    own: Arc<Mutex<Vec<u8>>>,
    pid: Option<u32>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// A runner whose library is being opened. Dropped, it ends.
pub struct Loading {
    shared: Arc<Shared>,
    frames: mpsc::Receiver<Frame>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loading {
    /// Starts a runner for a library, with some variables in its environment.
    ///
    /// # Errors
    /// When no process can be started.
    pub async fn start(load: &Load, env: Vec<(String, String)>) -> std::io::Result<Self> {
        let started = platform::start_runner(Runs::Plugin(env))?;
        let (tell, fate) = watch::channel(None);
        let (to_loading, frames) = mpsc::channel(WAITING);
        let own = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared {
            out: tokio::sync::Mutex::new(Some(started.out)),
            calls: Mutex::new(Some(HashMap::from([(0, to_loading)]))),
            last: AtomicU32::new(0),
            fate,
            closing: CancellationToken::new(),
            own: Arc::clone(&own),
            pid: started.process.pid(),
        });
        let printed = started.printed.into_iter().map(|pipe| tokio::spawn(keep(pipe, Arc::clone(&own)))).collect();
        let reader = Reader { process: started.process, frames: Frames::new(started.input), printed, tell };
        let closing = shared.closing.clone();
        tokio::spawn(reader.run(Arc::downgrade(&shared), closing));
        let json = serde_json::to_vec(load).map_err(std::io::Error::other)?;
        // One that has died already says so when it is asked how it went.
        drop(shared.send(Type::Load, 0, &json).await);
        Ok(Self { shared, frames })
    }

    /// Waits until the library is open. May be cancelled. `sound` looks at its configuration once it has said which
    /// keys it has.
    ///
    /// # Errors
    /// Why it can't be used.
    pub async fn ready(&mut self, sound: impl Fn(&Loaded) -> Result<(), Failure>) -> Result<Runner, Failure> {
        let mut described = None;
        loop {
            let Some(frame) = self.frames.recv().await else {
                return Err(Failure::Died(self.shared.epitaph().await));
            };
            match frame.kind {
                Type::Ready if frame.payload != env!("CARGO_PKG_VERSION") => {
                    return Err(Failure::Executor("the jobmgr on disk is another version: restart the server".into()));
                }
                Type::Described => {
                    let loaded: Loaded = serde_json::from_slice(&frame.payload)
                        .map_err(|error| Failure::Executor(format!("what it says of itself can't be read: {error}")))?;
                    sound(&loaded)?;
                    described = Some(loaded);
                }
                Type::Loaded => {
                    let unknown = || Failure::Executor("it has not said what it is".into());
                    let loaded = Arc::new(described.ok_or_else(unknown)?);
                    return Ok(Runner { shared: Arc::clone(&self.shared), loaded });
                }
                Type::Done => match understand(frame) {
                    Said::Done(Err(failure)) => return Err(failure),
                    _ => return Err(Failure::Executor("it ended while it was opened".into())),
                },
                // What it logs while it is opened has no job.
                _ => {}
            }
        }
    }

    /// Ends the runner; returns when it is gone. What the library has printed.
    pub async fn end(self) -> Vec<u8> {
        self.shared.end().await
    }
}

impl Shared {
    async fn send(&self, kind: Type, call: u32, payload: &[u8]) -> std::io::Result<()> {
        let mut line = self.out.lock().await;
        let Some(out) = line.as_mut() else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        let frame = wire::encode(kind, call, payload);
        let write = async {
            out.write_all(&frame).await?;
            out.flush().await
        };
        match tokio::time::timeout(TAKING, write).await {
            Ok(written) => written,
            Err(_) => {
                // Half a frame may be on it.
                line.take();
                self.closing.cancel();
                Err(std::io::ErrorKind::TimedOut.into())
            }
        }
    }

    async fn epitaph(&self) -> String {
        let mut fate = self.fate.clone();
        match fate.wait_for(Option::is_some).await {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_) => "the executor's process ended before it gave a result".into(),
        }
    }

    async fn end(&self) -> Vec<u8> {
        self.closing.cancel();
        self.epitaph().await;
        std::mem::take(&mut lock(&self.own))
    }
}

impl Runner {
    /// What it has opened.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Whether its process is there, as far as is known.
    pub fn is_alive(&self) -> bool {
        self.shared.fate.borrow().is_none() && !self.shared.closing.is_cancelled()
    }

    /// What the library has printed and nobody has taken yet.
    pub fn printed(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.shared.own))
    }

    /// The runner's process id.
    pub fn pid(&self) -> Option<u32> {
        self.shared.pid
    }

    /// Begins a call; `json` is what the function takes: a job, or options.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn call(&self, work: &Work, json: &[u8]) -> Result<Call, Failure> {
        let number = self.shared.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let (listener, inbox) = mpsc::channel(WAITING);
        match &mut *lock(&self.shared.calls) {
            Some(calls) => drop(calls.insert(number, listener)),
            None => return Err(Failure::Died("the executor's process has ended".into())),
        }
        let head = serde_json::to_vec(work).map_err(|error| Failure::Executor(error.to_string()))?;
        let mut payload = Vec::with_capacity(4 + head.len() + json.len());
        payload.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend_from_slice(&head);
        payload.extend_from_slice(json);
        if payload.len() > wire::MAX {
            return Err(Failure::Invalid(format!("the job is larger than {} bytes", wire::MAX)));
        }
        let call = Call { shared: Arc::clone(&self.shared), number, inbox };
        match self.shared.send(Type::Call, number, &payload).await {
            Ok(()) => Ok(call),
            Err(_) => Err(Failure::Died(self.shared.epitaph().await)),
        }
    }

    /// Asks the executor whether options are right, beyond what its schema says.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: what is wrong with them; else why there is no answer.
    pub async fn validate(&self, options: &Value) -> Result<(), Failure> {
        let mut call = self.call(&Work::Validate, options.to_string().as_bytes()).await?;
        loop {
            if let Said::Done(result) = call.next().await {
                return result.map(drop);
            }
        }
    }

    /// Ends the runner and everything that it runs; returns when it is gone. What the library has printed.
    pub async fn end(self) -> Vec<u8> {
        self.shared.end().await
    }
}

/// A function of an executor that runs.
pub struct Call {
    shared: Arc<Shared>,
    number: u32,
    inbox: mpsc::Receiver<Frame>,
}

impl Call {
    /// What it says next. May be cancelled.
    pub async fn next(&mut self) -> Said {
        match self.inbox.recv().await {
            Some(frame) => understand(frame),
            None => {
                metrics::runner_died("library");
                Said::Done(Err(Failure::Died(self.shared.epitaph().await)))
            }
        }
    }

    /// Asks it to stop.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn stop(&self, why: Stop) -> std::io::Result<()> {
        let why = match why {
            Stop::Detach => 2,
            Stop::Timeout => 3,
            _ => 1,
        };
        self.shared.send(Type::Stop, self.number, &[why]).await
    }

    /// Answers a checkpoint or a request.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn answer(&self, answer: Result<Value, Error>) -> std::io::Result<()> {
        let (status, rest) = match answer {
            Ok(json) => (0, json.to_string()),
            Err(error) => (error.kind().status(), error.to_string()),
        };
        let mut payload = status.to_le_bytes().to_vec();
        payload.extend_from_slice(rest.as_bytes());
        self.shared.send(Type::Reply, self.number, &payload).await
    }

    /// Answers with a failure that stops the executor: the job is not this worker's any more.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn not_ours(&self) -> std::io::Result<()> {
        self.answer(Err(Error::new(Kind::Stopped, "the job is not this worker's any more"))).await
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(calls) = &mut *lock(&self.shared.calls) {
            calls.remove(&self.number);
        }
    }
}

/// Reads the line until it closes, and sees to the end of the process.
struct Reader {
    process: platform::Process,
    frames: Frames<Box<dyn AsyncRead + Send + Unpin>>,
    printed: Vec<tokio::task::JoinHandle<()>>,
    tell: watch::Sender<Option<String>>,
}

impl Reader {
    async fn run(mut self, shared: std::sync::Weak<Shared>, closing: CancellationToken) {
        let (broken, otherwise) = tokio::select! {
            broken = self.route(&shared) => (broken, "closed its line"),
            () = closing.cancelled() => (None, "did not read its line"),
        };
        if let Some(shared) = shared.upgrade() {
            // The line closes, and whoever still listens hears the end of it.
            shared.out.lock().await.take();
        }
        let status = tokio::time::timeout(FAREWELL, self.process.wait()).await;
        let killed = status.is_err();
        if killed {
            self.process.kill().await;
        }
        for printed in &mut self.printed {
            if tokio::time::timeout(LAST_WORDS, &mut *printed).await.is_err() {
                printed.abort();
            }
        }
        let text = match (broken, status) {
            (Some(broken), _) => broken,
            (None, Ok(Some(status))) => platform::epitaph(status),
            (None, _) => format!("the executor's process {otherwise} before it gave a result"),
        };
        self.tell.send_replace(Some(text));
        if let Some(shared) = shared.upgrade() {
            lock(&shared.calls).take();
        }
    }

    /// Gives each call its frames until the line closes; what was wrong with it.
    async fn route(&mut self, shared: &std::sync::Weak<Shared>) -> Option<String> {
        loop {
            let frame = match self.frames.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    let text = error.to_string();
                    let what = text.strip_prefix(wire::BROKEN).unwrap_or(&text);
                    return Some(format!("the executor broke the protocol: {what}"));
                }
                Err(_) => return None,
            };
            let listener = shared.upgrade().and_then(|shared| lock(&shared.calls).as_ref()?.get(&frame.job).cloned());
            if let Some(listener) = listener {
                // Whoever listened may be gone.
                drop(listener.send(frame).await);
            }
        }
    }
}

/// Keeps the end of what a library prints.
async fn keep(mut pipe: Box<dyn AsyncRead + Send + Unpin>, own: Arc<Mutex<Vec<u8>>>) {
    let mut piece = vec![0; 8 << 10];
    while let Ok(count) = pipe.read(&mut piece).await {
        if count == 0 {
            return;
        }
        let mut own = lock(&own);
        own.extend_from_slice(&piece[..count]);
        let over = own.len().saturating_sub(OWN);
        own.drain(..over);
    }
}
