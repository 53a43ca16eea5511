use std::collections::BTreeSet;

use jobmgr::domain::job::{Reason, Status};
use sha2::{Digest, Sha256};

use super::{Site, attempts, ended, is_whole, log, start, status};
use crate::support::databases::Kind;
use crate::support::libraries::{built, install};
use crate::support::processes::{Signal, children, is_plugin_runner, signal};
use crate::support::server::{Server, eventually};

const CONFIG: &str = "[Worker]\nLease = \"2s\"\nPoll = \"100ms\"\nDrain = \"20s\"";

#[test]
fn many_run_at_once_beside_the_slots_in_one_process() {
    let site = Site::new(CONFIG);
    site.spec("many", super::WAIT, "");
    site.home.sh("own", "echo own", "");
    let server = site.home.serve();
    let ids: Vec<i64> = (0..60).map(|_| start(&server, "many")).collect();
    eventually("all run at once", || site.begun().len() == ids.len());
    assert_eq!(server.run("own", serde_json::json!({})).status, "completed", "the slot is free");
    site.go();
    for id in &ids {
        assert_eq!(ended(&server, &site, *id).status, Status::Completed);
        assert_eq!(log(&server, *id, "stdout"), "begun\nover\n");
    }
    assert_eq!(site.begun().iter().collect::<BTreeSet<_>>().len(), ids.len());
    eventually("all is cleaned up", || site.cluster.left().is_empty());
}

