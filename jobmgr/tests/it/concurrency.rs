//! How many jobs run at once, in which order, and how soon.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::{Home, Server, eventually};

const KEYS: &str = "Timeout = \"2m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"";

/// Submits a job with a priority.
fn start_at(server: &Server, name: &str, priority: &str) -> i64 {
    let form = [("name", name), ("parameters", "{}"), ("priority", priority)];
    server.client().try_post("/jobs/start", &form).unwrap().json()["created"].as_i64().unwrap()
}

#[test]
fn three_at_once_and_never_four() {
    let home = Home::new("[Worker]\nConcurrency = 3");
    // Each holds a place of its own while it runs, and counts those that are held.
    let script = "cd \"$JOBMGR_PARAMETER_HOME/places\"; mkdir $JOBMGR_JOB_ID\n\
                  until [ \"$(ls | wc -l)\" -ge 3 ] || [ -e ../last ]; do sleep 0.01; done\n\
                  sleep 0.1; ls | wc -l; rmdir $JOBMGR_JOB_ID";
    home.sh("counts", script, KEYS);
    std::fs::create_dir(home.path("places")).unwrap();
    let server = home.serve();
    let ids: Vec<i64> = (0..12).map(|_| server.start("counts", json!({ "home": home.dir.path() }))).collect();
    // The last ones can't have company.
    eventually("all but the last three have ended", || ids[..9].iter().all(|id| server.job(*id)["result"].is_string()));
    std::fs::write(home.path("last"), "").unwrap();
    let counts: Vec<i64> = ids.iter().map(|id| server.wait(*id).result.trim().parse().unwrap()).collect();
    assert_eq!(counts.iter().max(), Some(&3), "{counts:?}");
}

#[test]
fn one_at_a_time_by_default() {
    let home = Home::new("");
    home.sh(
        "alone",
        "mkdir \"$JOBMGR_PARAMETER_HOME/place\" || exit 9; sleep 0.05; rmdir \"$JOBMGR_PARAMETER_HOME/place\"",
        KEYS,
    );
    let server = home.serve();
    let ids: Vec<i64> = (0..10).map(|_| server.start("alone", json!({ "home": home.dir.path() }))).collect();
    for id in ids {
        assert_eq!(server.wait(id).status, "completed");
    }
}

#[test]
fn lower_numbers_run_first_then_older_jobs() {
    let home = Home::new("");
    home.sh("gate", "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done", KEYS);
    // The order is read from what the jobs themselves do, not from times in seconds.
    home.sh("notes", &format!("echo $JOBMGR_JOB_ID >> '{}'", home.path("order").display()), "");
    home.sh("urgent", &format!("echo $JOBMGR_JOB_ID >> '{}'", home.path("order").display()), "Priority = 7");
    let server = home.serve();
    let gate = server.start("gate", json!({ "home": home.dir.path() }));
    server.wait_for(gate, "started");
    let late = start_at(&server, "notes", "100");
    let first_normal = server.start("notes", json!({}));
    let middle = start_at(&server, "notes", "49");
    let by_spec = server.start("urgent", json!({}));
    let at_once = start_at(&server, "notes", "0");
    let second_normal = start_at(&server, "notes", "50");
    let unread = start_at(&server, "notes", "soon");
    std::fs::write(home.path("go"), "").unwrap();
    server.wait(late);
    let order = std::fs::read_to_string(home.path("order")).unwrap();
    let order: Vec<i64> = order.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(order, [at_once, by_spec, middle, first_normal, second_normal, unread, late]);
    assert_eq!(server.job(by_spec)["job"]["priority"], 7);
}

#[test]
fn no_wake_up_is_lost() {
    // So seldom that each lost wake-up shows.
    let home = Home::new("[Worker]\nPoll = \"20s\"\nConcurrency = 2");
    home.spec("true", "Command = \"true\"");
    let server = home.serve();
    let mut client = server.client();
    let mut slow = 0;
    for round in 0..500u64 {
        let since = Instant::now();
        let started = client.try_post("/jobs/start", &[("name", "true"), ("parameters", "{}")]).unwrap().json();
        let path = format!("/jobs/get?id={}", started["created"]);
        while !client.get(&path).json()["result"].is_string() {
            assert!(since.elapsed() < Duration::from_secs(60), "round {round}");
        }
        slow += u32::from(since.elapsed() > Duration::from_secs(10));
        // So that the worker is met at each of its steps: at work, about to look, about to wait, waiting.
        std::thread::sleep(Duration::from_micros(round * 7919 % 2500));
    }
    assert_eq!(slow, 0, "so many jobs waited until the queue was polled");
}

#[test]
fn a_job_that_another_server_accepted_starts_by_the_poll() {
    let home = Home::new("[Worker]\nPoll = \"500ms\"");
    home.sh("gate", "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done", KEYS);
    home.spec("true", "Command = \"true\"");
    let busy = home.serve();
    let gate = busy.start("gate", json!({ "home": home.dir.path() }));
    busy.wait_for(gate, "started");
    let idle = home.serve();
    let since = Instant::now();
    // Whose worker has its hands full: the other one has to find it without a hint.
    assert_eq!(busy.run("true", json!({})).status, "completed");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(idle.wait(gate).status, "completed");
}

#[test]
fn many_clients_at_once_lose_and_double_nothing() {
    let home = Home::new("[Worker]\nConcurrency = 4");
    home.sh("notes", &format!("echo $JOBMGR_JOB_ID >> '{}'", home.path("ran").display()), "");
    let server = home.serve();
    let mut ids: Vec<i64> = std::thread::scope(|scope| {
        let server = &server;
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(move || (0..25).map(|_| server.start("notes", json!({}))).collect::<Vec<_>>()))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    for id in &ids {
        assert_eq!(server.wait(*id).status, "completed");
    }
    let ran = std::fs::read_to_string(home.path("ran")).unwrap();
    let mut ran: Vec<i64> = ran.lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ran, ids);
}
