//! Rights in tests: root may do what a job's files forbid to others.

use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// Runs a test as a user without rights, in a thread of its own; as who it is, where that is not root.
pub(super) fn as_nobody(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        if geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
        }
        test();
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Says aloud that something can't be tested here.
///
/// # Panics
/// Where `CI=true`.
pub(super) fn lacks(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine lacks {what}");
    eprintln!("\n*** SKIPPED: this machine lacks {what}, so nothing about it is tested here ***\n");
}
