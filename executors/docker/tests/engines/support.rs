//! Engines that the tests start and stop, and jobs for them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use jobmgr_executor_docker::{Config, Docker, Options};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Executor, Job, Outcome, Recover, Result, Stop, runtime};

/// The image that every engine gets.
pub const IMAGE: &str = "jm-busybox:1";
/// How long anything may take.
pub const LONG: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
}

/// A running engine with a socket, images and containers of its own.
pub struct Engine {
    pub kind: Kind,
    dir: tempfile::TempDir,
    more: Vec<&'static str>,
    service: Mutex<Option<Child>>,
}

/// Runs a test with an engine, which tests that run at the same time share.
pub fn with(kind: Kind, test: impl FnOnce(&Engine)) {
    static SHARED: [Mutex<Weak<Engine>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];
    let engine = {
        let mut shared = lock(&SHARED[kind as usize]);
        match shared.upgrade() {
            Some(engine) => engine,
            None => {
                let Some(engine) = Engine::start(kind, &[]).map(Arc::new) else { return };
                *shared = Arc::downgrade(&engine);
                engine
            }
        }
    };
    test(&engine);
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until there is something.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within {} s: {what}", LONG.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Engine {
    /// Starts one with an image in it; `None`, loudly, where that can't be done.
    pub fn start(kind: Kind, more: &[&'static str]) -> Option<Self> {
        let lacks = missing(kind);
        if let Some(lacks) = lacks {
            let text = format!("NOT TESTED with {kind:?}: {lacks}");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
            eprintln!("{text}");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("jmd").tempdir().expect("a temporary directory");
        let engine = Self { kind, dir, more: more.to_vec(), service: Mutex::new(None) };
        engine.up();
        engine.add_image();
        Some(engine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    fn command(&self) -> Command {
        let path = |name: &str| self.path(name).display().to_string();
        let mut command = match self.kind {
            Kind::Docker => {
                let mut command = Command::new("dockerd");
                command.args(["--host", &self.host(), "--data-root", &path("data"), "--exec-root", &path("exec")]);
                command.args([
                    "--pidfile",
                    &path("pid"),
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-forward=false",
                ]);
                command.args(["--ip-masq=false", "--bridge=none", "--userland-proxy=false", "--shutdown-timeout=2"]);
                command
            }
            Kind::Podman => {
                let limits = "default_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]";
                let engine = "[engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n";
                std::fs::write(self.path("conf"), format!("[containers]\n{limits}\n{engine}")).expect("a file");
                let mut command = Command::new("podman");
                // The registry that the tests start has no certificate.
                let registries = "[[registry]]\nprefix=\"127.0.0.1\"\nlocation=\"127.0.0.1\"\ninsecure=true\n";
                std::fs::write(self.path("registries"), registries).expect("a file");
                command.env("CONTAINERS_CONF", path("conf")).env("CONTAINERS_REGISTRIES_CONF", path("registries"));
                command.args(["--root", &path("data"), "--runroot", &path("run"), "--tmpdir", &path("tmp")]);
                command.args(["system", "service", "--time=0", &self.host()]);
                command
            }
        };
        // podman leaves a file where it runs when a container had too little memory.
        command.args(&self.more).current_dir(self.dir.path());
        command
    }

    /// Starts the service and waits until it answers.
    pub fn up(&self) {
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).expect("a log");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a copy")).stderr(log);
        *lock(&self.service) = Some(command.spawn().expect("it starts"));
        let up = || runtime::runtime().block_on(async { self.client()?.ping().await.ok() });
        wait("the engine answers", || {
            let ended = lock(&self.service).as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "it ended: {}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
            up()
        });
    }

    /// Ends the service: `KILL` or `TERM`. Containers may go on.
    pub fn down(&self, signal: &str) {
        let Some(mut child) = lock(&self.service).take() else { return };
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()));
        child.wait().expect("it is ours");
        if signal == "KILL" && self.kind == Kind::Docker {
            // Its containerd dies with it, a moment later; a dockerd that sees it alive would wait for it. Nobody else
            // removes the two files.
            let file = self.path("exec/containerd/containerd.pid");
            let process = std::fs::read_to_string(&file).unwrap_or_default();
            wait("the end of containerd", || {
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
            drop(std::fs::remove_file(file));
            drop(std::fs::remove_file(self.path("pid")));
        }
    }

    pub fn client(&self) -> Option<bollard::Docker> {
        bollard::Docker::connect_with_unix(&self.host(), 60, bollard::API_DEFAULT_VERSION).ok()
    }

    fn add_image(&self) {
        let tar = layer();
        let question =
            CreateImageOptions { from_src: Some("-".into()), repo: Some(IMAGE.into()), ..Default::default() };
        runtime::runtime().block_on(async {
            let client = self.client().expect("it is up");
            let steps = client.create_image(Some(question), Some(bollard::body_full(tar.into())), None);
            for step in steps.collect::<Vec<_>>().await {
                step.expect("the image is imported");
            }
        });
    }

    /// An executor for this engine.
    pub fn executor(&self) -> Docker {
        self.executor_with(Config::default())
    }

    /// The same with more to its configuration.
    pub fn executor_with(&self, config: Config) -> Docker {
        let network = Some("none".into());
        Docker::new(Config { host: Some(self.host()), network, ..config }).expect("a good configuration")
    }

    /// The names of the containers that are there. For a moment podman lists one that ends as `stopped`, a word that
    /// Docker's API does not have.
    pub fn containers(&self) -> Vec<String> {
        let all = bollard::query_parameters::ListContainersOptions { all: true, ..Default::default() };
        let client = self.client().expect("it is up");
        let ask = || runtime::runtime().block_on(client.list_containers(Some(all.clone())));
        let until = Instant::now() + LONG;
        let found = loop {
            match ask() {
                Err(bollard::errors::Error::JsonDataError { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answer => break answer.expect("a list"),
            }
        };
        found.into_iter().flat_map(|one| one.names.unwrap_or_default()).map(|name| name.replace('/', "")).collect()
    }

    /// Does one thing with its API.
    pub fn ask<T, F: Future<Output = T>>(&self, question: impl FnOnce(bollard::Docker) -> F) -> T {
        let client = self.client().expect("it is up");
        runtime::runtime().block_on(question(client))
    }
}

/// A file system with busybox, as tar.
pub fn layer() -> Vec<u8> {
    let root = tempfile::tempdir().expect("a directory");
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    std::fs::copy(busybox().expect("was found"), bin.join("busybox")).expect("a copy");
    let names = "sh echo cat sleep seq dd id env touch mkdir ls true tail kill head tr printf test yes";
    for name in names.split(' ') {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("a link");
    }
    Command::new("tar").arg("-C").arg(root.path()).args(["-c", "bin"]).output().expect("tar runs").stdout
}

impl Drop for Engine {
    fn drop(&mut self) {
        let force = bollard::query_parameters::RemoveContainerOptions { force: true, v: true, link: false };
        let all = bollard::query_parameters::ListContainersOptions { all: true, ..Default::default() };
        // Nothing may panic here; what does not work is made up for below.
        runtime::runtime().block_on(async {
            let Some(client) = self.client() else { return };
            for one in client.list_containers(Some(all)).await.unwrap_or_default() {
                let _ = client.remove_container(&one.id.unwrap_or_default(), Some(force.clone())).await;
            }
        });
        if let Some(mut child) = lock(&self.service).take() {
            drop(Command::new("kill").arg(child.id().to_string()).status());
            let until = Instant::now() + LONG;
            while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            drop((child.kill(), child.wait()));
        }
        end_strays(self.dir.path());
        unmount(self.dir.path());
    }
}

/// Ends what names this directory in its command line, with its children: an engine that could not be ended properly
/// leaves the keepers of its containers.
fn end_strays(dir: &Path) {
    let dir = dir.display().to_string();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if pid == std::process::id() || !String::from_utf8_lossy(&line).contains(&dir) {
            continue;
        }
        let children = process.path().join(format!("task/{pid}/children"));
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let all = children.split_whitespace().map(str::to_owned).chain([pid.to_string()]);
        drop(Command::new("kill").arg("-9").args(all).status());
    }
}

/// Podman leaves its storage mounted when its service ends.
fn unmount(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(place).starts_with(dir) {
            drop(Command::new("umount").arg("-l").arg(place).status());
        }
    }
}

fn busybox() -> Option<&'static str> {
    ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists())
}

/// What there is not that is needed.
fn missing(kind: Kind) -> Option<String> {
    let programs: &[&str] = match kind {
        Kind::Docker => &["dockerd", "tar"],
        Kind::Podman => &["podman", "runc", "tar"],
    };
    let there = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    if let Some(name) = programs.iter().find(|name| !there(name)) {
        return Some(format!("there is no {name}"));
    }
    if busybox().is_none() {
        return Some("there is no busybox (busybox-static)".into());
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    (!root).then(|| "it takes root".into())
}

/// A job with a directory, whose container is removed when it is dropped.
pub struct Work<'a> {
    pub docker: &'a Docker,
    pub job: Job<Options>,
    pub dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl<'a> Work<'a> {
    /// A job that runs a shell script.
    pub fn sh(docker: &'a Docker, script: &str) -> Self {
        Self::new(docker, &["sh", "-c", script])
    }

    pub fn new(docker: &'a Docker, command: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let parent = tempfile::tempdir().expect("a directory");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(parent.path(), private).expect("it is ours");
        let dir = parent.path().join("job");
        std::fs::create_dir_all(dir.join("artifacts")).expect("a directory");
        let options: Options =
            serde_json::from_value(serde_json::json!({"Image": IMAGE, "Pull": "never"})).expect("good");
        let key = format!("jm-t{}-{number}-1", std::process::id());
        let mut job = Job::new(number.to_string(), 1, key, options);
        job.command = command.iter().map(|word| (*word).to_owned()).collect();
        job.dir = dir.display().to_string();
        job.working_directory = job.dir.clone();
        let place = |name: &str| dir.join(name).display().to_string();
        job.env = [
            ("JOBMGR_ARTIFACTS_DIR", place("artifacts")),
            ("JOBMGR_OUTPUT", place(".jobmgr-output.json")),
            ("JOBMGR_PROGRESS", place(".jobmgr-progress")),
            ("GREETING", "hello world".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        Self { docker, job, dir, _parent: parent }
    }

    /// The same with other options.
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.job.options);
        self
    }

    pub fn run(&self, host: &Host) -> Result<Outcome> {
        self.docker.run(&self.job, &host.context())
    }

    pub fn recover(&self, handle: Option<&[u8]>, host: &Host) -> Result<Outcome> {
        self.docker.recover(&self.job, handle, &host.context())
    }

    pub fn cleanup(&self) -> Result<()> {
        self.docker.cleanup(&self.job, None, &Host::default().context())
    }

    /// Runs it in a thread, and asks for a stop once its output shows `sign`.
    pub fn stop_at(&self, sign: &str, why: Stop, host: &Host) -> Result<Outcome> {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| self.run(host));
            wait(sign, || (shows(host, sign) || run.is_finished()).then_some(()));
            host.stop(why);
            run.join().expect("no panic")
        })
    }
}

/// Whether standard output has a text.
pub fn shows(host: &Host, sign: &str) -> bool {
    String::from_utf8_lossy(&host.stdout()).contains(sign)
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cleanup() {
            eprintln!("{}: {error}", self.job.key);
        }
    }
}
