//! The whole of jobmgr against the real thing; mirrors `src`.

mod blobs;
mod cli;
mod http;
mod store;
mod support;

// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod lifecycle;
// Processes of a POSIX shell.
#[cfg(target_os = "linux")]
mod zoo;
// Links, FIFOs and POSIX shells.
#[cfg(target_os = "linux")]
mod output;
// POSIX shells; in jobspecs, links and FIFOs too.
#[cfg(target_os = "linux")]
mod concurrency;
#[cfg(target_os = "linux")]
mod jobspecs;
// Signals and POSIX shells.
#[cfg(target_os = "linux")]
mod run;
// The samples need a POSIX shell.
#[cfg(target_os = "linux")]
mod samples;
