use std::fmt::Write;

use jobmgr_plugin_api::Event;

use crate::server::Server;
use crate::{created, job, run};

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
