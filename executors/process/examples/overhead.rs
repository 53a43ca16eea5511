//! What a job costs beyond the bare start and wait of its process: medians, in microseconds.
//!
//! `cargo run --release -p jobmgr-executor-process --example overhead -- true`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobmgr_executor_process::{Options, Process};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Context, Error, Executor, Job};

const ROUNDS: usize = 1000;

fn main() -> Result<(), Error> {
    let mut job = Job::new("1", 1, "overhead", Options::default());
    job.command = std::env::args().skip(1).collect();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    // In turns, so that both see the same machine.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut command = Command::new(&job.command[0]);
        command.args(&job.command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().map_err(|error| Error::failed(error.to_string()))?;
        bare.push(start.elapsed());
        let host = Host::default();
        let start = Instant::now();
        Process.run(&job, &Context::new(&host))?;
        ours.push(start.elapsed());
    }
    let (bare, ours) = (median(bare), median(ours));
    println!("bare {}  job {}  more {}", bare.as_micros(), ours.as_micros(), ours.saturating_sub(bare).as_micros());
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
