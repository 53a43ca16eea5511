//! `/v1`: uploaded files and submissions with files. What is named `row_...` is a row of the catalogue of faults.

use std::time::Duration;

use jobmgr::config;
use jobmgr::domain::submission::NewJob;
use jobmgr::store::Submitted;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{DEADLINE, Reply, Server};

const SPEC: &str = "Command = 'x'\n[[Parameter]]\nName = 'data'\nType = 'file'\n\
                    [[Parameter]]\nName = 'more'\nType = 'file'\nOptional = true\n\
                    [[Parameter]]\nName = 'count'\nType = 'int'\nOptional = true\n";

async fn server() -> Server {
    with(config::Server::default()).await
}

async fn with(config: config::Server) -> Server {
    let server = Server::with(config).await;
    std::fs::write(server.api.config.jobspecs.join("x.toml"), SPEC).unwrap();
    server
}

async fn upload(server: &Server, query: &str, headers: &str, body: &str) -> Reply {
    let headers = format!(
        "Content-Type: application/octet-stream\r\nContent-Length: {}\r\n{headers}Connection: close\r\n",
        body.len()
    );
    server.send(format!("POST /v1/inputs{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")).await
}

async fn input(server: &Server, body: &str) -> i64 {
    upload(server, "", "", body).await.json()["id"].as_i64().unwrap()
}

async fn submit(server: &Server, parameters: Value) -> Reply {
    server.post("/v1/jobs", "application/json", &json!({ "name": "x", "parameters": parameters }).to_string()).await
}

/// A part of a form: its name, its file's name, what it holds.
fn form(parts: &[(&str, &str, &str)]) -> String {
    let part = |(name, file, body): &(&str, &str, &str)| {
        let file = if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"") };
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{body}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--XX--\r\n"
}

async fn post_form(server: &Server, headers: &str, body: &str) -> Reply {
    let head = format!(
        "POST /v1/jobs/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\n{headers}\r\n",
        body.len()
    );
    server.send(head + body).await
}

fn problem(reply: &Reply) -> (u16, String, Vec<String>) {
    let problem = reply.json();
    let fields = problem["errors"].as_array().into_iter().flatten();
    let fields = fields.map(|error| error["field"].as_str().unwrap().to_owned()).collect();
    (reply.status, problem["code"].as_str().unwrap_or_default().to_owned(), fields)
}

fn refused(reply: &Reply, status: u16, code: &str, fields: &[&str]) {
    let (is, word, mut named) = problem(reply);
    named.sort();
    assert_eq!(
        (is, word.as_str(), named),
        (status, code, fields.iter().map(|&f| f.to_owned()).collect()),
        "{}",
        reply.text()
    );
}

/// The objects of uploaded files that are in the store, whole or not.
fn objects(server: &Server) -> usize {
    let installations = std::fs::read_dir(server.dir.path().join("store/inputs")).into_iter().flatten().flatten();
    installations.map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().count()).sum()
}

