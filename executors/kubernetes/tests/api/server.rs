//! An API server in memory, as far as the executor asks one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::objects::{self, Objects};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that ends with this.
pub struct Server {
    shared: Arc<Mutex<Objects>>,
    port: u16,
    folder: tempfile::TempDir,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    query: Vec<(String, String)>,
    pub body: Value,
}

impl Request {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub enum Answer {
    Json(u16, Value),
    /// The output of a pod.
    Log {
        pod: String,
        follow: bool,
        since: Option<String>,
    },
    /// What happens to objects of this kind (`jobs`, `pods`) after this version.
    Watch {
        kind: String,
        from: u64,
    },
    /// Nothing: the connection is closed.
    Close,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Objects::default()));
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(shared) = weak.upgrade() else { return };
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { shared, port, folder: tempfile::tempdir().unwrap() }
    }

    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.shared)
    }

    /// Waits until it is so.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&mut Objects) -> bool) {
        let until = Instant::now() + LIMIT;
        while !is_so(&mut self.objects()) {
            assert!(Instant::now() < until, "not within a minute: {what}; requests: {:?}", self.objects().requests);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{}", self.port)}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "jobs"}}],
        });
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, text.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.shared).is_over = true;
        self.shared = Arc::default();
        // It waits for one more.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request per connection; who asked may be gone at any time.
fn serve(mut stream: TcpStream, shared: &Mutex<Objects>) {
    let Some(request) = read(&stream) else { return };
    let answer = objects::answer(&mut lock(shared), &request);
    let _ = match answer {
        Answer::Close => Ok(()),
        Answer::Json(code, body) => {
            let body = body.to_string();
            let head = format!("HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nConnection: close\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Watch { kind, from } => watch(&mut stream, shared, &request, &kind, from),
        Answer::Log { pod, follow, since } => log(&mut stream, shared, &pod, follow, since.as_deref()),
    };
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut is_known) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        length = header.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
        is_known |= header == "authorization: bearer secret";
    }
    assert!(is_known, "without credentials: {line}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    Some(Request {
        method,
        path: path.to_owned(),
        query: query.map(|(name, value)| (name.to_owned(), decoded(value))).collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(out).unwrap()
}

/// In chunks, as they come; a break is one in the middle of a chunk.
fn log(
    stream: &mut TcpStream,
    shared: &Mutex<Objects>,
    pod: &str,
    follow: bool,
    since: Option<&str>,
) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut given = 0;
    loop {
        let (text, is_over, cut) = {
            let mut objects = lock(shared);
            let text = objects.log_text(pod, since);
            let cut = objects.cuts.pop_if(|cut| text.len() > *cut);
            (text, !follow || objects.is_log_over(pod), cut)
        };
        if let Some(cut) = cut {
            let some = &text.as_bytes()[given.min(cut)..cut];
            write!(stream, "{:x}\r\n", some.len() + 100)?;
            return stream.write_all(some);
        }
        if text.len() > given {
            let new = &text.as_bytes()[given..];
            write!(stream, "{:x}\r\n", new.len())?;
            stream.write_all(new)?;
            write!(stream, "\r\n")?;
            given = text.len();
        }
        if is_over {
            return write!(stream, "0\r\n\r\n");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Event after event, as they happen, until the connection is cut or the version is forgotten.
fn watch(
    stream: &mut TcpStream,
    shared: &Mutex<Objects>,
    request: &Request,
    kind: &str,
    from: u64,
) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")?;
    write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?;
    let (mut given, cuts) = (from, lock(shared).watch_cuts);
    loop {
        let (events, is_over) = {
            let mut objects = lock(shared);
            let events = objects.events_after(kind, given);
            given = objects.version();
            (events, objects.is_over || objects.watch_cuts != cuts || objects.refuses(request))
        };
        for event in events {
            let (text, is_last) = (format!("{event}\n"), event["type"] == "ERROR");
            write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
            if is_last {
                return write!(stream, "0\r\n\r\n");
            }
        }
        if is_over {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
}
