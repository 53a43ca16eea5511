//! What the platforms say in their own ways: what asks the program to stop, how many files it may have open.

#[cfg_attr(unix, path = "platform/unix.rs")]
#[cfg_attr(windows, path = "platform/windows.rs")]
mod own;

pub(super) use own::{Stops, open_files};
