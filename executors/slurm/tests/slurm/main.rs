//! Jobs on a real Slurm: a controller and a node on loopback, with GPUs that are none.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// Slurm's memory of jobs that its queue has forgotten.
mod accounting;
/// The daemons.
mod cluster;
/// Daemons and nodes that fail, limits that are reached.
mod faults;
/// What only the controller's file of completed jobs still knows.
mod forgotten;
/// What a job sees, and what comes back.
mod jobs;
/// Many at once.
mod many;
/// What comes after a restart of jobmgr.
mod recovery;
/// Jobs that are asked to end.
mod stops;
/// Jobs, and waiting for them.
mod support;
