//! What an executor may ask of jobmgr while it runs a job.

use std::time::Duration;

use crate::{Error, Logged, Result};

/// Where output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// The job's standard output.
    Stdout,
    /// The job's standard error.
    Stderr,
    /// What the executor itself has to say: for who runs it, not for who runs the job.
    Executor,
}

/// Why a job has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Somebody asked for it, or the server ends.
    Cancel,
    /// The server goes away: the job goes on wherever it runs, and the call returns
    /// [`Error::stopped`]. Only executors that can [`recover`](crate::Recover) are asked for it.
    Detach,
    /// It ran longer than its jobspec allows.
    Timeout,
}

/// Something to tell about a running job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// How far it is; the last one counts. `{"progress": 42.5, "message": "text"}`
    Progress {
        /// 0 to 100.
        percent: f64,
        /// What it is doing.
        message: String,
    },
    /// Something that its owner should know; kept with the job. `{"warning": "text"}`
    Warning(String),
    /// Anything else; goes to the executor's log.
    Other(serde_json::Value),
}

impl Event {
    /// As it is written down.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Event::Progress { percent, message } => serde_json::json!({"progress": percent, "message": message}),
            Event::Warning(text) => serde_json::json!({"warning": text}),
            Event::Other(other) => other.clone(),
        }
    }

    /// From what was written down.
    pub fn from_json(json: serde_json::Value) -> Self {
        let text = |key: &str| json.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        if let Some(percent) = json.get("progress").and_then(serde_json::Value::as_f64) {
            return Event::Progress { percent, message: text("message") };
        }
        if json.get("warning").is_some_and(serde_json::Value::is_string) {
            return Event::Warning(text("warning"));
        }
        Event::Other(json)
    }
}

/// What is called when a stop is asked for.
pub type OnStop = Box<dyn FnMut(Stop) + Send>;

/// The other side of a [`Context`]: the runner, or [`test::Host`](crate::test::Host).
pub trait Host: Sync {
    /// Appends to a stream what was written at `time_ns`, in nanoseconds since 1970, 0: now. Blocks while the server is
    /// slower.
    ///
    /// # Errors
    /// When the server is gone.
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()>;
    /// Tells something; may be merged with later ones.
    fn event(&self, event: Event);
    /// Keeps a handle for [`recover`](crate::Recover::recover); returns once it is on disk.
    ///
    /// # Errors
    /// When it can't be kept: [`Kind::Stopped`](crate::Kind::Stopped) where the job is not this server's any more.
    fn checkpoint(&self, handle: &[u8]) -> Result<()>;
    /// Waits for a stop, at most `limit`.
    fn wait_stop(&self, limit: Duration) -> Option<Stop>;
    /// Has `call` called, once, on a thread of the host, when a stop is asked for; at once if one already was. Gives
    /// what [`no_stop`](Self::no_stop) needs.
    fn on_stop(&self, call: OnStop) -> u64;
    /// Takes a call back, and returns only when it is not running.
    fn no_stop(&self, id: u64);
    /// Asks for anything else.
    ///
    /// # Errors
    /// What the server says; [`Kind::Unsupported`](crate::Kind::Unsupported) for a method that it does not know.
    fn request(&self, method: &str, json: &serde_json::Value) -> Result<serde_json::Value>;
    /// What of the output jobmgr has by now, where the host counts it.
    fn logged(&self) -> Option<[Logged; 2]> {
        None
    }
}

/// The executor's handle to jobmgr, good for one call. May be used from any thread.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    host: &'a dyn Host,
}

impl<'a> Context<'a> {
    /// Wraps a host.
    pub fn new(host: &'a dyn Host) -> Self {
        Self { host }
    }