async fn eventually(what: &str, mut happens: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !happens().await {
        assert!(tokio::time::Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_is_uploaded_and_described() {
    let server = server().await;
    let reply = upload(&server, "?name=a%2Fb%20c.csv", "", "one,two\n").await;
    assert_eq!((reply.status, reply.header("location")), (201, "/v1/inputs/1"), "{}", reply.text());
    let input = reply.json();
    let sha256: String = Sha256::digest("one,two\n").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&input["id"], &input["name"], &input["size"]), (&json!(1), &json!("b c.csv"), &json!(8)));
    assert_eq!(input["sha256"], json!(sha256));
    assert_eq!(server.get("/v1/inputs/1").await.json(), input);
    let named =
        upload(&server, "", "Content-Disposition: attachment; filename*=UTF-8''%C3%A9.png\r\n", "").await.json();
    assert_eq!((&named["name"], &named["size"]), (&json!("é.png"), &json!(0)));
    assert_eq!(upload(&server, "", "", "x").await.json()["name"], "input");
    assert_eq!(objects(&server), 3);
    assert_eq!(server.ask("DELETE", "/v1/inputs/1", "").await.status, 204);
    refused(&server.get("/v1/inputs/1").await, 404, "not_found", &[]);
    refused(&server.ask("DELETE", "/v1/inputs/1", "").await, 404, "not_found", &[]);
    assert_eq!(objects(&server), 2);
    for id in ["0", "x", "-1", "9223372036854775808", "99"] {
        refused(&server.get(&format!("/v1/inputs/{id}")).await, 404, "not_found", &[]);
    }
}

#[tokio::test]
async fn a_job_is_given_what_was_uploaded() {
    let server = server().await;
    let (one, two) = (input(&server, "1").await, input(&server, "2").await);
    let reply = submit(&server, json!({ "data": one, "more": two.to_string() })).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.json()["parameters"], json!({ "data": "1", "more": "2" }));
    let run = server.post("/v1/run/x", "application/json", &json!({ "data": two }).to_string()).await;
    assert_eq!(run.status, 201, "{}", run.text());
    let batch = json!({ "jobs": [{ "name": "x", "parameters": { "data": one } }] });
    assert_eq!(server.post("/v1/jobs/batch", "application/json", &batch.to_string()).await.status, 201);
    refused(&server.ask("DELETE", "/v1/inputs/1", "").await, 409, "conflict", &[]);
    let given = server.api.store.inputs_of(1).await.unwrap();
    assert_eq!(given.iter().map(|input| input.id).collect::<Vec<_>>(), [1, 2]);
    // Run again, it has the same files; they go with the last job.
    server.ask("POST", "/v1/jobs/1/cancel", "Content-Length: 0\r\n").await;
    assert_eq!(server.ask("POST", "/v1/jobs/1/retry", "Content-Length: 0\r\n").await.status, 201);
    assert_eq!(server.ask("DELETE", "/v1/jobs/1", "").await.status, 204);
    assert_eq!((server.get("/v1/inputs/1").await.status, objects(&server)), (200, 2));
    for id in [2, 4, 3] {
        server.ask("POST", &format!("/v1/jobs/{id}/cancel"), "Content-Length: 0\r\n").await;
        assert_eq!(server.ask("DELETE", &format!("/v1/jobs/{id}"), "").await.status, 204);
    }
    assert_eq!((server.get("/v1/inputs/1").await.status, server.get("/v1/inputs/2").await.status), (404, 404));
    assert_eq!(objects(&server), 0);
}

#[tokio::test]
async fn a_file_that_is_not_there_or_anothers_is_named() {
    let server = server().await;
    let own = input(&server, "1").await;
    refused(
        &submit(&server, json!({ "data": 99, "more": 98, "count": "x" })).await,
        422,
        "invalid_parameters",
        &["parameters.count", "parameters.data", "parameters.more"],
    );
    for value in [json!("x"), json!(0), json!(-1), json!(1.5), json!(true), json!(null), json!("1 "), json!([1])] {
        refused(&submit(&server, json!({ "data": value })).await, 422, "invalid_parameters", &["parameters.data"]);
    }
    refused(&submit(&server, json!({})).await, 422, "invalid_parameters", &["parameters.data"]);
    let batch = json!({ "jobs": [
        { "name": "x", "parameters": { "data": own } }, { "name": "x", "parameters": { "data": 99 } },
    ] });
    let reply = server.post("/v1/jobs/batch", "application/json", &batch.to_string()).await;
    refused(&reply, 422, "invalid_parameters", &["jobs[1].parameters.data"]);
    assert_eq!(server.api.store.highest_id().await.unwrap(), 0);
}

