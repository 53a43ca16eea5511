use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use jobmgr_plugin_api::{Ending, KillReason};
use tempfile::TempDir;

use crate::cluster::{self, Cluster, free_port, is_there};
use crate::support::{job, recover, start, until};

/// `slurmdbd`, and the database behind it.
struct Accounting {
    dir: TempDir,
    port: u16,
    daemons: Vec<Child>,
}

impl Accounting {
    fn start() -> Option<Self> {
        if !["mariadbd", "mariadb-install-db", "slurmdbd", "sacctmgr"].into_iter().all(is_there) {
            cluster::lacking("this needs mariadbd and slurmdbd in PATH");
            return None;
        }
        let dir = TempDir::with_prefix("jm-slurmdbd-").unwrap();
        let mut accounting = Accounting { dir, port: free_port(), daemons: Vec::new() };
        let database = accounting.start_database();
        accounting.configure(database);
        let daemon = accounting.command("slurmdbd").arg("-D").spawn().unwrap();
        accounting.daemons.push(daemon);
        until("there is a cluster", || {
            accounting.command("sacctmgr").args(["-i", "add", "cluster", "jm"]).status().unwrap();
            let output =
                accounting.command("sacctmgr").args(["-nP", "show", "cluster"]).stdout(Stdio::piped()).output();
            output.unwrap().stdout.starts_with(b"jm|")
        });
        Some(accounting)
    }

    fn start_database(&mut self) -> u16 {
        let (dir, port) = (self.dir.path().display().to_string(), free_port());
        let common = ["--no-defaults".to_owned(), "--user=root".into(), format!("--datadir={dir}/data")];
        fs::create_dir(self.dir.path().join("data")).unwrap();
        let mut install = self.command("mariadb-install-db");
        install.args(&common).args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        assert!(install.status().unwrap().success());
        // Nobody else gets at it: its port is on loopback, and it lives as long as the test.
        let mut server = self.command("mariadbd");
        server.args(&common).args(["--bind-address=127.0.0.1", "--skip-log-bin", "--skip-grant-tables"]);
        server.args([format!("--port={port}"), format!("--socket={dir}/socket"), format!("--pid-file={dir}/pid")]);
        self.daemons.push(server.spawn().unwrap());
        until("the database listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        port
    }

    fn configure(&self, database: u16) {
        let (dir, port) = (self.dir.path().display(), self.port);
        let daemon = format!(
            "AuthType=auth/none\nDbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={port}\nSlurmUser=root\nLogFile={dir}/log
PidFile={dir}/slurmdbd.pid\nStorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\nStoragePort={database}
StorageUser=root\nStoragePass=none\nStorageLoc=slurm\n"
        );
        let path = self.dir.path().join("slurmdbd.conf");
        fs::write(&path, daemon).unwrap();
        // It insists.
        assert!(Command::new("chmod").arg("600").arg(path).status().unwrap().success());
        let client = format!("ClusterName=jm\nSlurmctldHost=localhost\nAuthType=auth/none\n{}", self.lines());
        fs::write(self.dir.path().join("slurm.conf"), client).unwrap();
    }

    /// For `slurm.conf`.
    fn lines(&self) -> String {
        format!(
            "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1
AccountingStoragePort={}\nAccountingStoreFlags=job_comment\n",
            self.port
        )
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("SLURM_CONF", self.dir.path().join("slurm.conf")).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }
}

fn has_forgotten(cluster: &Cluster) -> bool {
    cluster.call("squeue", &["-h", "-t", "all"]).is_empty()
}

#[test]
fn what_the_queue_has_forgotten_is_known_from_accounting() {
    if cluster::shared().is_none() {
        return;
    }
    let Some(accounting) = Accounting::start() else { return };
    let cluster = cluster::own(&format!("{}MinJobAge=2\n", accounting.lines())).unwrap();
    let cases = [
        ("exit 4", Ending::Exited(4)),
        // Nobody is left to write down how it ended.
        ("kill -9 $PPID", Ending::Signaled(9)),
        ("scancel $SLURM_JOB_ID; exec sleep 600", Ending::Killed(KillReason::Cancelled)),
    ];
    let jobs = cases.map(|(script, ending)| {
        let mut job = job(&cluster, script);
        job.env.insert("SLURM_CONF".into(), cluster.conf().display().to_string());
        let (result, host) = start(&cluster.executor(), &job).end();
        assert_eq!(result.unwrap().ending, ending, "{script}");
        (job, host, ending)
    });
    until("the queue has forgotten them", || has_forgotten(&cluster));
    for (job, before, ending) in &jobs {
        let folder = format!("{}/.slurm", job.dir);
        for by_handle in [false, true] {
            // What the script has left; at last, all.
            for name in ["id", "exit"] {
                drop(fs::remove_file(format!("{folder}/{name}")));
            }
            if by_handle {
                fs::remove_dir_all(&folder).unwrap();
            }
            let (result, _) = recover(&cluster.executor(), job, before, by_handle).end();
            assert_eq!(result.unwrap().ending, *ending, "{:?} by handle: {by_handle}", job.command);
        }
    }
}
