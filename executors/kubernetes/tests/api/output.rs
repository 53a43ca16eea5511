use std::fmt::Write;

use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Event, Kind, Recover, Stop};

use crate::server::Server;
use crate::{connected, created, job, run};

#[test]
fn connections_that_break_lose_and_double_nothing() {
    const LINES: u64 = 200;
    let server = Server::start();
    // Into times, into lines, between them.
    server.objects().cuts = (600..612).collect();
    let mut want = String::new();
    let (result, host) = run(&server, &job("k"), |_| {
        created(&server, "k");
        server.objects().run("k");
        for number in 0..LINES {
            let line = format!("line {number} {}", "x".repeat(usize::try_from(number % 50).unwrap()));
            writeln!(want, "{line}").unwrap();
            // Four lines have the same time.
            server.objects().print("k", number / 4, &line);
        }
        server.until("all connections broke", |objects| objects.cuts.is_empty());
        server.objects().exit("k", 0);
    });
    result.unwrap();
    assert_eq!(String::from_utf8(host.stdout()).unwrap(), want);
}

#[test]
fn a_log_that_lost_its_beginning_is_gone_on_with() {
    let server = Server::start();
    let (result, host) = run(&server, &job("k"), |host| {
        created(&server, "k");
        server.objects().run("k");
        server.objects().print("k", 1, "one");
        server.objects().print("k", 2, "two");
        server.until("two lines", |_| host.stdout() == b"one\ntwo\n");
        server.objects().cuts = vec![90];
        server.objects().print("k", 3, "three");
        server.until("the connection broke", |objects| objects.cuts.is_empty());
        server.objects().rotate("k", 2);
        server.objects().print("k", 4, "four");
        server.objects().exit("k", 0);
    });
    result.unwrap();
    assert_eq!(host.stdout(), b"one\ntwo\nthree\nfour\n");
}

#[test]
fn output_that_is_gone_with_its_pod_is_missed() {
    let server = Server::start();
    server.objects().cuts = vec![10];
    let (result, host) = run(&server, &job("k"), |_| {
        created(&server, "k");
        server.objects().run("k");
        server.objects().print("k", 1, "nobody reads this");
        server.until("the connection broke", |objects| objects.cuts.is_empty());
        let mut objects = server.objects();
        objects.pods.clear();
        objects.jobs.get_mut("k").unwrap()["status"] =
            serde_json::json!({"conditions": [{"type": "Complete", "status": "True"}]});
    });
    assert_eq!(result.unwrap().exit_code, Some(0));
    let warning = Event::Warning("the pod is gone, and with it the end of its output".into());
    assert!(host.events().contains(&warning), "{:?}", host.events());
}

#[test]
fn who_comes_later_asks_from_the_time_on_up_to_which_jobmgr_has_it() {
    let server = Server::start();
    let mut job = job("k");
    let (result, before) = run(&server, &job, |host| {
        created(&server, "k");
        server.objects().run("k");
        for (second, line) in [(1, "one"), (2, "two"), (2, "another")] {
            server.objects().print("k", second, line);
        }
        server.until("three lines", |_| host.stdout() == b"one\ntwo\nanother\n");
        host.stop(Stop::Detach);
    });
    assert_eq!(result.unwrap_err().kind(), Kind::Stopped);
    // In the middle of the last line, at 2026-01-01 00:00:02.
    for (time, bytes) in [(1_767_225_601_000_000_001, 4), (1_767_225_602_000_000_001, 4 + 2)] {
        job.logged[0].add(time, bytes);
    }
    // The node keeps no more than it must: what it lost is not counted again.
    server.objects().rotate("k", 2);
    server.objects().print("k", 3, "three");
    server.objects().exit("k", 0);
    let (executor, after) = (connected(&server), Host::default());
    let handle = before.checkpoints().pop();
    executor.recover(&job, handle.as_deref(), &after.context()).unwrap();
    assert_eq!(String::from_utf8(after.stdout()).unwrap(), "other\nthree\n");
}
