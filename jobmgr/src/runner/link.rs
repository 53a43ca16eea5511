//! The worker's end of the line to a runner.

use std::io;
use std::time::Duration;

use jobmgr_plugin_api::{Event, Outcome, Stop, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::wire::{self, Frame, Frames, Type};
use super::{Request, platform};

/// How long a runner may take to end what it runs, and itself, when its line closes.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a new runner may take to say that it is ready.
const START: Duration = Duration::from_secs(30);

/// A runner process; one job at a time.
pub struct Runner {
    process: platform::Process,
    frames: Frames<Box<dyn AsyncRead + Send + Unpin>>,
    out: Box<dyn AsyncWrite + Send + Unpin>,
    job: u32,
}

/// What a running job says.
#[derive(Debug)]
pub enum Said {
    /// What was written.
    Log {
        /// To which stream.
        stream: Stream,
        /// When, in nanoseconds since 1970; 0: that is not known.
        time_ns: u64,
        /// The bytes.
        data: bytes::Bytes,
    },
    /// Progress or a warning.
    Event(Event),
    /// A handle to keep; is answered.
    Checkpoint(bytes::Bytes),
    /// A method, and what it takes; is answered.
    Request(String, serde_json::Value),
    /// The end; the runner can take the next job.
    Done(Result<Outcome, Failure>),
}

/// How an attempt failed that did not end by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The jobspec, its options or its command are wrong.
    #[error("{0}")]
    Invalid(String),
    /// The executor failed.
    #[error("{0}")]
    Executor(String),
    /// The executor could not do it now.
    #[error("{0}")]
    Retry(String),
    /// The executor left the job running, or can't say more: it was asked to stop.
    #[error("{0}")]
    Stopped(String),
    /// The executor can't find a job any more that it had begun.
    #[error("{0}")]
    Lost(String),
    /// The job has a process that nothing ends.
    #[error("{0}")]
    Unkillable(String),
    /// The runner died.
    #[error("{0}")]
    Died(String),
}

impl Runner {
    /// Starts a runner and waits until it is ready.
    ///
    /// # Errors
    /// When no process can be started.
    pub async fn start() -> io::Result<Runner> {
        let platform::Started { process, input, out, .. } = platform::start_runner(platform::Kind::Own)?;
        let mut runner = Runner { process, frames: Frames::new(input), out, job: 0 };
        match tokio::time::timeout(START, runner.frames.next()).await {
            Ok(Ok(Some(Frame { kind: Type::Ready, payload, .. }))) if payload == env!("CARGO_PKG_VERSION") => {
                Ok(runner)
            }
            Ok(Ok(Some(Frame { kind: Type::Ready, payload, .. }))) => Err(io::Error::other(format!(
                "the jobmgr on disk is now version {}, this one is {}: restart the server",
                String::from_utf8_lossy(&payload),
                env!("CARGO_PKG_VERSION")
            ))),
            Ok(Ok(_)) => Err(io::Error::other("the runner ended before it was ready")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the runner was not ready within 30 s")),
        }
    }

    /// Gives it a job.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn run(&mut self, request: &Request) -> io::Result<()> {
        self.job = self.job.wrapping_add(1);
        let json = serde_json::to_vec(request).map_err(io::Error::other)?;
        self.out.write_all(&wire::encode(Type::Run, self.job, &json)).await?;
        self.out.flush().await
    }

    /// Asks the running job to stop.
    ///
    /// # Errors
    /// When the runner is gone.
    pub async fn stop(&mut self, why: Stop) -> io::Result<()> {
        let why = if why == Stop::Timeout { 3 } else { 1 };
        self.out.write_all(&wire::encode(Type::Stop, self.job, &[why])).await?;
        self.out.flush().await
    }

    /// What the job says next. May be cancelled.
    pub async fn next(&mut self) -> Said {
        match self.frames.next().await {
            Ok(Some(frame)) => understand(frame),
            Ok(None) => Said::Done(Err(Failure::Died(self.process.epitaph().await))),
            Err(error) => Said::Done(Err(Failure::Died(error.to_string()))),
        }
    }

    /// Ends the runner and everything that it runs; returns when it is gone.
    pub async fn end(self) {
        let Runner { mut process, frames, out, .. } = self;
        drop(out);
        drop(frames);
        if tokio::time::timeout(FAREWELL, process.wait()).await.is_err() {
            process.kill().await;
        }
    }

    /// The runner's process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }
}

pub(super) fn understand(frame: Frame) -> Said {
    let mut payload = frame.payload;
    let broken = |what: &str| Said::Done(Err(Failure::Died(format!("the line to the runner is broken: {what}"))));
    match frame.kind {
        Type::Log if !payload.is_empty() => match wire::take_log_head(&mut payload) {
            Some((stream, time_ns)) => Said::Log { stream, time_ns, data: payload },
            None => broken("a log"),
        },
        Type::Event => serde_json::from_slice(&payload)
            .map_or_else(|_| broken("an event"), |json| Said::Event(Event::from_json(json))),
        Type::Checkpoint => Said::Checkpoint(payload),
        Type::Request => serde_json::from_slice(&payload)
            .map_or_else(|_| broken("a request"), |(method, json)| Said::Request(method, json)),
        Type::Done if !payload.is_empty() => {
            let status = payload.split_to(1)[0];
            let text = || String::from_utf8_lossy(&payload).into_owned();
            match status {
                0 => match serde_json::from_slice(&payload) {
                    Ok(outcome) => Said::Done(Ok(outcome)),
                    Err(_) => broken("an outcome"),
                },
                1 => Said::Done(Err(Failure::Invalid(text()))),
                3 => Said::Done(Err(Failure::Retry(text()))),
                5 => Said::Done(Err(Failure::Stopped(text()))),
                7 => Said::Done(Err(Failure::Lost(text()))),
                9 => Said::Done(Err(Failure::Unkillable(text()))),
                _ => Said::Done(Err(Failure::Executor(text()))),
            }
        }
        _ => broken("a frame that only a worker sends"),
    }
}