/// By a new file, as an installation would: what runs ends well where it began, and what comes gets the new one.
#[test]
fn a_library_is_replaced_while_its_jobs_run() {
    let site = Site::new(CONFIG);
    site.spec("long", super::WAIT, "Timeout = \"60s\"");
    let library = built("jobmgr-executor-outside");
    let server = site.home.serve();
    let old: Vec<i64> = (0..3).map(|_| start(&server, "long")).collect();
    eventually("three run", || site.begun().len() == 3);
    let mut bytes = std::fs::read(&library).unwrap();
    let before = sha256(&bytes);
    // Nobody looks behind the end of a library, but it is another file.
    bytes.extend_from_slice(b"new");
    let new = site.home.path("new.so");
    std::fs::write(&new, &bytes).unwrap();
    install(&new, &site.home.path("plugins"), "outside");
    let next = start(&server, "long");
    eventually("the next one runs", || site.begun().len() == 4);
    assert_eq!(libraries(&server), 2, "each in its process");
    site.go();
    for id in &old {
        let job = ended(&server, &site, *id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
        assert_eq!(log(&server, *id, "stdout"), "begun\nover\n");
        assert_eq!(job.executor.unwrap()["sha256"], before);
    }
    let job = ended(&server, &site, next);
    assert_eq!((job.status, job.executor.unwrap()["sha256"].as_str()), (Status::Completed, Some(&*sha256(&bytes))));
    assert_eq!(site.cluster.count("recovers by handle"), 0, "nobody had to go on with one");
    eventually("the old one is gone", || libraries(&server) == 1);
}

/// How many processes have a library in them.
fn libraries(server: &Server) -> usize {
    children(server.pid()).into_iter().filter(|pid| is_plugin_runner(*pid)).count()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_more_run_at_once_than_its_section_says() {
    let site = Site::new(CONFIG);
    let config = std::fs::read_to_string(site.home.path("config.toml")).unwrap();
    let config = config.replace("[Executors.outside]\n", "[Executors.outside]\nConcurrency = 3\n");
    std::fs::write(site.home.path("config.toml"), config).unwrap();
    let server = site.home.serve();
    let ids: Vec<i64> = (0..6).map(|_| start(&server, "wait")).collect();
    eventually("three run", || site.begun().len() == 3);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(site.begun().len(), 3);
    site.go();
    for id in ids {
        assert_eq!(ended(&server, &site, id).status, Status::Completed);
    }
}

#[test]
fn another_worker_goes_on_with_the_job_of_a_hung_one() {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let Some(site) = Site::on(kind, CONFIG) else { continue };
        let api = site.home.serve_by(site.home.jobmgr(&["serve", "--no-worker"]));
        let first = site.home.worker_by(site.home.jobmgr(&["worker"]));
        let id = start(&api, "count");
        eventually("it has written", || log(&api, id, "stdout").contains("line 20\n"));
        eventually("its executor is heard", || log(&api, id, "executor").ends_with("-1 from 0 0 0\n"));
        signal(first.pid(), Signal::STOP);
        let _second = site.home.worker_by(site.home.jobmgr(&["worker"]));
        eventually("the other one has it", || site.cluster.count("recovers by handle") == 1);
        signal(first.pid(), Signal::CONT);
        let job = ended(&api, &site, id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
        is_whole(&api, id);
        assert_eq!(site.begun(), [format!("{id} 1")]);
        assert_eq!(job.ended.unwrap().artifacts.len(), 1);
        assert_eq!(attempts(&api, id).len(), 1);
        assert!(log(&api, id, "executor").lines().count() >= 2, "what both holders heard");
    }
}

#[test]
fn a_worker_that_drains_leaves_its_jobs_to_another() {
    let Some(site) = Site::on(Kind::Postgres, CONFIG) else { return };
    let api = site.home.serve_by(site.home.jobmgr(&["serve", "--no-worker"]));
    let mut first = site.home.worker_by(site.home.jobmgr(&["worker"]));
    let ids: Vec<i64> = (0..10).map(|_| start(&api, "wait")).collect();
    eventually("all run", || site.begun().len() == ids.len());
    let _second = site.home.worker_by(site.home.jobmgr(&["worker"]));
    signal(first.pid(), Signal::TERM);
    assert_eq!(first.exit().code(), Some(0));
    eventually("the other one has them", || site.cluster.count("recovers by handle") >= ids.len());
    site.go();
    for id in ids {
        let job = ended(&api, &site, id);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
    }
    assert_eq!(site.begun().len(), 10);
}

#[test]
fn a_canceled_job_is_ended_where_it_runs() {
    let site = Site::new(CONFIG);
    let mut server = site.home.serve();
    let id = start(&server, "wait");
    eventually("it runs", || site.begun().len() == 1);
    assert_eq!(server.client().try_send("POST", &format!("/v1/jobs/{id}/cancel"), "", b"").unwrap().status, 202);
    assert_eq!(ended(&server, &site, id).status, Status::Canceled);
    eventually("nothing of it is left", || site.cluster.left().is_empty());

    // While nobody has it: whoever takes it over ends it.
    let id = start(&server, "wait");
    eventually("it runs", || site.begun().len() == 2);
    signal(server.pid(), Signal::KILL);
    server.exit();
    let api = site.home.serve_by(site.home.jobmgr(&["serve", "--no-worker"]));
    assert_eq!(api.client().try_send("POST", &format!("/v1/jobs/{id}/cancel"), "", b"").unwrap().status, 202);
    assert_eq!(status(&api, id), "started");
    drop(api);
    let server = site.home.serve();
    assert_eq!(ended(&server, &site, id).status, Status::Canceled);
    eventually("nothing of it is left", || site.cluster.left().is_empty());
    assert_eq!(site.begun().len(), 2);
}

#[test]
fn a_job_that_is_gone_fails_and_says_so() {
    let site = Site::new(CONFIG);
    let mut server = site.home.serve();
    let id = start(&server, "wait");
    eventually("it runs", || site.begun().len() == 1);
    signal(server.pid(), Signal::KILL);
    server.exit();
    for file in site.cluster.left() {
        std::fs::remove_file(site.cluster.folder.join(file)).unwrap();
    }
    site.go();
    let server = site.home.serve();
    let job = ended(&server, &site, id);
    assert_eq!((job.status, job.reason), (Status::Failed, Some(Reason::ExecutorError)));
    let error = job.ended.unwrap().error.unwrap();
    assert!(error.starts_with("lost: jm-") && error.ends_with(" is gone"), "{error}");
}

#[test]
fn what_can_not_be_cleaned_up_now_is_cleaned_up_later() {
    let site = Site::new(CONFIG);
    site.go();
    site.cluster.touch("no-cleaning");
    let mut server = site.home.serve();
    let id = start(&server, "wait");
    assert_eq!(ended(&server, &site, id).status, Status::Completed, "that does not change its result");
    eventually("it was tried", || site.cluster.count("cleans") > 0);
    assert!(!site.cluster.left().is_empty());
    signal(server.pid(), Signal::KILL);
    server.exit();
    std::fs::remove_file(site.cluster.folder.join("no-cleaning")).unwrap();
    let _server = site.home.serve();
    eventually("it is cleaned up", || site.cluster.left().is_empty());
    assert!(!site.cluster.has("no-cleaning"));
}
