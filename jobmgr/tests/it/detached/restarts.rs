use jobmgr::crash::VARIABLE;
use jobmgr::domain::job::Status;

use super::{Site, WAIT, attempts, ended, is_whole, log, start, status};
use crate::support::libraries::of_c;
use crate::support::processes::{Signal, children, signal};
use crate::support::server::{Server, eventually};

const RETRY: &str = "Retry = { Max = 1, Backoff = \"100ms\" }";
/// With a short lease, so that nothing waits long for a dead holder.
const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"100ms\"\nDrain = \"20s\"";

#[test]
fn a_job_goes_on_while_the_server_ends_and_starts_again() {
    let site = Site::new(CONFIG);
    let mut server = site.home.serve();
    let id = start(&server, "count");
    eventually("it has written", || log(&server, id, "stdout").contains("line 20\n"));
    signal(server.pid(), Signal::TERM);
    assert_eq!(server.exit().code(), Some(0), "it does not wait for the job: {}", site.home.log());
    assert!(!site.cluster.left().iter().any(|file| file.ends_with(".exit")), "the job goes on");
    let server = site.home.serve();
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    is_whole(&server, id);
    assert_eq!(site.begun(), [format!("{id} 1")]);
    // Where the machine is so busy that a lease is lost, more than once.
    assert!(site.cluster.count("runs") == 1 && site.cluster.count("recovers by handle") >= 1);
    assert_eq!(job.ended.unwrap().artifacts[0].name, "made.txt");
    assert_eq!(attempts(&server, id).len(), 1);
    eventually("it is cleaned up", || site.cluster.left().is_empty());
    let begins = taken_up(&server, id);
    assert_eq!(begins[0], [0, 0, 0]);
    // The executor is told how much is there, and when the end of it was written.
    for [bytes, time, at_that_time] in &begins[1..] {
        assert!(*bytes > 0 && *time == 1_000_000_000 + bytes && (1..=*bytes).contains(at_that_time), "{begins:?}");
    }
    assert_eq!(begins.len(), site.cluster.notes().iter().filter(|note| !note.ends_with("cleans")).count());
}

/// What the database keeps of a job that runs elsewhere has its secrets too, but nobody can read them there.
#[test]
fn a_secret_and_a_file_outlive_the_server_with_their_job() {
    const CANARY: &str = "canary-outside-77d1";
    let site = Site::new(CONFIG);
    let script = "until [ -e ../go ]; do sleep 0.05; done; printf %s \"$JOBMGR_PARAMETER_KEY\" | md5sum; \
                  cat \"$JOBMGR_PARAMETER_DATA\"";
    let parameters = "[[Parameter]]\nName = 'key'\nType = 'string'\nSecret = true\n\
                      [[Parameter]]\nName = 'data'\nType = 'file'\n";
    site.spec("given", script, parameters);
    let mut server = site.home.serve();
    let octets = "Content-Type: application/octet-stream\r\n";
    let input = server.client().try_send("POST", "/v1/inputs", octets, b"one\n").unwrap().json()["id"].clone();
    let body = serde_json::json!({ "key": CANARY, "data": input }).to_string();
    let json = "Content-Type: application/json\r\n";
    let job = server.client().try_send("POST", "/v1/run/given", json, body.as_bytes()).unwrap().json();
    let id = job["id"].as_i64().unwrap_or_else(|| panic!("{job}"));
    eventually("it has begun", || site.cluster.count("runs") == 1);
    server.kill();
    for file in ["jobmgr.db", "jobmgr.db-wal", "server.log"] {
        let bytes = std::fs::read(site.home.path(file)).unwrap_or_default();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found && (file == "server.log" || !bytes.is_empty()), "{file}");
    }
    let server = site.home.serve();
    site.go();
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{:?} {}", job.ended, site.home.log());
    assert_eq!(log(&server, id, "stdout"), "95747827e93ec6ea0f2584dc0ac5eca2  -\none\n");
    eventually("it is cleaned up", || site.cluster.left().is_empty());
}

/// What the executor said whenever it took the job up: the bytes that were there, the time of the last, and how many of
/// those had that time.
fn taken_up(server: &Server, id: i64) -> Vec<[u64; 3]> {
    let said = log(server, id, "executor");
    let numbers = said.lines().map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<u64>>());
    numbers.map(|numbers| numbers.try_into().unwrap_or_else(|_| panic!("{said}"))).collect()
}

#[test]
fn what_the_executor_says_is_there_at_once_and_stays_with_its_attempt() {
    let site = Site::new(CONFIG);
    site.spec("tried", "[ \"$JOBMGR_ATTEMPT\" = 2 ] || exit 3; until [ -e ../go ]; do sleep 0.05; done", RETRY);
    let worker = site.home.serve();
    // Another process than the one that runs the job.
    let api = site.home.serve_by(site.home.jobmgr(&["serve", "--no-worker"]));
    let id = start(&worker, "tried");
    let of = |attempt: i64| {
        let path = format!("/v1/jobs/{id}/logs?stream=executor&attempt={attempt}");
        String::from_utf8(api.client().get(&path).body).unwrap()
    };
    let says = |attempt: i64| of(attempt).ends_with(&format!("-{id}-{attempt} from 0 0 0\n"));
    eventually("it says something in the second attempt", || log(&api, id, "executor").contains("-2 from 0"));
    assert_eq!(status(&api, id), "started");
    assert!(says(1) && says(2) && of(1).lines().count() == 1, "{} {}", of(1), of(2));
    site.go();
    assert_eq!(ended(&worker, &site, id).status, Status::Completed);
    assert!(says(1) && says(2) && of(1).lines().count() == 1, "{} {}", of(1), of(2));
}

