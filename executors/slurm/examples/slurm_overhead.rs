//! What a job costs beside `sbatch --wait`, on the Slurm that `sbatch` finds here:
//! `cargo run -p jobmgr-executor-slurm --example slurm_overhead -- FOLDER [POLL_EVERY]`. The nodes must see the folder.
#![allow(clippy::unwrap_used, reason = "an example may fail where it likes")]

use std::process::Command;
use std::time::{Duration, Instant};

use jobmgr_executor_slurm::{Config, Options, Slurm};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Cluster, Clustered, Executor, Job, Outcome, Recover};

const RUNS: usize = 7;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap();
    let poll_every = arguments.next().map_or(Config::default().poll_every, |text| text.parse().unwrap());
    let executor = Clustered::of(Slurm::new(Config { poll_every, ..Config::default() }).unwrap());
    let theirs = median(|_| {
        let mut command = Command::new("sbatch");
        command.args(["--wait", "--output=/dev/null", "--wrap=true"]);
        assert!(command.output().unwrap().status.success());
    });
    let ours = median(|number| {
        let mut job = Job::new("1", 1, format!("overhead-{}-{number}", std::process::id()), Options::default());
        job.dir = format!("{folder}/{}", job.key);
        job.working_directory.clone_from(&job.dir);
        job.command = vec!["true".into()];
        std::fs::create_dir_all(&job.dir).unwrap();
        let host = Host::default();
        assert_eq!(executor.run(&job, &host.context()).unwrap().ending, Outcome::exited(0).ending);
        executor.cleanup(&job, host.checkpoints().last().map(Vec::as_slice), &host.context()).unwrap();
    });
    println!("sbatch --wait {theirs:.3?}, this executor {ours:.3?} (medians of {RUNS}, asking every {poll_every} s)");
}

fn median(run: impl Fn(usize)) -> Duration {
    let mut times: Vec<_> = (0..RUNS)
        .map(|number| {
            let begun = Instant::now();
            run(number);
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}
