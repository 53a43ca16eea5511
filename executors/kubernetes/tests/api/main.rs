//! The executor against an API server in memory, and against a real one where there is one.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// How jobs end there, and how they are ended.
mod ends;
/// The server's objects.
mod objects;
/// The output of jobs.
mod output;
/// A real API server.
mod real;
/// The server.
mod server;
/// Servers that refuse, break and forget.
mod trouble;
/// What is told of changes.
mod watches;

use std::thread;
use std::time::Duration;

use jobmgr_executor_kubernetes::{Config, Kubernetes, Options};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Clustered, Event, Executor, Job, Kind, Outcome, Recover, Result, Stop};
use serde_json::{Value, json};

use server::Server;

/// The executor, as the configuration makes it.
pub fn executor(config: Value) -> Result<Clustered<Kubernetes>> {
    let config: Config = serde_json::from_value(config).unwrap();
    Clustered::new(config)
}

/// One for this server, that does not wait long.
pub fn connected(server: &Server) -> Clustered<Kubernetes> {
    let config = json!({
        "Kubeconfig": server.kubeconfig(), "PollEvery": 0.05, "UnseenLimit": 0.5, "StartPatience": 0.5,
    });
    executor(config).unwrap()
}

/// A job with the fewest options.
pub fn job(key: &str) -> Job<Options> {
    with(key, json!({}))
}

/// A job with these options too.
pub fn with(key: &str, more: Value) -> Job<Options> {
    let mut options = json!({"Image": "busybox"});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut job = Job::new("7", 1, key, serde_json::from_value(options).unwrap());
    job.command = vec!["sh".into(), "-c".into(), "true".into()];
    job
}

/// Runs a job on this server; gives what came of it, and the host.
pub fn run(server: &Server, job: &Job<Options>, meanwhile: impl FnOnce(&Host)) -> (Result<Outcome>, Host) {
    let (executor, host) = (connected(server), Host::default());
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(job, &host.context()));
        let _stop = StopOnPanic(&host);
        meanwhile(&host);
        run.join().unwrap()
    });
    (result, host)
}

/// A test that fails does not wait for its job for ever.
pub struct StopOnPanic<'a>(pub &'a Host);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(Stop::Detach);
        }
    }
}

/// Waits until the Job of this key is there, with its pod.
pub fn created(server: &Server, key: &str) {
    server.until("a Job", |objects| objects.jobs.contains_key(key));
}

#[test]
fn a_job_runs_to_its_end_and_nothing_is_left() {
    let server = Server::start();
    let (executor, host, job) = (connected(&server), Host::default(), job("jm-a-7-1"));
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        let _stop = StopOnPanic(&host);
        created(&server, "jm-a-7-1");
        let why = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]);
        server.objects().status("jm-a-7-1")["conditions"] = why;
        let queued = Event::Progress { percent: 0.0, message: "queued: Unschedulable: no node".into() };
        server.until("why it waits", |_| host.events().contains(&queued));
        server.objects().run("jm-a-7-1");
        server.objects().print("jm-a-7-1", 1, "one");
        server.until("live output", |_| host.stdout() == b"one\n");
        server.objects().print("jm-a-7-1", 2, "two");
        server.objects().exit("jm-a-7-1", 3);
        run.join().unwrap().unwrap()
    });
    assert_eq!((outcome.exit_code, outcome.message.as_deref()), (Some(3), None));
    assert_eq!(outcome.detail["kubernetes"]["pod"], "jm-a-7-1-pod");
    assert_eq!(host.stdout(), b"one\ntwo\n");
    assert_eq!(host.checkpoints(), [br#"{"namespace":"jobs","name":"jm-a-7-1","uid":"uid-1"}"#]);
    let handle = host.checkpoints().pop().unwrap();
    for handle in [Some(handle.as_slice()), Some(handle.as_slice()), None] {
        executor.cleanup(&job, handle, &host.context()).unwrap();
    }
    assert!(server.objects().jobs.is_empty() && server.objects().pods.is_empty());
}

#[test]
fn what_the_job_writes_as_its_result_comes_home() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut job = job("k");
    let path = folder.path().join("output");
    job.env.insert("JOBMGR_OUTPUT".into(), path.to_str().unwrap().into());
    let (result, _) = run(&server, &job, |_| {
        created(&server, "k");
        let state = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": "{\"faces\": 3}"}});
        server.objects().container("k", "Succeeded", state);
    });
    assert_eq!(result.unwrap().exit_code, Some(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"faces\": 3}");
}

