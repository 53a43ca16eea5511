//! What a job costs beyond the bare start and wait of its process, and a job with limits: medians, in microseconds.
//!
//! `cargo run --release -p jobmgr-executor-process --example process_overhead -- true`

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobmgr_executor_process::{Limits, Options, Process, Size};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Context, Error, Executor, Job};

const ROUNDS: usize = 1000;

fn main() -> Result<(), Error> {
    jobmgr_executor_process::launch();
    let mut job = Job::new("1", 1, "overhead", Options::default());
    job.command = std::env::args().skip(1).collect();
    let mut limited = job.clone();
    limited.options.limits = Limits { memory: Some(Size(1 << 30)), pids: Some(100), ..Limits::default() };
    let (mut bare, mut ours, mut held) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that both see the same machine.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut command = Command::new(&job.command[0]);
        command.args(&job.command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().map_err(|error| Error::failed(error.to_string()))?;
        bare.push(start.elapsed());
        for (job, times) in [(&job, &mut ours), (&limited, &mut held)] {
            let host = Host::default();
            let start = Instant::now();
            Process.run(job, &Context::new(&host))?;
            times.push(start.elapsed());
        }
    }
    let [bare, ours, held] = [bare, ours, held].map(|times| median(times).as_micros());
    println!("bare {bare}  job {ours}  more {}  job with limits {held}", ours.saturating_sub(bare));
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
