//! `jobmgr token`, `jobmgr audit`, and what a server says at its first start; with the real program.

use std::process::Output;

use crate::support::client::Client;
use crate::support::process::Process;
use crate::support::server::{Home, eventually};

fn run(home: &Home, arguments: &[&str]) -> Output {
    home.jobmgr(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The output of a command that went well.
fn printed(home: &Home, arguments: &[&str]) -> String {
    let output = run(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

/// The lines of JSON that a command prints.
fn objects(home: &Home, arguments: &[&str]) -> Vec<serde_json::Value> {
    printed(home, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tokens_are_made_listed_and_revoked_while_a_server_runs() {
    let home = Home::new("");
    home.spec("x", "Command = 'x'");
    let server = home.serve();
    let status = |token: &str, method: &str, path: &str| {
        let header = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        server.client().try_send(method, path, &header, b"").unwrap().status
    };
    assert_eq!(status("", "GET", "/v1/jobs"), 200, "no token, no need of one");
    let made = run(&home, &["token", "create", "ci", "--expires", "30d", "--max-queued", "5", "--rate", "600"]);
    let token = text(&made.stdout).trim_end().to_owned();
    assert!(made.status.success() && token.starts_with("jm_") && token.len() == 52, "{made:?}");
    let told = text(&made.stderr);
    assert!(told.starts_with("token 1, ci: user 2, scopes submit, holds until 2") && !told.contains(&token), "{told}");
    eventually("the server needs a token", || status("", "GET", "/v1/jobs") == 401);
    assert_eq!(status(&token, "GET", "/v1/jobs"), 200);
    assert_eq!(status(&token, "GET", "/v1/workers"), 403);
    let admin = printed(&home, &["token", "create", "root", "--scopes", "read,admin", "--user", "1"]);
    eventually("the server knows the second one", || status(admin.trim_end(), "GET", "/v1/tokens") == 200);
    let refused = run(&home, &["token", "create", "ci"]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("already"), "{refused:?}");
    for wrong in [&["token", "create", "17"][..], &["token", "create", "x", "--scopes", "write"], &["token", "revoke"]]
    {
        assert_eq!(run(&home, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let list = printed(&home, &["token", "list"]);
    assert!(list.lines().count() == 3 && list.contains("read,admin") && !list.contains(&token), "{list}");
    let [ci, root] = &objects(&home, &["token", "list", "--json"])[..] else { panic!("not two tokens") };
    assert_eq!((&ci["name"], &ci["maxQueued"], &ci["requestsPerMinute"]), (&"ci".into(), &5.into(), &600.into()));
    assert_eq!((&root["state"], &root["userID"], &root["expires"]), (&"active".into(), &1.into(), &().into()));
    assert!(printed(&home, &["token", "revoke", "ci"]).contains("revoked"));
    assert_eq!(run(&home, &["token", "revoke", "ci"]).status.code(), Some(1));
    eventually("the server takes it no more", || status(&token, "GET", "/v1/jobs") == 401);
    assert_eq!(objects(&home, &["token", "list", "--json"]).len(), 1);
    assert_eq!(objects(&home, &["token", "list", "--json", "--all"])[0]["state"], "revoked");
    // What was done is told, and by whom; what was shown is nowhere.
    assert_eq!(status(admin.trim_end(), "POST", &format!("/v1/jobs/1/cancel?{token}")), 404);
    assert_eq!(status(admin.trim_end(), "DELETE", "/v1/tokens/2"), 204);
    let actions = || {
        let lines = objects(&home, &["audit", "--since", "1h", "--json"]);
        lines.into_iter().map(|line| format!("{} {}", line["token"], line["action"])).collect::<Vec<_>>()
    };
    let expected = ["cli token.create", "cli token.create", "cli token.revoke", "root token.revoke"];
    let expected = expected.map(|line| line.replacen("cli", "\"cli\"", 1).replacen("root", "\"root\"", 1));
    let expected = expected.map(|line| line.replacen(' ', " \"", 1) + "\"");
    eventually("the audit log has it all", || actions() == expected);
    assert!(printed(&home, &["audit"]).lines().last().unwrap().contains("root (user 1, 127.0.0.1)  token.revoke"));
    assert_eq!(objects(&home, &["audit", "--limit", "1", "--json"]).len(), 1);
    drop(server);
    let log = home.log();
    assert!(log.contains("audit") && !log.contains(&token[3..]) && !log.contains(&admin[3..20]), "{log}");
}

#[test]
fn row_101_a_token_in_an_address_is_not_in_the_log() {
    let home = Home::new("");
    let token = printed(&home, &["token", "create", "ci"]);
    let token = token.trim_end();
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_LOG", "trace");
    let server = home.serve_by(command);
    let header = format!("Authorization: Bearer {token}\r\nX-Request-Id: end-of-test\r\n");
    let evil = format!("/v1/jobs/{token}?x={token}%1b[2J%0aforged");
    let answer = server.client().try_send("GET", &evil, &header, b"").unwrap();
    assert_eq!(answer.status, 404);
    eventually("the request is in the log", || home.log().contains("end-of-test"));
    let log = home.log();
    assert!(log.contains("jm_***") && !log.contains(&token[3..]), "{log}");
    assert!(log.lines().all(|line| !line.contains('\u{1b}') && line.len() < 20_000));
}

/// What a server prints until it serves.
fn greeting(home: &Home, listen: &str) -> String {
    let file = home.path("greeting");
    let mut command = home.jobmgr(&["serve", "--no-worker"]);
    command.env("JOBMGR_SERVER__LISTEN", listen).stdout(std::fs::File::create(&file).unwrap());
    let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let process = Process { child };
    let told = || std::fs::read_to_string(&file).unwrap();
    let mut port = None;
    eventually("the server listens", || {
        let told = told();
        let line = told.lines().find(|line| line.contains("listens on http://"));
        port = line.filter(|_| told.contains('\n')).and_then(|line| line.rsplit_once(':')?.1.parse::<u16>().ok());
        port.is_some()
    });
    // It answers once all is printed.
    eventually("the server serves", || {
        let client = Client::try_connect(([127, 0, 0, 1], port.unwrap()).into());
        client
            .and_then(|mut client| client.try_send("GET", "/healthz", "", b""))
            .is_ok_and(|answer| answer.status == 200)
    });
    drop(process);
    told()
}

#[test]
fn the_first_start_for_other_machines_makes_a_token_once() {
    let home = Home::new("[Server]\nAuth = \"token\"\n");
    let here = greeting(&home, "127.0.0.1:0");
    assert!(here.contains("jobmgr token create NAME --scopes admin") && !here.contains("jm_"), "{here}");
    let first = greeting(&home, "0.0.0.0:0");
    assert_eq!(first.matches("jm_").count(), 1, "{first}");
    let [token] = &objects(&home, &["token", "list", "--json"])[..] else { panic!("not one token") };
    let admin = serde_json::json!(["admin"]);
    assert_eq!((&token["name"], &token["scopes"], &token["userID"]), (&"admin".into(), &admin, &1.into()));
    let second = greeting(&home, "0.0.0.0:0");
    assert!(!second.contains("jm_"), "{second}");
    assert_eq!(objects(&home, &["token", "list", "--json"]).len(), 1);
}
