//! A jobmgr process of either role, killed when it is dropped.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::server::{Home, PATIENCE};

/// A running jobmgr; killed when it is dropped.
pub struct Process {
    pub child: Child,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its exit.
    pub fn exit(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "process {} does not exit", self.pid());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Home {
    /// Starts a worker by a command of `jobmgr worker`, without waiting until it works.
    pub fn worker_by(&self, mut command: Command) -> Process {
        let child = command.stdin(Stdio::null()).stdout(self.log_file()).stderr(self.log_file()).spawn().unwrap();
        Process { child }
    }
}
