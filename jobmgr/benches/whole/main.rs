//! The release binary, measured from outside, against a bare spawn loop in the same run.
//!
//!     cargo bench -p jobmgr                     everything (some minutes)
//!     cargo bench -p jobmgr -- drain latency    only these
//!
//! The parts are the modules below. This machine's speed changes from one minute to the next, so read the ratios: each
//! part measures its own baseline beside it.

// A lint for the server; a measurement that unwraps is one that fails.
#![allow(clippy::unwrap_used)]

/// From the end of a job to its artifact's.
mod artifact;
/// Jobs per second.
mod drain;
/// Jobs of Docker Engine and of Slurm, against the engines' own commands.
mod engines;
/// Requests per second for a finished job.
mod get;
/// The same with a million finished jobs.
mod history;
/// From the POST to the end.
mod latency;
/// Of the server and of its runner.
mod memory;
/// Jobs of executors in libraries.
mod plugin;
/// Servers, jobs, and the loop that all is compared with.
mod setup;
/// Submissions per second.
mod submit;
#[path = "../../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
/// From the end of a job to who waits for it.
mod told;
/// What `/v1` answers in a second.
mod v1;
/// From the POST at one process to the start at another.
mod wake;
/// Jobs per second of several processes.
mod workers;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let parts: [(&str, fn()); 13] = [
        ("drain", drain::drain),
        ("workers", workers::workers),
        ("wake", wake::wake),
        ("history", history::history),
        ("latency", latency::latency),
        ("submit", submit::submit),
        ("get", get::get),
        ("v1", v1::v1),
        ("told", told::told),
        ("artifact", artifact::artifact),
        ("memory", memory::memory),
        ("plugin", plugin::plugin),
        ("engines", engines::engines),
    ];
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part();
        }
    }
}
