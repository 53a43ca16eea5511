//! A container engine that a test starts, with an image of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use crate::support::server::eventually;

pub const IMAGE: &str = "jm-busybox:1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
}

pub struct Engine {
    kind: Kind,
    dir: tempfile::TempDir,
    service: Mutex<Option<Child>>,
}

impl Engine {
    /// `None`, loudly, where that can't be done.
    pub fn start(kind: Kind) -> Option<Self> {
        let programs: &[&str] = if kind == Kind::Docker { &["dockerd", "docker"] } else { &["podman", "runc"] };
        let lacks = programs.iter().chain(&["busybox"]).find(|program| !super::slurm::is_there(program));
        if lacks.is_some() || !rustix::process::geteuid().is_root() {
            let text = format!("NOT TESTED with {kind:?}: it needs root, {programs:?} and busybox-static");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
            eprintln!("{text}");
            return None;
        }
        let engine =
            Self { kind, dir: tempfile::Builder::new().prefix("jme").tempdir().unwrap(), service: Mutex::default() };
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

    fn podman(&self) -> Command {
        let conf = "[containers]\ndefault_ulimits=[\"nofile=20000:20000\",\"nproc=4096:4096\"]\n\
            [engine]\nruntime=\"runc\"\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n";
        std::fs::write(self.path("conf"), conf).unwrap();
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.path("conf"));
        command.arg("--root").arg(self.path("data")).arg("--runroot").arg(self.path("run"));
        command.arg("--tmpdir").arg(self.path("tmp"));
        command
    }

    /// Ends the service; what runs in it goes on or not.
    pub fn down(&self) {
        if let Some(mut service) = self.service.lock().unwrap().take() {
            drop(Command::new("kill").arg(service.id().to_string()).status());
            drop(service.wait());
        }
    }

    pub fn up(&self) {
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut command = match self.kind {
            Kind::Podman => {
                let mut command = self.podman();
                command.args(["system", "service", "--time=0", &self.host()]);
                command
            }
            Kind::Docker => {
                let mut command = Command::new("dockerd");
                command.args(["--host", &self.host(), "--bridge=none", "--userland-proxy=false", "--ip-masq=false"]);
                command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--shutdown-timeout=2"]);
                command.arg("--data-root").arg(self.path("data")).arg("--exec-root").arg(self.path("exec"));
                command.arg("--pidfile").arg(self.path("pid"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        *self.service.lock().unwrap() = Some(command.spawn().unwrap());
        eventually("the engine answers", || self.client(&["ps"]).is_some_and(|output| output.status.success()));
    }

    /// One of the engine's own commands.
    pub fn client(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = match self.kind {
            Kind::Podman => self.podman(),
            Kind::Docker => {
                let mut command = Command::new("docker");
                command.args(["--host", &self.host()]);
                command
            }
        };
        command.args(arguments).output().ok()
    }

    fn add_image(&self) {
        let root = self.path("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        let found = Command::new("sh").args(["-c", "command -v busybox"]).output().unwrap();
        let busybox = String::from_utf8(found.stdout).unwrap();
        std::fs::copy(busybox.trim(), root.join("bin/busybox")).unwrap();
        for name in ["sh", "echo", "sleep", "true", "cat"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let tar = self.path("image.tar");
        assert!(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status().unwrap().success());
        let imported = self.client(&["import", tar.to_str().unwrap(), IMAGE]).unwrap();
        assert!(imported.status.success(), "{imported:?}");
    }

    /// The names of all containers.
    pub fn containers(&self) -> Vec<String> {
        let listed = self.client(&["ps", "-a", "--format", "{{.Names}}"]).unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for name in self.containers() {
            self.client(&["rm", "-f", &name]);
        }
        self.down();
        // What the engine mounted is not removed with its folder.
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.dir.path().display().to_string();
        for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&here)) {
            drop(Command::new("umount").args(["-l", place]).status());
        }
    }
}