#[test]
fn what_a_wrapped_job_uploads_comes_home() {
    let (server, host) = (Server::start(), Host::default());
    host.answer("artifact.grant", |asked| {
        let count = asked["count"].as_u64().unwrap_or(0) as usize;
        Ok(json!({"slot": 0, "url": "https://s/$(A)", "grants": vec![json!({"slot": 1}); count]}))
    });
    // {"exit_code":0,"files":[{"name":"a","slot":1,"size":2,"sha256":"ff"}]}
    let report = "eyJleGl0X2NvZGUiOjAsImZpbGVzIjpbeyJuYW1lIjoiYSIsInNsb3QiOjEsInNpemUiOjIsInNoYTI1NiI6ImZmIn1dfQ==";
    host.answer("artifact.read", move |_| Ok(json!({"size": 70, "base64": report})));
    host.answer("artifact.commit", |asked| Ok(asked.clone()));
    let job = with("k", json!({"Wrap": {"Image": "jobmgr:1", "Artifacts": 3}}));
    let executor = connected(&server);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        let _stop = StopOnPanic(&host);
        created(&server, "k");
        let pod = server.objects().pods["k-pod"]["spec"].clone();
        let words = json!(["/jobmgr-wrap/jobmgr", "wrap", "--", "sh", "-c", "true"]);
        assert_eq!(pod["containers"][0]["command"], words);
        let copies = json!(["cp", "/usr/local/bin/jobmgr", "/jobmgr-wrap/jobmgr"]);
        assert_eq!(
            (&pod["initContainers"][0]["image"], &pod["initContainers"][0]["command"]),
            (&json!("jobmgr:1"), &copies)
        );
        let grants = &pod["containers"][0]["env"][0];
        assert_eq!(grants["name"], "JOBMGR_GRANTS");
        assert!(grants["value"].as_str().unwrap().contains("https://s/$$(A)"), "{grants}");
        server.objects().exit("k", 0);
        run.join().unwrap().unwrap()
    });
    assert_eq!(outcome.exit_code, Some(0));
    let commit = ("artifact.commit".to_owned(), json!({"name": "a", "slot": 1, "size": 2, "sha256": "ff"}));
    assert!(host.requests().contains(&commit), "{:?}", host.requests());
}

#[test]
fn many_jobs_are_asked_about_together() {
    const JOBS: usize = 60;
    let server = Server::start();
    server.objects().page = Some(25);
    let executor = connected(&server);
    thread::scope(|scope| {
        let run = |number: usize| {
            let executor = &executor;
            // A test that fails ends, since its jobs do.
            let host = Host::stop_after(Duration::from_secs(120), Stop::Cancel);
            scope.spawn(move || executor.run(&job(&format!("k{number}")), &host.context()).unwrap())
        };
        let jobs: Vec<_> = (0..JOBS).map(run).collect();
        server.until("all Jobs", |objects| objects.jobs.len() == JOBS);
        server.until("a question about all", |objects| objects.selectors.iter().any(|all| all == "jobmgr/key"));
        for number in 0..JOBS {
            server.objects().exit(&format!("k{number}"), number as i32);
        }
        for (number, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().unwrap().exit_code, Some(number as i32));
        }
    });
}

#[test]
fn a_detached_job_goes_on_with_its_handle_and_with_its_name() {
    for by_handle in [true, false] {
        let server = Server::start();
        let mut job = job("k");
        let (result, before) = run(&server, &job, |host| {
            created(&server, "k");
            server.objects().run("k");
            server.objects().print("k", 1, "one");
            server.objects().print("k", 1, "another");
            server.until("output", |_| host.stdout() == b"one\nanother\n");
            host.stop(Stop::Detach);
        });
        assert_eq!(result.unwrap_err().kind(), Kind::Stopped);
        server.objects().print("k", 2, "two");
        server.objects().exit("k", 0);
        // Somewhere in a line, as it may happen.
        job.logged[0].bytes = 6;
        let (executor, after) = (connected(&server), Host::default());
        let handle = before.checkpoints().pop().filter(|_| by_handle);
        let outcome = executor.recover(&job, handle.as_deref(), &after.context()).unwrap();
        assert_eq!(outcome.exit_code, Some(0));
        assert_eq!(after.stdout(), b"other\ntwo\n");
        assert_eq!(server.objects().count("POST jobs"), 1);
        assert_eq!(server.objects().count("DELETE jobs"), 0, "it was left alone");
    }
    let (server, host) = (Server::start(), Host::default());
    let error = connected(&server).recover(&job("k"), None, &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::NeverStarted);
}

#[test]
fn a_configuration_that_leads_nowhere_is_refused() {
    let server = Server::start();
    let cases = [
        (json!({"Kubeconfig": "here"}), "Kubeconfig: must be an absolute path"),
        (json!({"Kubeconfig": "/nowhere/at/all"}), "Kubeconfig: /nowhere/at/all: failed to read"),
        (json!({"Kubeconfig": server.kubeconfig(), "Context": "there"}), "Context: there is no 'there' in"),
        (json!({"Context": "x"}), "Context: is one of a kubeconfig file"),
        (json!({"Kubeconfig": server.kubeconfig(), "PollEvery": 0}), "PollEvery: must be from 0.05"),
        (json!({"Kubeconfig": server.kubeconfig(), "GpuResource": "gpu"}), "GpuResource: must be a name such as"),
        (json!({"Kubeconfig": server.kubeconfig(), "Namespace": "-"}), "Namespace: must be at most 63"),
    ];
    for (config, want) in cases {
        let error = executor(config.clone()).err().unwrap();
        assert_eq!(error.kind(), Kind::Invalid, "{config}");
        assert!(error.to_string().starts_with(want), "{config}: {error}");
    }
    // This machine is no pod.
    let error = executor(json!({})).err().unwrap().to_string();
    assert!(error.starts_with("Kubeconfig: is needed where jobmgr does not run in a pod"), "{error}");
}
