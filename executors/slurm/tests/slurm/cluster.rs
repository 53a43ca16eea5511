//! A Slurm of one node on loopback, for as long as a test needs it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Its two daemons.
pub struct Cluster {
    dir: TempDir,
    controller: Mutex<Option<Child>>,
    node: Mutex<Option<Child>>,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// The one that tests use together that leave it as it is. `None`, loudly: there is no Slurm here.
pub fn shared() -> Option<Arc<Cluster>> {
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Some(cluster);
    }
    let cluster = Arc::new(own("")?);
    *shared = Arc::downgrade(&cluster);
    Some(cluster)
}

/// Whether there is such a program.
pub fn is_there(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Says that something is not tested here; fails where all should be.
pub fn lacking(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
    eprintln!("NOT TESTED: {what}");
}

/// Says the same of something that no package brings: what the machine's kernel is like.
pub fn left_out(what: &str) {
    eprintln!("\n*** NOT TESTED: {what} ***\n");
}

/// One for a test alone, with more lines for `slurm.conf`.
pub fn own(more: &str) -> Option<Cluster> {
    // This process belongs to whom it runs as.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root && ["slurmctld", "slurmd", "sbatch"].into_iter().all(is_there) {
        return Some(Cluster::start(more));
    }
    lacking("this needs root, and slurmctld, slurmd and sbatch in PATH");
    None
}

impl Cluster {
    fn start(more: &str) -> Self {
        let dir = TempDir::with_prefix("jm-slurm-").unwrap();
        for name in ["state", "spool", "log", "dev", "shared", "jobs"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let cluster = Cluster { dir, controller: Mutex::default(), node: Mutex::default() };
        cluster.configure(more);
        cluster.start_controller(true);
        cluster.start_node();
        let until = Instant::now() + Duration::from_secs(60);
        while !cluster.call("sinfo", &["-h", "-o", "%T"]).contains("idle") {
            assert!(Instant::now() < until, "it never came to: the node is idle");
            // Somebody else's connection may have had its port for a moment.
            if cluster.node.lock().unwrap().as_mut().is_none_or(|node| node.try_wait().unwrap().is_some()) {
                cluster.start_node();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster
    }

    fn configure(&self, more: &str) {
        let (dir, host) = (self.dir.path().display(), host());
        let (controller, node) = (free_port(), free_port());
        let conf = format!(
            "ClusterName=jm
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.pid
SlurmctldLogFile={dir}/log/slurmctld
SlurmdLogFile={dir}/log/slurmd
ProctrackType=proctrack/linuxproc
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=10
SchedulerParameters=sched_interval=2,bf_interval=2,defer_batch=0
KillWait=3
MessageTimeout=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 NodeHostname={host} CPUs=64 RealMemory=4000 Gres=gpu:fake:4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=9
JobAcctGatherType=jobacct_gather/linux
{more}
"
        );
        fs::write(self.conf(), conf).unwrap();
        // Read where `more` has a plugin that uses them.
        let cgroups = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n";
        fs::write(self.dir.path().join("cgroup.conf"), cgroups).unwrap();
        let gres = format!("NodeName={host} Name=gpu Type=fake File={dir}/dev/gpu[0-3]\n");
        fs::write(self.dir.path().join("gres.conf"), gres).unwrap();
        for number in 0..4 {
            // Only devices count as such; these are as /dev/null.
            let path = self.path().join(format!("dev/gpu{number}"));
            assert!(Command::new("mknod").arg(path).args(["c", "1", "3"]).status().unwrap().success());
        }
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("slurm.conf")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What one of Slurm's commands says, also where it fails.
    pub fn call(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(name).args(arguments).env("SLURM_CONF", self.conf()).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A folder with these commands, each the rest of a script.
    pub fn wrap<S: AsRef<str>>(&self, commands: &[(&str, S)]) -> PathBuf {
        let bin = self.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, script) in commands {
            fs::write(bin.join(name), format!("#!/bin/sh\n{}\n", script.as_ref())).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    fn daemon(&self, name: &str, arguments: &[&str]) -> Child {
        let log = || fs::File::options().create(true).append(true).open(self.path().join("log/output")).unwrap();
        let mut command = Command::new(name);
        command.arg("-D").args(arguments).env("SLURM_CONF", self.conf()).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap()
    }

    pub fn start_controller(&self, is_new: bool) {
        *self.controller.lock().unwrap() = Some(self.daemon("slurmctld", if is_new { &["-c"] } else { &[] }));
    }

    fn start_node(&self) {
        *self.node.lock().unwrap() = Some(self.daemon("slurmd", &["-N", &host()]));
    }

    /// With SIGKILL.
    pub fn kill_controller(&self) {
        end(&self.controller);
    }

    /// With SIGKILL; its jobs go on for now.
    pub fn kill_node(&self) {
        end(&self.node);
    }

    /// Every process that has our configuration in its environment: what jobs have started, and who looks after them.
    fn end_jobs(&self) {
        let ours = format!("SLURM_CONF={}", self.conf().display());
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let number = entry.file_name().to_string_lossy().into_owned();
            if environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes()) {
                Command::new("kill").args(["-9", &number]).stderr(Stdio::null()).status().unwrap();
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&self.node);
        end(&self.controller);
        self.end_jobs();
        if std::thread::panicking() {
            for name in ["log/slurmctld", "log/slurmd", "log/output"] {
                let text = fs::read_to_string(self.path().join(name)).unwrap_or_default();
                let lines: Vec<_> = text.lines().rev().take(20).collect();
                eprintln!("the end of {name}, backwards:\n{}", lines.join("\n"));
            }
        }
        // Someone who was just killed may still be writing.
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn end(daemon: &Mutex<Option<Child>>) {
    if let Some(mut child) = daemon.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().split('.').next().unwrap().to_owned()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
