use std::thread;
use std::time::Duration;

use jobmgr_plugin_api::Executor;
use jobmgr_plugin_api::test::Host;

use crate::server::Server;
use crate::{StopOnPanic, connected, created, job};

/// Runs a job, which is watched when `meanwhile` is called; it exits with 3 after that. How many lists of pods there
/// were meanwhile, and after.
fn watched(server: &Server, meanwhile: impl FnOnce(&Server)) -> (usize, usize) {
    let (executor, host, job) = (connected(server), Host::default(), job("k"));
    thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        let _stop = StopOnPanic(&host);
        created(server, "k");
        server.objects().run("k");
        server.until("both are watched", |objects| objects.watched.len() == 2);
        server.until("what was running is known", |objects| objects.count("GET pods/log") > 0);
        let lists = || server.objects().count("GET pods");
        let before = lists();
        meanwhile(server);
        let middle = lists();
        server.objects().exit("k", 3);
        assert_eq!(run.join().unwrap().unwrap().exit_code, Some(3));
        (middle - before, lists() - middle)
    })
}

/// The executor looks 20 times a second.
const A_WHILE: Duration = Duration::from_millis(700);

#[test]
fn nobody_asks_while_nothing_happens() {
    let (meanwhile, after) = watched(&Server::start(), |_| thread::sleep(A_WHILE));
    assert!(meanwhile <= 2, "{meanwhile} lists");
    assert!((1..=2).contains(&after), "{after} lists");
}

#[test]
fn a_watch_that_breaks_goes_on_where_it_was() {
    let server = Server::start();
    watched(&server, |server| {
        let version = server.objects().version();
        server.objects().watch_cuts += 1;
        server.until("it goes on", |objects| objects.watched.len() == 4);
        let objects = server.objects();
        let mut from: Vec<u64> =
            objects.watched[2..].iter().map(|one| one.split(' ').nth(1).unwrap().parse().unwrap()).collect();
        from.sort_unstable();
        // Its pod was what changed last.
        assert_eq!(from[1], version, "{:?}", objects.watched);
        assert_eq!(objects.count("WATCH jobs"), 2);
    });
}

#[test]
fn a_watch_from_a_version_that_is_forgotten_begins_with_a_list() {
    let server = Server::start();
    watched(&server, |server| {
        let before = {
            let mut objects = server.objects();
            objects.forget_history();
            objects.count("GET pods")
        };
        server.until("it is told so", |objects| objects.watched.len() >= 4);
        server.until("all are asked about", |objects| objects.count("GET pods") > before);
        // What happens next is the first that can be watched again.
        server.objects().print("k", 1, "one");
        server.objects().status("k")["message"] = "changed".into();
        server.until("it is watched again", |objects| objects.watched.len() >= 6);
    });
}

#[test]
fn without_the_right_to_watch_jobs_are_asked_about() {
    let server = Server::start();
    server.objects().is_unwatchable = true;
    let (executor, host, job) = (connected(&server), Host::default(), job("k"));
    thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        let _stop = StopOnPanic(&host);
        created(&server, "k");
        server.until("it tries", |objects| objects.count("WATCH pods") > 0);
        server.until("all are asked about", |objects| objects.count("GET pods") > 5);
        server.objects().exit("k", 3);
        assert_eq!(run.join().unwrap().unwrap().exit_code, Some(3));
    });
}
