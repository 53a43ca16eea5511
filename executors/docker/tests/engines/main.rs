//! The executor against real engines: dockerd and podman's service, which the tests start and stop.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

/// Fifty at once.
mod many;
mod pulls;
/// Detach, recover, cleanup.
mod recovery;
/// What is refused, and what is said then.
mod refusals;
/// Engines that end in the middle.
mod restarts;
/// What a job gets, and what comes back.
mod runs;
/// Cancel, timeout, memory.
mod stops;
mod support;

/// A test per engine of each function.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod docker {
            $(#[test]
            fn $name() {
                $crate::support::with($crate::support::Kind::Docker, super::$name);
            })*
        }
        mod podman {
            $(#[test]
            fn $name() {
                $crate::support::with($crate::support::Kind::Podman, super::$name);
            })*
        }
    };
}
