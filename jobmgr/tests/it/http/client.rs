//! A server in a temporary directory, and a client that sends what it is told, byte for byte.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jobmgr::blobs::Blobs;
use jobmgr::config;
use jobmgr::domain::executor::Executors;
use jobmgr::domain::job::{Artifact, Claim, Ended, Finish, JobId, Log, Parameters, Reason, Status};
use jobmgr::domain::submission::NewJob;
use jobmgr::http::{self, Abouts, Api, Audit, Gate};
use jobmgr::jobspecs::Jobspecs;
use jobmgr::secrets::Secrets;
use jobmgr::store::{Claiming, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here takes that long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A server without a worker: the tests say how jobs end.
pub struct Server {
    pub api: Api,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: JoinHandle<io::Result<()>>,
    pub dir: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Server {
        Self::with(config::Server::default()).await
    }

    pub async fn with(config: config::Server) -> Server {
        Self::make(config, config::Limits::default(), true).await
    }

    pub async fn limited(config: config::Server, limits: config::Limits) -> Server {
        Self::make(config, limits, true).await
    }

    /// As `jobmgr serve --no-worker`: what is known of jobs is what workers publish.
    pub async fn without_worker() -> Server {
        Self::make(config::Server::default(), config::Limits::default(), false).await
    }

    async fn make(mut config: config::Server, limits: config::Limits, works_here: bool) -> Server {
        let dir = tempfile::tempdir().unwrap();
        config.jobspecs = dir.path().join("jobspecs");
        std::fs::create_dir(&config.jobspecs).unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let database = config::Database { url: Some(format!("sqlite:{}", at("jobmgr.db"))), ..Default::default() };
        let storage = config::Storage { url: Some(format!("file:{}", at("store"))), ..Default::default() };
        let store = Store::open(&database).await.unwrap();
        let secrets = Secrets::new(&config::Secrets::default(), &database, store.installation()).unwrap();
        let api = Api {
            abouts: Abouts::new(store.clone(), Jobspecs::new(config.jobspecs.clone()), works_here),
            gate: Arc::new(Gate::new(store.clone(), config.auth, limits)),
            audit: Audit::start(store.clone()),
            queues: Arc::default(),
            store,
            executors: Executors::new(Vec::new),
            blobs: Blobs::open(&storage, None).unwrap(),
            secrets,
            targets: Arc::default(),
            config: Arc::new(config),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(http::serve(listener, api.clone(), stop.clone()));
        Server { api, address, stop, serving, dir }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request as it is, and reads until the server closes.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        Reply::read(&mut stream).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    pub async fn post(&self, path: &str, kind: &str, body: &str) -> Reply {
        let length = body.len();
        let headers = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        self.send(head + body).await
    }

    /// Sends a body of JSON, with further headers.
    pub async fn send_json(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let headers = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        self.send(head + body).await
    }

    /// Writes a jobspec.
    pub fn spec(&self, name: &str, text: &str) {
        std::fs::write(self.api.config.jobspecs.join(format!("{name}.toml")), text).unwrap();
    }

    pub async fn start_job(&self, form: &str) -> Reply {
        self.post("/jobs/start", "application/x-www-form-urlencoded", form).await
    }

    /// A job that a worker has begun.
    pub async fn claimed(&self, name: &str) -> Claim {
        let parameters = Parameters::from([("b".into(), "2".into()), ("a".into(), "1".into())]);
        let job = NewJob { name: name.into(), parameters, priority: 50, ..NewJob::default() };
        self.api.store.submit(job).await.unwrap();
        self.claim().await
    }

    /// The best queued job, begun.
    pub async fn claim(&self) -> Claim {
        let claiming = Claiming { worker: "worker".into(), lease: DEADLINE, scope: Arc::default() };
        self.api.store.claim(&claiming, 1).await.unwrap().pop().unwrap()
    }

    /// Ends it, well unless there is an `error`.
    pub async fn finish(&self, claim: &Claim, stdout: Log, error: Option<&str>, artifacts: Vec<Artifact>) {
        let (status, reason) = match error {
            Some(_) => (Status::Failed, Some(Reason::ExitCode)),
            None => (Status::Completed, None),
        };
        let ended = Ended {
            error: error.map(str::to_owned),
            exit_code: None,
            signal: None,
            stdout,
            stderr: Log::default(),
            output: None,
            warnings: vec![],
            artifacts,
            skipped: vec![],
            executor_log: Log::default(),
        };
        let finish = Arc::new(Finish { status, reason, attempt: claim.attempt, chunks: false, ended });
        assert!(self.api.store.finish(claim, finish, None).await.unwrap().is_some());
    }

    /// Puts `bytes` into the store under `key`; the artifact is not yet any job's.
    pub async fn artifact(&self, job: JobId, name: &str, mime: &str, bytes: &[u8]) -> Artifact {
        let path = self.dir.path().join("upload");
        std::fs::write(&path, bytes).unwrap();
        let key = format!("{job}/{name}");
        let file = std::fs::File::open(&path).unwrap();
        let uploaded = self.api.blobs.put_file(&key, file, bytes.len() as u64).await.unwrap();
        Artifact {
            id: 0,
            job_id: job,
            name: name.into(),
            mime: mime.into(),
            size: uploaded.size,
            uuid: "1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8".into(),
            sha256: uploaded.sha256,
            key,
            created_ms: 0,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads until the server closes; a connection that is cut ends it too.
    pub async fn read(stream: &mut TcpStream) -> Reply {
        let mut bytes = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes in time");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {read:?} {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Reply { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body of an answer in chunks; `None` where the last one is missing.
    pub fn dechunked(&self) -> Option<Vec<u8>> {
        assert_eq!(self.header("transfer-encoding"), "chunked");
        let (mut rest, mut body) = (self.body.as_slice(), Vec::new());
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
            rest = rest.get(line + 4 + length..)?;
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body, if it is JSON.
    pub fn json_or_null(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    #[track_caller]
    pub fn assert(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }

    /// The classic error.
    #[track_caller]
    pub fn assert_error(&self, code: &str) {
        self.assert(200, &format!("{{\"status\":\"error\",\"error\":\"{code}\"}}\n"));
        assert_eq!(self.header("content-type"), "application/json");
    }
}
