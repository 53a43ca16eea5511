//! Ctrl-C and Ctrl-Break, which the command gets by itself: both share a console.

use std::io;
use std::process::ExitStatus;

use tokio::signal::windows::{self, CtrlBreak, CtrlC};

/// What must not end this program before the command.
pub(super) struct Signals {
    interrupt: CtrlC,
    interrupt_group: CtrlBreak,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: windows::ctrl_c()?, interrupt_group: windows::ctrl_break()? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.interrupt_group.recv() => {}
        }
    }
}

/// Nothing: it has it already.
pub(super) fn send(_pid: u32, _signal: ()) {}

/// The exit code.
pub(super) fn ending(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), None)
}
