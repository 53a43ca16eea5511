//! A real jobmgr, in a folder of its own, on a free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobmgr::domain::job::Job;
use jobmgr::store::Store;

use super::client::Client;
use super::process::Process;

/// How long anything may take; generous, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder to serve from; outlives the servers started in it.
pub struct Home {
    pub dir: tempfile::TempDir,
    /// Of the database.
    pub url: String,
}

/// A running server; killed when it is dropped.
pub struct Server {
    process: Process,
    pub address: SocketAddr,
    /// What it printed until it listened.
    pub greeting: Vec<String>,
}

/// What a job came to, as the classic API tells it.
#[derive(Debug)]
pub struct Ended {
    pub status: String,
    pub result: String,
    pub artifacts: Vec<serde_json::Value>,
}

impl Home {
    /// An empty folder with `config.toml`.
    pub fn new(config: &str) -> Home {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("jobmgr.db").display());
        Home::with(dir, url, config)
    }

    /// An empty folder with `config.toml`, to which the database of this URL is added.
    pub fn on(url: &str, config: &str) -> Home {
        let database = format!("{config}\n[Database]\nURL = \"{url}\"\nMaxConnections = 5\n");
        Home::with(tempfile::tempdir().unwrap(), url.to_owned(), &database)
    }

    /// A folder with `config.toml` and the sample jobspecs, as a clone has them.
    pub fn with_samples(config: &str) -> Home {
        let home = Home::new(config);
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../jobspecs")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, home.path("jobspecs").join(path.file_name().unwrap())).unwrap();
        }
        home
    }

    fn with(dir: tempfile::TempDir, url: String, config: &str) -> Home {
        let home = Home { dir, url };
        std::fs::create_dir(home.path("jobspecs")).unwrap();
        std::fs::create_dir(home.path("tmp")).unwrap();
        std::fs::write(home.path("config.toml"), config).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a jobspec.
    pub fn spec(&self, name: &str, toml: &str) {
        std::fs::write(self.path("jobspecs").join(format!("{name}.toml")), toml).unwrap();
    }

    /// Writes a jobspec that runs a shell script, with `more` keys.
    pub fn sh(&self, name: &str, script: &str, more: &str) {
        let script = toml::Value::String(script.into());
        self.spec(
            name,
            &format!("Command = \"/bin/sh\"\nArguments = [\"-c\", {script}]\nPreserveEnvVars = [\"PATH\"]\n{more}\n"),
        );
    }

    /// Writes a jobspec that runs a script of the platform's shell; no double quotes for `cmd`.
    pub fn shell(&self, name: &str, sh: &str, cmd: &str, more: &str) {
        if cfg!(unix) {
            return self.sh(name, sh, more);
        }
        let script = toml::Value::String(cmd.into());
        let preserved = "PreserveEnvVars = [\"PATH\", \"SystemRoot\"]";
        self.spec(name, &format!("Command = \"cmd\"\nArguments = [\"/d\", \"/c\", {script}]\n{preserved}\n{more}\n"));
    }

    /// A jobmgr command that runs here; its jobs' directories are below `tmp`.
    pub fn jobmgr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobmgr"));
        command.args(arguments).current_dir(self.dir.path()).env("JOBMGR_SERVER__LISTEN", "127.0.0.1:0");
        command.env("TMPDIR", self.path("tmp")).env("TEMP", self.path("tmp")).env("TMP", self.path("tmp"));
        command
    }

    /// Starts a server and waits until it listens.
    pub fn serve(&self) -> Server {
        self.serve_by(self.jobmgr(&["serve"]))
    }

    /// Starts a server by a command of `jobmgr`, changed or not.
    pub fn serve_by(&self, mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(self.log_file()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                drop(child.wait());
                panic!("the server ended before it listened: {}", self.log());
            };
            greeting.push(line.clone());
            if let Some((_, address)) = line.split_once("listens on http://") {
                break address.parse().unwrap();
            }
        };
        // What follows is kept too, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Server { process: Process { child }, address, greeting }
    }

    /// Where processes log.
    pub(super) fn log_file(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.path("server.log")).unwrap()
    }

    /// What the processes logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// The database, opened by this process.
    pub async fn store(&self) -> Store {
        let database =
            jobmgr::config::Database { url: Some(self.url.clone()), max_connections: 4, ..Default::default() };
        Store::open(&database).await.unwrap()
    }

    /// A job as its row has it, also where no server runs.
    pub fn stored(&self, id: i64) -> Job {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { self.store().await.job(id).await.unwrap().unwrap() })
    }

    /// Where the objects of a job are in the local store.
    pub fn objects_of(&self, id: i64) -> PathBuf {
        let installations = std::fs::read_dir(self.path("artifacts-store/jobs")).into_iter().flatten().flatten();
        let installation = installations.map(|entry| entry.path()).next();
        installation.unwrap_or_else(|| self.path("artifacts-store/jobs/none")).join(id.to_string())
    }

    /// What jobs have left below the servers' folders for temporary directories: anything but empty directories that
    /// are kept for the next job.
    pub fn left_of_jobs(&self) -> Vec<PathBuf> {
        let names = |folder: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        };
        let is_spare = |path: &PathBuf| {
            let artifacts = path.join("artifacts");
            path.extension().is_some_and(|end| end == "spare")
                && names(path) == [artifacts.clone()]
                && names(&artifacts).is_empty()
        };
        let roots = names(&self.path("tmp"));
        roots.iter().flat_map(|root| names(root)).filter(|path| !is_spare(path)).collect()
    }

    /// What is left in the folder for temporary directories.
    pub fn left_in_tmp(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Server {
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Submits a job; gives its id.
    pub fn start(&self, name: &str, parameters: serde_json::Value) -> i64 {
        let form = [("name", name), ("parameters", &parameters.to_string())];
        let answer = self.client().try_post("/jobs/start", &form).unwrap().json();
        answer["created"].as_i64().unwrap_or_else(|| panic!("not accepted: {answer}"))
    }

    /// Uploads an input file; its number.
    pub fn input(&self, name: &str, content: &[u8]) -> serde_json::Value {
        let octets = "Content-Type: application/octet-stream\r\n";
        let answer = self.client().try_send("POST", &format!("/v1/inputs?name={name}"), octets, content).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].clone()
    }

    /// Submits a job by `/v1`; its number.
    pub fn submit(&self, name: &str, parameters: &serde_json::Value) -> i64 {
        let json = "Content-Type: application/json\r\n";
        let body = serde_json::json!({ "name": name, "parameters": parameters }).to_string();
        let job = self.client().try_send("POST", "/v1/jobs", json, body.as_bytes()).unwrap().json();
        job["id"].as_i64().unwrap_or_else(|| panic!("not accepted: {job}"))
    }

    /// The job as the classic API shows it.
    pub fn job(&self, id: i64) -> serde_json::Value {
        self.client().get(&format!("/jobs/get?id={id}")).json()
    }

    /// Waits until the job has this status.
    pub fn wait_for(&self, id: i64, status: &str) {
        eventually(&format!("job {id} is {status}"), || self.job(id)["job"]["status"] == status);
    }

    /// Waits for the job's end.
    pub fn wait(&self, id: i64) -> Ended {
        let mut last = serde_json::Value::Null;
        eventually(&format!("job {id} ends"), || {
            last = self.job(id);
            last["result"].is_string()
        });
        Ended {
            status: last["job"]["status"].as_str().unwrap().to_owned(),
            result: last["result"].as_str().unwrap().to_owned(),
            artifacts: last["artifacts"].as_array().unwrap().clone(),
        }
    }

    /// Submits a job and waits for its end.
    pub fn run(&self, name: &str, parameters: serde_json::Value) -> Ended {
        self.wait(self.start(name, parameters))
    }

    /// The bytes of an artifact, by the way that clients go.
    pub fn download(&self, artifact: &serde_json::Value) -> Vec<u8> {
        let redirect = self.client().get(&format!("/artifacts/download?id={}", artifact["id"]));
        assert_eq!(redirect.status, 307, "{redirect:?}");
        let answer = self.client().get(redirect.header("location").unwrap());
        assert_eq!(answer.status, 200);
        answer.body
    }
}

/// A test that failed tells what its servers said last.
impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the last lines of server.log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Polls until `happens` says yes.
pub fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happens() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a file has appeared with all of its text.
pub fn whole(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
}
