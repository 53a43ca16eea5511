use crate::support::server::{Home, Server, eventually};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Submits a job with these headers; what it says of its trace.
fn told(server: &Server, path: &str, kind: &str, body: &str, headers: &str) -> String {
    let headers = format!("Content-Type: {kind}\r\n{headers}");
    let answer = server.client().try_send("POST", path, &headers, body.as_bytes()).unwrap();
    assert!(answer.status < 300, "{answer:?}");
    let answer = answer.json();
    let id = [&answer["created"], &answer["id"], &answer["ids"][0]].into_iter().find_map(|id| id.as_i64());
    let id = id.unwrap_or_else(|| panic!("{answer}"));
    let mut output = String::new();
    eventually("the job ends", || {
        output = server.job(id)["result"].as_str().unwrap_or_default().to_owned();
        !output.is_empty()
    });
    output.trim().to_owned()
}

#[test]
fn a_job_learns_the_trace_of_its_submission() {
    let home = Home::new("");
    home.sh("told", "echo \"<$TRACEPARENT>\"", "");
    home.sh("own", "echo \"<$TRACEPARENT>\"", "Env = { TRACEPARENT = \"own\" }");
    let mut command = home.jobmgr(&["serve"]);
    command.env("TRACEPARENT", "that of the server");
    let server = home.serve_by(command);
    let json = "application/json";
    let ways = [
        ("/jobs/start", "application/x-www-form-urlencoded", "name=told&parameters={}"),
        ("/v1/jobs", json, "{\"name\":\"told\"}"),
        ("/v1/run/told", json, "{}"),
        ("/v1/jobs/batch", json, "{\"jobs\":[{\"name\":\"told\"}]}"),
    ];
    for (path, kind, body) in ways {
        let with = told(&server, path, kind, body, &format!("traceparent: {PARENT}\r\n"));
        assert_eq!(with, format!("<{PARENT}>"), "{path}");
        assert_eq!(told(&server, path, kind, body, ""), "<>", "{path}");
    }
    for bad in ["x", &PARENT[1..], &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32))] {
        assert_eq!(told(&server, "/v1/run/told", json, "{}", &format!("traceparent: {bad}\r\n")), "<>", "{bad}");
    }
    let twice = format!("traceparent: {PARENT}\r\n").repeat(2);
    assert_eq!(told(&server, "/v1/run/told", json, "{}", &twice), "<>");
    assert_eq!(told(&server, "/v1/run/own", json, "{}", &format!("traceparent: {PARENT}\r\n")), "<own>");
}