#[tokio::test]
async fn a_job_and_its_files_come_in_one_request() {
    let server = server().await;
    let job = json!({ "name": "x", "parameters": { "count": 5 } }).to_string();
    for parts in [
        [("job", "", job.as_str()), ("data", "a.csv", "one"), ("more", "", "two\r\n--X\r\n")],
        [("more", "", "two\r\n--X\r\n"), ("data", "dir/a.csv", "one"), ("job", "job.json", job.as_str())],
    ] {
        let reply = post_form(&server, "", &form(&parts)).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        let id = reply.json()["id"].as_i64().unwrap();
        let mut given = server.api.store.inputs_of(id).await.unwrap();
        given.sort_by_key(|input| input.name.clone());
        let seen: Vec<_> = given.iter().map(|input| (input.name.as_str(), input.size)).collect();
        assert_eq!(seen, [("a.csv", 3), ("input", 10)]);
        let values = reply.json()["parameters"].clone();
        assert_eq!(
            (&values["data"], &values["more"]),
            (&json!(given[0].id.to_string()), &json!(given[1].id.to_string()))
        );
    }
    // The same once more under a key is the same job, and its files are not kept twice.
    let body = form(&[("job", "", &job), ("data", "a", "one")]);
    let first = post_form(&server, "Idempotency-Key: k\r\n", &body).await;
    let again = post_form(&server, "Idempotency-Key: k\r\n", &body).await;
    assert_eq!((first.status, again.status, &first.json()["id"]), (201, 200, &again.json()["id"]));
    let other = form(&[("job", "", &job), ("data", "a", "two")]);
    refused(&post_form(&server, "Idempotency-Key: k\r\n", &other).await, 409, "conflict", &[]);
    assert_eq!(objects(&server), 5);
}

#[tokio::test]
async fn a_jobspec_has_a_form_of_its_own() {
    let server = server().await;
    let run = async |parts: &[(&str, &str, &str)]| {
        let body = form(parts);
        server.post("/v1/run/x/upload", "multipart/form-data; boundary=XX", &body).await
    };
    let reply = run(&[("count", "", "+5"), ("data", "a.csv", "one")]).await;
    assert_eq!((reply.status, &reply.json()["parameters"]), (201, &json!({ "count": "5", "data": "1" })));
    let given = server.api.store.inputs_of(1).await.unwrap();
    assert_eq!((given[0].name.as_str(), given[0].size), ("a.csv", 3));
    refused(
        &run(&[("count", "", "x"), ("other", "", "y")]).await,
        422,
        "invalid_parameters",
        &["count", "data", "other"],
    );
    refused(&run(&[("data", "", "x"), ("data", "", "y")]).await, 422, "invalid_parameters", &["data"]);
    refused(
        &run(&[("data", "", "x"), ("more", "", "y"), ("count", "", "\0")]).await,
        422,
        "invalid_parameters",
        &["count"],
    );
    refused(&run(&[("data", "", "x"), ("count", "", &"y".repeat(2 << 20))]).await, 413, "too_large", &[]);
    let reply = server.post("/v1/run/none/upload", "multipart/form-data; boundary=XX", &form(&[])).await;
    refused(&reply, 404, "unknown_job", &[]);
    eventually("nothing else is left", async || objects(&server) == 1).await;
    let page = server.get("/docs").await.text().to_owned();
    assert!(page.contains("run_x_with_files") && page.contains("multipart/form-data"));
    assert!(!server.get("/openapi.json").await.text().contains("\"multipart/form-data\""));
}

