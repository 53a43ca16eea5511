//! What a job costs beyond its container: `docker_overhead HOST IMAGE [TIMES]` runs `true` by `docker run --rm` and by the
//! executor, with its `cleanup`, in turns, and prints the medians in milliseconds.

use std::process::Command;
use std::time::{Duration, Instant};

use jobmgr_executor_docker::{Config, Docker, Options};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Executor, Job, Recover, serde_json};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(host), Some(image)) = (arguments.next(), arguments.next()) else {
        eprintln!("docker_overhead HOST IMAGE [TIMES]");
        return;
    };
    let times: u32 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(10);
    let config = Config { host: Some(host.clone()), network: Some("none".into()), ..Config::default() };
    let docker = Docker::new(config).expect("a good host");
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for number in 0..=times {
        let begin = Instant::now();
        let line = ["-H", &host, "run", "--rm", "--network", "none", &image, "true"];
        assert!(Command::new("docker").args(line).status().is_ok_and(|status| status.success()));
        theirs.push(begin.elapsed());
        let begin = Instant::now();
        run(&docker, &image, number);
        ours.push(begin.elapsed());
    }
    let (theirs, ours) = (median(theirs), median(ours));
    println!("docker run {theirs:.0} ms, executor {ours:.0} ms, ratio {:.2}", ours / theirs);
}

fn run(docker: &Docker, image: &str, number: u32) {
    let options: Options = serde_json::from_value(serde_json::json!({ "Image": image })).expect("good options");
    let mut job = Job::new(number.to_string(), 1, format!("jm-overhead-{}-{number}", std::process::id()), options);
    job.command = vec!["true".into()];
    let host = Host::default();
    let outcome = docker.run(&job, &host.context()).expect("it runs");
    assert_eq!(outcome.exit_code, Some(0));
    docker.cleanup(&job, None, &host.context()).expect("it is removed");
}

/// The first one warms up.
fn median(mut times: Vec<Duration>) -> f64 {
    times.remove(0);
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
