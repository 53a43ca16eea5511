use std::fs;
use std::time::Duration;

use jobmgr_plugin_api::Ending;

use crate::cluster::{self, Cluster};
use crate::support::{job, start, within};

/// Slurm's commands, with a list of what was called.
fn counted(cluster: &Cluster) -> std::path::PathBuf {
    let calls = cluster.path().join("calls");
    let text = |name| format!("echo \"{name} $*\" >> {}\nexec /usr/bin/{name} \"$@\"", calls.display());
    cluster.wrap(&["sbatch", "squeue", "sacct", "scancel"].map(|name| (name, text(name))))
}

#[test]
fn two_hundred_jobs_are_asked_about_together() {
    const JOBS: usize = 200;
    const POLL: f64 = 2.0;
    let Some(cluster) = cluster::own("") else { return };
    let bin = counted(&cluster);
    let executor = cluster.executor_with(|config| {
        config.bin = Some(bin);
        config.poll_every = POLL;
        config.command_limit = 120.0;
    });
    let begun = std::time::Instant::now();
    let jobs: Vec<_> = (0..JOBS).map(|number| start(&executor, &job(&cluster, &format!("echo {number}")))).collect();
    within(Duration::from_secs(300), "all have ended", || jobs.iter().all(|job| job.is_over()));
    let took = begun.elapsed().as_secs_f64();
    for (number, job) in jobs.into_iter().enumerate() {
        let (result, host) = job.end();
        assert_eq!(result.unwrap().ending, Ending::Exited(0));
        assert_eq!(String::from_utf8(host.stdout()).unwrap(), format!("{number}\n"));
    }
    let calls = fs::read_to_string(cluster.path().join("calls")).unwrap();
    let count =
        |start: &str, with: &str| calls.lines().filter(|line| line.starts_with(start) && line.contains(with)).count();
    assert_eq!(count("sbatch", ""), JOBS);
    let polls = count("squeue", "--jobs=");
    // Never more often than a tenth of the interval allows, however many jobs have news.
    let most = took / (POLL / 10.0) + 1.0;
    assert!(polls > 0 && (polls as f64) <= most, "{polls} questions in {took} s");
    let largest = calls.lines().filter(|line| line.contains("--jobs=")).map(|line| line.matches(',').count()).max();
    eprintln!("{JOBS} jobs in {took:.1} s: {polls} questions, the largest about {largest:?} jobs");
    assert!(count("sacct", "") <= JOBS + 1, "accounting is off");
}
