use serde_json::{Value, json};

use crate::support::server::{Home, Server, eventually};

/// The lines about requests, as JSON.
fn lines(home: &Home) -> Vec<Value> {
    let log = home.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    lines.filter(|line| line["message"] == "request").collect()
}

fn serve(home: &Home) -> Server {
    home.serve_by(home.jobmgr(&["serve", "--log-format", "json"]))
}

#[test]
fn each_request_has_a_line() {
    let home = Home::new("[Server]\nAccessLog = true\n");
    home.sh("well", "echo well", "");
    let server = serve(&home);
    server.run("well", json!({}));
    let answer = server.client().get("/v1/jobs/1/logs");
    let request_id = answer.header("x-request-id").unwrap().to_owned();
    let find = || lines(&home).into_iter().find(|line| line["id"] == request_id.as_str());
    eventually("the line is there", || find().is_some());
    let line = find().unwrap();
    for (field, expected) in [
        ("level", json!("INFO")),
        ("method", json!("GET")),
        ("route", json!("/v1/jobs/{id}/logs")),
        ("path", json!("/v1/jobs/1/logs")),
        ("status", json!(200)),
        ("bytes", json!(5)),
        ("user", json!(1)),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert!(line["micros"].as_u64().is_some_and(|micros| micros > 0), "{line}");
    assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert_eq!(line["token"], Value::Null, "{line}");
    let made = home.jobmgr(&["token", "create", "ci", "--scopes", "read"]).output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let secret = made.split_whitespace().find(|word| word.starts_with("jm_")).unwrap_or_else(|| panic!("{made}"));
    let with = format!("Authorization: Bearer {secret}\r\n");
    eventually("it is told whose token it was", || {
        server.client().try_send("GET", "/v1/me", &with, b"").unwrap();
        lines(&home).iter().any(|line| line["path"] == "/v1/me" && line["token"] == "ci")
    });
    assert!(!home.log().contains(secret));
}

#[test]
fn it_is_silent_unless_asked_for() {
    let home = Home::new("");
    let server = serve(&home);
    assert_eq!(server.client().get("/healthz").status, 200);
    assert_eq!(server.client().get("/v1/jobs").status, 200);
    assert_eq!(lines(&home), Vec::<Value>::new());
    drop(server);
    let mut debugging = home.jobmgr(&["serve", "--log-format", "json"]);
    debugging.env("JOBMGR_LOG", "info,access=debug");
    let server = home.serve_by(debugging);
    assert_eq!(server.client().get("/healthz").status, 200);
    eventually("a line at debug", || lines(&home).iter().any(|line| line["level"] == "DEBUG"));
}

/// In lines for people, of which each is one whatever a client sent.
#[test]
fn row_101_what_a_client_sent_can_not_forge_the_log() {
    let home = Home::new("[Server]\nAccessLog = true\n");
    let server = home.serve();
    let before = home.log().lines().count();
    let long = "y".repeat(60_000);
    for path in ["/v1/jobs?token=jm_SECRET&signature=SECRET", "/%0a%1b%5b31m", &format!("/{long}"), "/v1/jobs/1%0aINFO"]
    {
        server.client().get(path);
    }
    let forged = "X-Request-Id: a\tb\r\nUser-Agent: SECRET\r\nReferer: SECRET\r\n";
    server.client().try_send("GET", "/healthz", forged, b"").unwrap();
    // A name with everything, which the worker tells of; and a value of nearly a MiB.
    let name = "evil\nINFO forged \u{1b}[31m\u{9b}x\r";
    server.run(name, json!({ "value": "SECRET ".repeat(100_000) }));
    eventually("all of it is told", || home.log().lines().count() >= before + 6);
    let log = home.log();
    assert!(!log.contains("SECRET"), "a query, a header or a value is in the log");
    let harmless = |c: char| c == '\n' || !c.is_control();
    assert!(log.chars().all(harmless), "a control character is in the log: {log:?}");
    for line in log.lines() {
        assert!(line.starts_with("20") && line.len() < 2000, "a line of its own, or a long one: {line:.300}");
    }
}