    /// What it wraps.
    pub(crate) fn host(&self) -> &'a dyn Host {
        self.host
    }

    /// Appends to the job's standard output.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn stdout(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.host.log(Stream::Stdout, 0, data.as_ref())
    }

    /// Appends to the job's standard error.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn stderr(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.host.log(Stream::Stderr, 0, data.as_ref())
    }

    /// Appends to a stream.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn log(&self, stream: Stream, data: &[u8]) -> Result<()> {
        self.host.log(stream, 0, data)
    }

    /// Appends to a stream what was written at another time: nanoseconds since 1970.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn log_at(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        self.host.log(stream, time_ns, data)
    }

    /// Says how far the job is: 0 to 100, and what it is doing.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        self.host.event(Event::Progress { percent, message: message.into() });
    }

    /// Leaves a note with the job that its owner should read.
    pub fn warn(&self, message: impl Into<String>) {
        self.host.event(Event::Warning(message.into()));
    }

    /// Tells something that this version has no name for.
    pub fn event(&self, event: serde_json::Value) {
        self.host.event(Event::from_json(event));
    }

    /// Keeps a handle, at most 64 KiB, which [`recover`](crate::Recover::recover) is given in another process when this
    /// one is gone. The last one counts. It is on disk when this returns.
    ///
    /// # Errors
    /// When it can't be kept: [`Kind::Stopped`](crate::Kind::Stopped) where the job is not this server's any more.
    pub fn checkpoint(&self, handle: impl AsRef<[u8]>) -> Result<()> {
        let handle = handle.as_ref();
        if handle.len() > MAX_HANDLE {
            let size = handle.len();
            return Err(Error::failed(format!("a handle of {size} bytes: at most {MAX_HANDLE} are kept")));
        }
        self.host.checkpoint(handle)
    }

    /// The stop that was asked for, if one was.
    pub fn stop(&self) -> Option<Stop> {
        self.host.wait_stop(Duration::ZERO)
    }

    /// Waits for a stop, at most `limit`.
    pub fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.host.wait_stop(limit)
    }

    /// Sleeps, unless a stop is asked for.
    ///
    /// # Errors
    /// [`Kind::Stopped`](crate::Kind::Stopped) when it was.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        self.wait_stop(duration).map_or(Ok(()), |_| Err(Error::stopped()))
    }

    /// Has `call` called when a stop is asked for, to break a blocking call, until the guard is dropped.
    #[must_use = "the call is taken back when the guard is dropped"]
    pub fn on_stop(&self, call: impl FnMut(Stop) + Send + 'static) -> StopGuard<'a> {
        StopGuard { host: self.host, id: self.host.on_stop(Box::new(call)) }
    }

    /// Asks jobmgr for something, and waits for the answer. Arguments and answers are JSON objects:
    ///
    /// * `artifact.put {"name", "path"}` copies a plain file of jobmgr's own machine (an absolute path) into the job's
    ///   `artifacts/`; answers `{"size", "mime"}`. Here and below a name is a path below `artifacts/`, with `/`.
    /// * `artifact.grant {"name"?, "max_bytes"?, "ttl_s"?}` gives an address to which another machine can upload one
    ///   file, without any other right: `{"slot", "method": "PUT", "url", "headers", "expires", "max_bytes"}`, `expires`
    ///   in Unix seconds. It holds for `ttl_s` seconds, a week at most and by default. The same name has the same slot,
    ///   so that asking again renews an address. `{"count": N}`, at most 1000, in place of a name answers
    ///   `{"grants": [...]}`, for files whose names are not known yet.
    /// * `artifact.commit {"name", "slot"?, "size", "sha256"?}` lists what was uploaded among the job's artifacts, once
    ///   it has that size and SHA-256 (hexadecimal); without `slot` it is what was granted for the name. Answers
    ///   `{"size", "sha256", "mime"}`. To commit the same again does nothing. What is not committed when the job ends is
    ///   removed. An address can be used again until it expires: commit when the other side is done with it.
    /// * `artifact.read {"name" or "slot", "offset"?, "length"?}` reads what was uploaded, at most 1 MiB at once:
    ///   `{"size", "base64"}`, `size` being that of all of it; `null` when nothing was uploaded.
    ///
    /// Where the store is a bucket whose credentials can sign, it takes uploads itself: S3 at most 5 GiB in one, and no
    /// longer than temporary credentials live; otherwise the server does, at `[Server] PublicURL`. jobmgr remembers grants and commits of executors that can recover. For commands under
    /// `jobmgr wrap`, [`wrapped`](crate::wrapped) does all of this.
    ///
    /// # Errors
    /// What jobmgr says: [`Kind::Invalid`](crate::Kind::Invalid) for arguments that are wrong, a name that there is
    /// already and limits of artifacts; [`Kind::Failed`](crate::Kind::Failed) for an upload that is not there or not what
    /// it should be; [`Kind::Retry`](crate::Kind::Retry) where the store or the database is away;
    /// [`Kind::Stopped`](crate::Kind::Stopped) where a stop was asked for meanwhile;
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) for a method that it does not know, and for grants where neither
    /// the store nor the server can take uploads.
    pub fn request(&self, method: &str, json: &serde_json::Value) -> Result<serde_json::Value> {
        self.host.request(method, json)
    }
}

/// The largest handle, in bytes.
pub const MAX_HANDLE: usize = 64 << 10;

/// Takes the call of [`Context::on_stop`] back when it is dropped.
pub struct StopGuard<'a> {
    host: &'a dyn Host,
    id: u64,
}

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.host.no_stop(self.id);
    }
}
