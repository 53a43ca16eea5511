/// As the executor's own tests have it.
#[path = "../../../../executors/kubernetes/tests/api/objects.rs"]
#[allow(dead_code, reason = "those tests use all of it")]
mod objects;
#[path = "../../../../executors/kubernetes/tests/api/server.rs"]
#[allow(dead_code, reason = "those tests use all of it")]
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use server::Server;

use super::{home, over_restarts, sh};
use crate::support::server::eventually;

/// What a node does: runs the pod of each Job, which prints these lines, one each time so long has gone by, and exits.
pub struct Node<'a> {
    server: &'a Server,
    over: AtomicBool,
}

impl<'a> Node<'a> {
    pub fn of(server: &'a Server) -> Self {
        Self { server, over: AtomicBool::new(false) }
    }

    /// Works until what is returned is dropped.
    pub fn works(&self) -> End<'_> {
        End(&self.over)
    }

    pub fn run_pods(&self, lines: &[String], every: Duration, code: i32) {
        let mut begun: HashMap<String, (Instant, usize)> = HashMap::new();
        while !self.over.load(Ordering::Relaxed) {
            let mut objects = self.server.objects();
            for key in objects.jobs.keys().cloned().collect::<Vec<_>>() {
                let is_new = !begun.contains_key(&key);
                let (since, printed) = begun.entry(key.clone()).or_insert((Instant::now(), 0));
                let has_ended = objects.status(&key)["containerStatuses"][0]["state"]["terminated"].is_object();
                if is_new {
                    objects.run(&key);
                } else if has_ended {
                    continue;
                }
                let due = 1 + (since.elapsed().as_secs_f64() / every.as_secs_f64()) as usize;
                while *printed < due.min(lines.len()) {
                    *printed += 1;
                    objects.print(&key, *printed as u64, &lines[*printed - 1]);
                }
                if due > lines.len() {
                    objects.exit(&key, code);
                }
            }
            drop(objects);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Also where a test fails, or the pods would run for ever.
pub struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn jobs_on_kubernetes_outlive_jobmgr() {
    let server = Server::start();
    let config = format!("Kubeconfig = '{}'\nPollEvery = 0.1\nUnseenLimit = 5.0", server.kubeconfig());
    let home = home("jobmgr-executor-kubernetes", "kubernetes", &config);
    sh(&home, "count", "kubernetes", "true", "Image = \"busybox\"");
    let mut lines: Vec<String> = (1..=40).map(|number| format!("line {number}")).collect();
    lines.push("over".into());
    let node = Node::of(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| node.run_pods(&lines, Duration::from_millis(100), 0));
        let _end = node.works();
        over_restarts(&home);
    });
    assert_eq!(server.objects().count("POST jobs"), 1);
    eventually("nothing is left", || server.objects().jobs.is_empty());
}
