//! Real jobs, well-behaved and hostile. Each case runs in a process of its own, as in a runner: the executor ends every
//! descendant of its process, and a test program has several threads.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// Starting cases and jobs.
mod support;

/// What must hold on every platform.
mod portable;

/// What a job can do to get away, or to be in the way.
#[cfg(target_os = "linux")]
mod linux;

/// Jobs that end when they are asked to, and that do not.
#[cfg(target_os = "linux")]
mod stops;

/// Jobs with a user, limits or a sandbox.
#[cfg(target_os = "linux")]
mod confine;

/// This program as the one that becomes the job.
#[cfg(target_os = "linux")]
mod launch;

/// What is special to Windows.
#[cfg(windows)]
mod windows;