#[test]
fn a_job_goes_on_when_the_server_is_killed_again_and_again() {
    let site = Site::new(CONFIG);
    let mut server = site.home.serve();
    let id = start(&server, "count");
    for line in ["line 5\n", "line 60\n", "line 120\n"] {
        eventually("it has written", || log(&server, id, "stdout").contains(line));
        signal(server.pid(), Signal::KILL);
        server.exit();
        server = site.home.serve();
    }
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    is_whole(&server, id);
    assert_eq!(site.begun(), [format!("{id} 1")]);
    assert_eq!(job.ended.unwrap().artifacts.len(), 1);
}

#[test]
fn a_job_that_was_submitted_and_not_noted_is_found_by_its_key() {
    let site = Site::new(CONFIG);
    site.spec("unnoticed", super::COUNT, "Options = { DiesUnnoticed = true }");
    let server = site.home.serve();
    let id = start(&server, "unnoticed");
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    is_whole(&server, id);
    assert_eq!(site.begun(), [format!("{id} 1")]);
    assert_eq!(site.cluster.count("recovers by key"), 1);
}

#[test]
fn a_job_that_was_never_begun_is_begun_once() {
    let site = Site::new(CONFIG);
    for point in ["before-spawn", "after-spawn"] {
        // A server that dies with its first job may not have answered for it.
        let server = site.home.serve_by(site.home.jobmgr(&["serve", "--no-worker"]));
        let id = start(&server, "count");
        drop(server);
        let mut command = site.home.jobmgr(&["worker"]);
        command.env(VARIABLE, format!("{point}:1"));
        site.home.worker_by(command).exit();
        let server = site.home.serve();
        let job = ended(&server, &site, id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{point}: {}", site.home.log());
        is_whole(&server, id);
        let begun = format!("{id} 1");
        assert_eq!(site.begun().iter().filter(|line| **line == begun).count(), 1, "{point}");
    }
}

#[test]
fn a_job_goes_on_when_its_runner_is_killed() {
    let site = Site::new(CONFIG);
    let server = site.home.serve();
    let id = start(&server, "count");
    for line in ["line 5\n", "line 60\n"] {
        eventually("it has written", || log(&server, id, "stdout").contains(line));
        for runner in children(server.pid()) {
            signal(runner, Signal::KILL);
        }
    }
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    is_whole(&server, id);
    assert_eq!(site.begun(), [format!("{id} 1")]);
}

#[test]
fn an_executor_that_can_not_be_loaded_after_a_restart_loses_no_job() {
    let site = Site::new(CONFIG);
    let mut server = site.home.serve();
    let id = start(&server, "wait");
    eventually("it runs", || site.begun().len() == 1);
    signal(server.pid(), Signal::KILL);
    server.exit();
    let library = site.home.path("plugins");
    std::fs::rename(&library, site.home.path("away")).unwrap();
    let server = site.home.serve();
    eventually("it is noticed", || site.home.log().contains("can't be used now"));
    // Long enough for several leases and sweeps.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::time::Instant::now() < until {
        assert_eq!(status(&server, id), "started");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::fs::rename(site.home.path("away"), &library).unwrap();
    site.go();
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    assert_eq!(site.begun().len(), 1);
}

#[test]
fn the_time_of_a_job_is_counted_from_its_beginning() {
    let site = Site::new(CONFIG);
    site.spec("limited", super::WAIT, "Timeout = \"6s\"");
    let mut server = site.home.serve();
    let id = start(&server, "limited");
    for _ in 0..2 {
        eventually("it runs", || site.begun().len() == 1);
        signal(server.pid(), Signal::TERM);
        server.exit();
        server = site.home.serve();
    }
    let job = ended(&server, &site, id);
    let took = job.finished_ms.unwrap() - job.started_ms.unwrap();
    assert_eq!(job.ended.unwrap().error.as_deref(), Some("timeout after 6s"));
    assert!(took >= 6000, "{took} ms");
    eventually("nothing of it is left", || site.cluster.left().is_empty());
}

/// Nobody holds the job for a while, and its GPU is its own all the same.
#[test]
fn a_job_keeps_its_gpu_while_the_server_is_killed_and_starts_again() {
    let site = Site::new(&format!("{CONFIG}\nConcurrency = 2\nGpus = ['1']"));
    let Some(()) = of_c("nvml.c", &site.home.path("libnvidia-ml.so.1"), &[]) else { return };
    site.spec("held", &format!("echo $JOBMGR_GPUS; {WAIT}"), "Gpus = 1");
    site.home.sh("waits", "echo $JOBMGR_GPUS", "Gpus = 1");
    let serve = || {
        let mut command = site.home.jobmgr(&["serve"]);
        command.env("LD_LIBRARY_PATH", site.home.dir.path());
        site.home.serve_by(command)
    };
    let mut server = serve();
    let held = start(&server, "held");
    eventually("it runs", || site.begun().len() == 1);
    let waits = start(&server, "waits");
    for _ in 0..2 {
        signal(server.pid(), Signal::KILL);
        server.exit();
        let before = site.cluster.count("recovers by handle");
        server = serve();
        eventually("it is taken over", || site.cluster.count("recovers by handle") > before);
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!((status(&server, held), status(&server, waits)), ("started".into(), "queued".into()));
    }
    site.go();
    let job = ended(&server, &site, held);
    assert_eq!((job.status, job.attempt, job.gpus), (Status::Completed, 1, vec!["GPU-1".to_owned()]));
    assert_eq!(log(&server, held, "stdout"), "GPU-1\nbegun\nover\n");
    let job = ended(&server, &site, waits);
    assert_eq!((job.status, job.attempt), (Status::Completed, 1), "it was not given back meanwhile");
    assert_eq!(log(&server, waits, "stdout"), "GPU-1\n");
}
