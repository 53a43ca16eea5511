//! Artifacts of jobs that run where jobmgr is not: grants, uploads and commits, and `jobmgr wrap`.

/// What an executor asks for, one request after another.
mod asked;
/// `jobmgr wrap` by itself.
mod wrap;
/// Commands under `jobmgr wrap`, from their grants to the job's artifacts.
mod wrapped;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use jobmgr::domain::job::Job;
use serde_json::{Value, json};

use crate::detached::cluster::Cluster;
use crate::support::libraries::{built, install};
use crate::support::s3::S3;
use crate::support::server::{Home, Server, eventually};

/// With a short lease, so that nothing waits long for a dead holder.
const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"100ms\"\nDrain = \"20s\"\n";

struct Site {
    /// Before the folder that it works in.
    cluster: Cluster,
    home: Home,
}

impl Site {
    fn new(config: &str) -> Self {
        let home = Home::new(config);
        let library = install(&built("jobmgr-executor-remote"), &home.path("plugins"), "remote");
        let cluster = Cluster::new(&home.path("cluster"));
        let mut config = std::fs::read_to_string(home.path("config.toml")).unwrap();
        let (library, folder) = (library.display(), cluster.folder.display());
        config += &format!("\n[Executors.remote]\nPlugin = '{library}'\nConfig = {{ Folder = '{folder}' }}\n");
        std::fs::write(home.path("config.toml"), config).unwrap();
        Self { cluster, home }
    }

    /// With artifacts in a bucket; `None`, after saying so, where there is no server for that.
    fn on_s3(prefix: &str) -> Option<Self> {
        // Two runs of the tests may share nothing but the name.
        Some(Self::new(&format!("{CONFIG}{}", S3::shared()?.config(prefix))))
    }

    /// A jobspec of a script that runs under `jobmgr wrap`, in the cluster's folder.
    fn wrapped(&self, name: &str, script: &str, files: u32) {
        let script = format!("cd '{}'; {script}", self.cluster.folder.display());
        let options = format!("Options = {{ Wrap = '{}', Files = {files} }}", env!("CARGO_BIN_EXE_jobmgr"));
        self.home.sh(name, &script, &format!("Executor = \"remote\"\n{options}"));
    }

    /// Starts a server at a place that stays the same.
    fn serve_at(&self, address: std::net::SocketAddr) -> Server {
        let mut command = self.home.jobmgr(&["serve"]);
        command.env("JOBMGR_SERVER__LISTEN", address.to_string());
        self.home.serve_by(command)
    }

    fn ended(&self, server: &Server, id: i64) -> Job {
        eventually("the job ends", || !matches!(server.job(id)["job"]["status"].as_str(), Some("queued" | "started")));
        self.home.stored(id)
    }
}

/// Asks of jobmgr through a job's executor.
struct Asking<'s> {
    site: &'s Site,
    id: i64,
    asked: std::cell::Cell<usize>,
}

impl<'s> Asking<'s> {
    fn begin(site: &'s Site, server: &Server) -> Self {
        site.home.spec("ask", "Command = \"/bin/true\"\nExecutor = \"remote\"\n");
        let id = server.start("ask", json!({}));
        Self { site, id, asked: 0.into() }
    }

    /// With input files of these names and contents.
    fn begin_with(site: &'s Site, server: &Server, files: &[(&str, &[u8])]) -> Self {
        let parameters: String = (0..files.len())
            .map(|number| format!("[[Parameter]]\nName = \"file{number}\"\nType = \"file\"\n"))
            .collect();
        site.home.spec("ask", &format!("Command = \"/bin/true\"\nExecutor = \"remote\"\n{parameters}"));
        let given = files
            .iter()
            .enumerate()
            .map(|(number, (name, content))| (format!("file{number}"), server.input(name, content)));
        let parameters: serde_json::Map<String, Value> = given.collect();
        let id = server.submit("ask", &parameters.into());
        Self { site, id, asked: 0.into() }
    }

    fn answer(&self, method: &str, json: &Value) -> Value {
        let n = self.asked.replace(self.asked.get() + 1);
        let folder = &self.site.cluster.folder;
        std::fs::write(folder.join("ask-new"), json!({"method": method, "json": json}).to_string()).unwrap();
        std::fs::rename(folder.join("ask-new"), folder.join(format!("ask-{n}"))).unwrap();
        let answer = folder.join(format!("answer-{n}"));
        eventually(&format!("{method} is answered"), || answer.exists());
        serde_json::from_slice(&std::fs::read(answer).unwrap()).unwrap()
    }

    fn ok(&self, method: &str, json: Value) -> Value {
        let answer = self.answer(method, &json);
        assert!(answer.get("ok").is_some(), "{method} {json}: {answer}\n{}", self.site.home.log());
        answer["ok"].clone()
    }

    /// The kind and the text of a refusal.
    fn refused(&self, method: &str, json: Value) -> (String, String) {
        let answer = self.answer(method, &json);
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{method} {json}: {answer}")).to_owned();
        (text("kind"), text("error"))
    }

    fn end(&self, server: &Server) -> Job {
        std::fs::write(self.site.cluster.folder.join("end"), "").unwrap();
        self.site.ended(server, self.id)
    }
}

/// Downloads; the status and the body.
fn get(url: &str) -> (u16, Vec<u8>) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer to {url}"));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(!head.to_ascii_lowercase().contains("chunked"), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer.split_off(end + 4))
}

/// Uploads; the status of the answer.
fn put(url: &str, body: &[u8]) -> u16 {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    let head = format!("PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // Who refuses by the head may close before it has the body.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.take(65536).read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {url}")).parse().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn url(grant: &Value) -> &str {
    assert_eq!(grant["method"], "PUT", "{grant}");
    grant["url"].as_str().unwrap()
}
