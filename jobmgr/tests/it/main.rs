//! Everything against the real thing: real stores, real servers, real processes. One module per room.

// A lint for the server; a test that unwraps is a test that fails.
#![allow(clippy::unwrap_used)]

mod blobs;
mod cli;
// Programs of Linux: generators and compilers of clients, a browser.
#[cfg(target_os = "linux")]
mod clients;
mod collect;
mod http;
mod layers;
mod lease_model;
mod libraries;
mod papers;
mod path;
// Shared libraries, gcc and /proc.
#[cfg(target_os = "linux")]
mod plugin_tools;
mod printing;
mod store;
mod support;
mod tokens;

// Database servers, which run on Linux.
#[cfg(target_os = "linux")]
mod adoption;
// POSIX shells.
#[cfg(target_os = "linux")]
mod concurrency;
// Signals, process groups and database servers.
#[cfg(target_os = "linux")]
mod detached;
// Users, control groups, Landlock.
#[cfg(target_os = "linux")]
mod confined;
// Signals and libraries.
#[cfg(target_os = "linux")]
mod elsewhere;
// Engines and daemons of Linux.
#[cfg(target_os = "linux")]
mod engines;
// POSIX shells, python3 for its sqlite3, and /proc.
#[cfg(target_os = "linux")]
mod faults;
// POSIX shells.
#[cfg(target_os = "linux")]
mod secrets;
// POSIX shells and /proc.
#[cfg(target_os = "linux")]
mod inputs;
// POSIX shells, links and FIFOs.
#[cfg(target_os = "linux")]
mod jobspecs;
// POSIX shells and old files.
#[cfg(target_os = "linux")]
mod keep;
// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod lifecycle;
// POSIX shells, python3 and /proc.
#[cfg(target_os = "linux")]
mod operations;
// POSIX shells, links and FIFOs.
#[cfg(target_os = "linux")]
mod output;
// gcc, signals and /proc.
#[cfg(target_os = "linux")]
mod plugins;
// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod proofs;
// POSIX shells and signals.
#[cfg(target_os = "linux")]
mod run;
// The samples need a POSIX shell.
#[cfg(target_os = "linux")]
mod samples;
// Signals, network namespaces, mounts.
#[cfg(target_os = "linux")]
mod trials;
// The servers run on Linux.
#[cfg(target_os = "linux")]
mod servers;
// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod several;
// POSIX shells, namespaces and database servers.
#[cfg(target_os = "linux")]
mod webhooks;
// Signals, sessions and /proc.
#[cfg(target_os = "linux")]
mod zoo;
