//! `jobmgr plugin check` of every executor that ships, with a job on the real thing: no point is left out that the
//! executor has something for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::containers::{Engine, IMAGE, Kind};
use super::kubernetes::{Node, Server};
use super::slurm;
use crate::support::libraries::{built, install};
use crate::support::server::Home;

/// Some seconds, and the same output each time.
const LINES: &str = "for i in 1 2 3 4; do echo line $i; echo note $i >&2; sleep 0.6; done; exit 3";
/// The points for executors whose jobs outlive jobmgr, or that run several at once.
const ELSEWHERE: [&str; 6] = ["8", "9", "10", "11", "12", "13"];

fn sh(options: &str) -> String {
    format!("Command = 'sh'\nArguments = ['-c', '{LINES}']\nTimeout = '60s'\n[Options]\n{options}")
}

fn library(home: &Home, package: &str, name: &str) -> PathBuf {
    install(&built(package), &home.path("plugins"), name)
}

/// Nothing is wrong, and only these points were left out.
fn passes(home: &Home, library: &PathBuf, config: &Value, job: &str, skipped: &[&str]) {
    home.spec("checked", job);
    std::fs::write(home.path("config.json"), config.to_string()).unwrap();
    let mut command = home.jobmgr(&["plugin", "check", "--config", "config.json", "--job", "jobspecs/checked.toml"]);
    let output = command.arg(library).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("{}:\n{said}{}", library.display(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("WRONG") && said.lines().count() == 16, "{all}");
    let left_out: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("skipped")).collect();
    let numbers: Vec<&str> = left_out.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(numbers, skipped, "{all}");
}

#[test]
fn the_one_for_processes_passes_the_check() {
    let home = Home::new("");
    let library = library(&home, "jobmgr-executor-process-library", "process");
    passes(&home, &library, &json!({}), &sh(""), &ELSEWHERE);
    // It starts its host's program again for a job with limits.
    passes(&home, &library, &json!({}), &sh("Limits.Files = 64"), &ELSEWHERE);
}

#[test]
fn the_one_for_containers_passes_the_check() {
    let Some(engine) = Engine::start(Kind::Docker) else { return };
    let home = Home::new("");
    let library = library(&home, "jobmgr-executor-docker", "docker");
    let job = sh(&format!("Image = '{IMAGE}'\nPull = 'never'\nNetwork = 'none'"));
    passes(&home, &library, &json!({"Host": engine.host()}), &job, &[]);
    assert_eq!(engine.containers(), Vec::<String>::new());
}

#[test]
fn the_one_for_slurm_passes_the_check() {
    let Some(cluster) = slurm::own("") else { return };
    let home = Home::new("");
    let library = library(&home, "jobmgr-executor-slurm", "slurm");
    passes(&home, &library, &json!({"Conf": cluster.conf(), "PollEvery": 1.0}), &sh(""), &[]);
}

#[test]
fn the_one_for_kubernetes_passes_the_check() {
    let home = Home::new("");
    let library = library(&home, "jobmgr-executor-kubernetes", "kubernetes");
    let server = Server::start();
    let config = json!({"Kubeconfig": server.kubeconfig(), "PollEvery": 0.1, "UnseenLimit": 5.0});
    let lines: Vec<String> = (1..=4).map(|number| format!("line {number}")).collect();
    let node = Node::of(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| node.run_pods(&lines, Duration::from_millis(600), 3));
        let _end = node.works();
        passes(&home, &library, &config, &sh("Image = 'busybox'"), &[]);
    });
    assert!(server.objects().jobs.is_empty(), "{:?}", server.objects().jobs.keys());
}

#[test]
fn the_one_over_http_passes_the_check() {
    let home = Home::new("");
    let library = library(&home, "jobmgr-executor-http", "http");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // It ends with the test's process.
    std::thread::spawn(move || listener.incoming().for_each(|client| drop(std::thread::spawn(|| answer(client)))));
    let job = format!("Command = 'render'\nTimeout = '60s'\n[Options]\nURL = '{url}'");
    passes(&home, &library, &json!({}), &job, &ELSEWHERE);
}

/// Reads one request and takes its time; who asked may be gone then.
fn answer(client: std::io::Result<TcpStream>) -> Option<()> {
    let mut client = client.ok()?;
    let mut lines = BufReader::new(client.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    lines.read_exact(&mut vec![0; length]).ok()?;
    // Longer than the check waits for a sign of life before it asks for a stop.
    std::thread::sleep(Duration::from_secs(4));
    client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone").ok()
}