/// Whatever is wrong, nothing is left in the store.
#[tokio::test]
async fn a_form_that_is_refused_leaves_nothing() {
    let server = with(config::Server { max_inputs: 2, ..Default::default() }).await;
    let good = json!({ "name": "x" }).to_string();
    let file = ("data", "a", "one");
    let parameters = |parameters: Value| json!({ "name": "x", "parameters": parameters }).to_string();
    type Part<'a> = (&'a str, &'a str, &'a str);
    let cases: Vec<(Vec<Part>, u16, &str, Vec<&str>)> = vec![
        (vec![file], 422, "invalid_parameters", vec!["job"]),
        (vec![("job", "", &good)], 422, "invalid_parameters", vec!["parameters.data"]),
        (vec![("job", "", "{"), file], 400, "invalid_json", vec![]),
        (vec![("job", "", "[]"), file], 400, "invalid_json", vec![]),
        (vec![("job", "", &good), file, file], 422, "invalid_parameters", vec!["data"]),
        (vec![("job", "", &good), ("job", "", &good), file], 422, "invalid_parameters", vec!["job"]),
        (vec![("job", "", &good), file, ("other", "", "x")], 422, "invalid_parameters", vec!["parameters.other"]),
        (vec![("job", "", &good), file, ("count", "", "5")], 422, "invalid_parameters", vec!["parameters.count"]),
        (vec![("job", "", &good), file, ("", "", "5")], 422, "invalid_parameters", vec!["parts without a name"]),
        (vec![("job", "", &good), file, ("more", "", ""), ("third", "", "")], 413, "too_large", vec![]),
        (vec![("job", "", "{\"name\":\"none\"}"), file], 404, "unknown_job", vec![]),
    ];
    for (parts, status, code, fields) in cases {
        refused(&post_form(&server, "", &form(&parts)).await, status, code, &fields);
    }
    let twice = parameters(json!({ "data": 1 }));
    let reply = post_form(&server, "", &form(&[("job", "", &twice), file])).await;
    refused(&reply, 422, "invalid_parameters", &["parameters.data"]);
    eventually("nothing is left", async || objects(&server) == 0).await;
    assert_eq!(server.api.store.highest_id().await.unwrap(), 0);
    assert!(server.api.store.unused_inputs(Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn row_13_a_form_of_another_type_or_without_an_end_is_refused() {
    let server = server().await;
    let body = form(&[("job", "", "{\"name\":\"x\"}"), ("data", "a", "one")]);
    for (kind, status, code) in [
        ("application/json", 415, "unsupported_media_type"),
        ("", 415, "unsupported_media_type"),
        ("multipart/mixed; boundary=XX", 415, "unsupported_media_type"),
        ("multipart/form-data", 400, "invalid_multipart"),
        ("multipart/form-data; boundary=YY", 408, "incomplete"),
    ] {
        refused(&server.post("/v1/jobs/upload", kind, &body).await, status, code, &[]);
    }
    for kind in ["application/json", "multipart/form-data; boundary=XX", "", "text/plain"] {
        refused(&server.post("/v1/inputs", kind, "x").await, 415, "unsupported_media_type", &[]);
    }
    // Cut at every place, it is never taken for whole.
    for end in (0..body.len() - 4).step_by(7) {
        let (status, code, _) = problem(&post_form(&server, "", &body[..end]).await);
        assert!(
            [(408, "incomplete"), (400, "invalid_multipart")].contains(&(status, code.as_str())),
            "{end}: {status}"
        );
    }
    let broken = body.replace("Content-Disposition: form-data", "Content-Disposition\0");
    let (status, ..) = problem(&post_form(&server, "", &broken).await);
    assert!([400, 408, 422].contains(&status), "{status}");
    eventually("nothing is left", async || objects(&server) == 0).await;
    assert_eq!(server.api.store.highest_id().await.unwrap(), 0);
}

#[tokio::test]
async fn row_11_a_file_is_read_up_to_its_limit() {
    let server = with(config::Server { max_upload_bytes: 1 << 20, ..Default::default() }).await;
    let (fits, large) = ("x".repeat(1 << 20), "x".repeat((1 << 20) + 1));
    assert_eq!(upload(&server, "", "", &fits).await.status, 201);
    refused(&upload(&server, "", "", &large).await, 413, "too_large", &[]);
    // Without a length it is noticed as it comes.
    let chunked = format!(
        "POST /v1/inputs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/octet-stream\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    refused(&server.send(chunked).await, 413, "too_large", &[]);
    let waiting = "POST /v1/inputs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9999999\r\n\
                   Expect: 100-continue\r\nContent-Type: application/octet-stream\r\n\r\n";
    refused(&server.send(waiting).await, 413, "too_large", &[]);
    // Of a form all files count together.
    let half = "x".repeat(600 << 10);
    let job = "{\"name\":\"x\"}";
    let body = form(&[("job", "", job), ("data", "", &half), ("more", "", &half)]);
    refused(&post_form(&server, "", &body).await, 413, "too_large", &[]);
    let body = form(&[("job", "", &format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20))), ("data", "", "x")]);
    refused(&post_form(&server, "", &body).await, 413, "too_large", &[]);
    eventually("only what fits is left", async || objects(&server) == 1).await;
}

#[tokio::test]
async fn a_file_that_is_swept_meanwhile_is_told() {
    let server = server().await;
    let id = input(&server, "1").await;
    server.api.store.drop_inputs(vec![id]).await.unwrap();
    refused(&submit(&server, json!({ "data": id })).await, 422, "invalid_parameters", &["parameters.data"]);
    let job = NewJob { name: "x".into(), inputs: vec![id], ..NewJob::default() };
    assert_eq!(server.api.store.submit_together(vec![job], None).await.unwrap(), Submitted::NoInput(vec![id]));
}
