//! What platforms do in their own ways.

#[cfg(unix)]
mod fork_server;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as native;
#[cfg(windows)]
use windows as native;

#[cfg(unix)]
pub(crate) use fork_server::orphans_come_here;
#[cfg(unix)]
pub(crate) use native::with_runners;
pub(super) use native::{Process, become_runner, epitaph, exit_now, limit_runner, serve_forks, start_runner};

use tokio::io::{AsyncRead, AsyncWrite};

/// What a runner is for.
pub(super) enum Kind {
    /// The executors of this binary.
    Own,
    /// A library, with some variables in its environment.
    Plugin(Vec<(String, String)>),
}

/// What a process is that has served as a fork server.
#[cfg_attr(windows, allow(dead_code, reason = "processes are not forked there"))]
pub(super) enum Role<T> {
    /// Still that; its worker is gone.
    Served,
    /// A runner that was forked, with the files and the environment of one, and with what it has prepared.
    Runner(T),
}

/// A runner that was started.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) input: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) out: Box<dyn AsyncWrite + Send + Unpin>,
    /// What a library prints.
    pub(super) printed: Vec<Box<dyn AsyncRead + Send + Unpin>>,
}

fn printed(
    out: Option<impl AsyncRead + Send + Unpin + 'static>,
    error: Option<impl AsyncRead + Send + Unpin + 'static>,
) -> Vec<Box<dyn AsyncRead + Send + Unpin>> {
    let out = out.map(|out| Box::new(out) as Box<dyn AsyncRead + Send + Unpin>);
    out.into_iter().chain(error.map(|error| Box::new(error) as _)).collect()
}

/// Ends this process without running anything more: no exit functions, no destructors.
pub(super) fn exit(status: i32) -> ! {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn _exit(status: std::ffi::c_int) -> !;
    }
    // SAFETY: it returns to nobody.
    #[allow(unsafe_code)]
    unsafe {
        _exit(status)
    }
}
