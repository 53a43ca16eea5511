use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Client, Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::grants::Grant;

/// Read and sent at once.
const PIECE: usize = 256 << 10;
/// The pause before a file is tried again: doubled each time.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a file may go without a piece being taken or coming, or an answer.
pub(super) const STALLED: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(30);
/// How much is read of a refusal, in bytes, and for how long.
const MOST_SAID: usize = 4096;
const SAYING: Duration = Duration::from_secs(10);

/// What is uploaded.
pub(super) enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// What was uploaded.
#[derive(Debug)]
pub(super) struct Sent {
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Uploads files.
pub(super) struct Put {
    client: Result<Client, String>,
    patience: Duration,
}

/// Why something did not go over.
pub(super) enum Failed {
    /// Trying again may help.
    Now(String),
    Always(String),
}

impl Put {
    pub fn new(patience: Duration) -> Self {
        Self { client: client(), patience }
    }

    /// Uploads one file; tries again while the other side is away.
    pub async fn put(&self, grant: &Grant, source: &Source) -> Result<Sent, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        tried(self.patience, || put_once(client, grant, source)).await
    }
}

/// Talks to whoever takes and gives files.
pub(super) fn client() -> Result<Client, String> {
    // The second one that does so in a process is told that it was done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().connect_timeout(CONNECT).redirect(reqwest::redirect::Policy::none()).build();
    client.map_err(|error| told(&error))
}

/// Tries again while the other side is away.
pub(super) async fn tried<T>(patience: Duration, once: impl AsyncFn() -> Result<T, Failed>) -> Result<T, String> {
    let until = Instant::now() + patience;
    let mut pause = PAUSE;
    loop {
        let why = match once().await {
            Ok(done) => return Ok(done),
            Err(Failed::Always(why)) => return Err(why),
            Err(Failed::Now(why)) => why,
        };
        if Instant::now() + pause > until {
            return Err(why);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What an answer says that is none of success.
pub(super) async fn refused(answer: reqwest::Response) -> Failed {
    let status = answer.status();
    let mut text = Vec::new();
    let read = async {
        let mut pieces = answer.bytes_stream();
        while let Some(Ok(piece)) = pieces.next().await
            && text.len() < MOST_SAID
        {
            text.extend_from_slice(&piece);
        }
    };
    // What it says is of use, and not waited for.
    drop(tokio::time::timeout(SAYING, read).await);
    let text = String::from_utf8_lossy(&text);
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    let why = format!("{status}: {text}");
    let now = status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if now { Failed::Now(why) } else { Failed::Always(why) }
}

async fn put_once(client: &Client, grant: &Grant, source: &Source) -> Result<Sent, Failed> {
    let method = Method::from_bytes(grant.method.as_bytes()).map_err(|error| Failed::Always(error.to_string()))?;
    let reading = Reading::open(source).await.map_err(|error| Failed::Always(error.to_string()))?;
    let size = reading.size;
    if grant.max_bytes.is_some_and(|max| size > max) {
        let max = grant.max_bytes.unwrap_or_default();
        return Err(Failed::Always(format!("it has {size} bytes; grant {} is for at most {max}", grant.slot)));
    }
    let state = Arc::clone(&reading.state);
    let mut request = client.request(method, &grant.url).header(CONTENT_LENGTH, size);
    for (name, value) in &grant.headers {
        request = request.header(name, value);
    }
    let sending = request.body(reading.body()).send();
    tokio::pin!(sending);
    let mut seen = 0;
    let answer = loop {
        tokio::select! {
            answer = &mut sending => break answer,
            () = sleep(STALLED) => {
                let now = state.taken.load(Ordering::Relaxed);
                if now == seen {
                    return Err(Failed::Now(format!("nothing of it was taken for {STALLED:?}")));
                }
                seen = now;
            }
        }
    };
    if let Some(error) = lock(&state.failed).take() {
        return Err(Failed::Always(error));
    }
    // The address is a secret: it is in the error's text otherwise.
    let answer = answer.map_err(|error| Failed::Now(told(&error.without_url())))?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    match lock(&state.sha256).take() {
        Some(sha256) => Ok(Sent { size, sha256 }),
        None => Err(Failed::Now("it was answered before all of it was sent".to_owned())),
    }
}

/// What is known of a file while it is sent.
#[derive(Default)]
struct State {
    taken: AtomicU64,
    sha256: Mutex<Option<String>>,
    failed: Mutex<Option<String>>,
}

struct Reading {
    file: Box<dyn tokio::io::AsyncRead + Send + Sync + Unpin>,
    size: u64,
    left: u64,
    hash: Sha256,
    state: Arc<State>,
}

impl Reading {
    async fn open(source: &Source) -> io::Result<Self> {
        let (file, size): (Box<dyn tokio::io::AsyncRead + Send + Sync + Unpin>, u64) = match source {
            Source::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                let size = file.metadata().await?.len();
                (Box::new(file), size)
            }
            Source::Bytes(bytes) => (Box::new(io::Cursor::new(bytes.clone())), bytes.len() as u64),
        };
        Ok(Self { file, size, left: size, hash: Sha256::new(), state: Arc::default() })
    }

    /// Exactly as many bytes as it had when it was opened.
    fn body(mut self) -> Body {
        if self.size == 0 {
            self.finish();
            return Body::from(Vec::new());
        }
        Body::wrap_stream(stream::try_unfold(self, |mut reading| async move {
            match reading.piece().await {
                Ok(piece) => Ok(piece.map(|piece| (piece, reading))),
                Err(error) => {
                    *lock(&reading.state.failed) = Some(format!("it can't be read: {error}"));
                    Err(error)
                }
            }
        }))
    }

    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE);
        let mut piece = vec![0; wanted];
        let count = self.file.read(&mut piece).await?;
        if count == 0 {
            return Err(io::Error::other(format!("it became shorter than {} bytes while it was sent", self.size)));
        }
        piece.truncate(count);
        self.hash.update(&piece);
        self.left -= count as u64;
        self.state.taken.fetch_add(count as u64, Ordering::Relaxed);
        if self.left == 0 {
            self.finish();
        }
        Ok(Some(piece.into()))
    }

    fn finish(&mut self) {
        let hash = std::mem::take(&mut self.hash).finalize();
        *lock(&self.state.sha256) = Some(hash.iter().map(|byte| format!("{byte:02x}")).collect());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with what caused it.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
