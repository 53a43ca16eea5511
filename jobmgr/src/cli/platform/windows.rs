//! Ctrl-C, Ctrl-Break, the closing of the console, and the system's shutdown.

use std::io;

use tokio::signal::windows::{self, CtrlBreak, CtrlC, CtrlClose, CtrlShutdown};

/// Requests to stop, from now on.
pub(crate) struct Stops {
    interrupt: CtrlC,
    interrupt_group: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Stops {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: windows::ctrl_c()?,
            interrupt_group: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Waits for the next request; gives its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.interrupt_group.recv() => "Ctrl-Break",
            _ = self.close.recv() => "the console was closed",
            _ = self.shutdown.recv() => "the system shuts down",
        }
    }
}

/// How many files and connections this process may have open at once: there is no limit.
pub(crate) fn open_files() -> Option<u64> {
    None
}
