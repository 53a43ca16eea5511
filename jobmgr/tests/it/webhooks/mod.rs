//! Webhooks from end to end: real servers, real receivers. What is named `row_...` is a row of the catalogue of faults.

/// What receivers answer, and what comes of it.
mod answers;
/// Crashes, cuts, dead receivers, several processes.
mod lasting;
/// Those who are told.
mod receiver;
/// Where nothing is sent.
mod refused;
/// Who is told what, and how it is shown.
mod told;

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::server::{Home, Server, eventually};

/// Receivers on this machine are allowed, and told again soon.
const CONFIG: &str = "[Webhooks]\nAllowedHosts = [\"127.0.0.1\"]\nTimeout = \"2s\"\n\
                      RetryAfter = [\"200ms\", \"200ms\", \"200ms\", \"200ms\", \"200ms\", \"200ms\"]\n";

/// A folder with jobspecs that end at once: well, or badly.
fn home(config: &str) -> Home {
    let home = Home::new(config);
    specs(&home);
    home
}

fn specs(home: &Home) {
    home.sh("well", "true", "[[Parameter]]\nName = \"word\"\nType = \"string\"\nOptional = true");
    home.sh("badly", "exit 3", "");
}

fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    server.client().try_send(method, path, headers, body.as_bytes()).unwrap()
}

/// The answer's JSON, which comes with this status.
#[track_caller]
fn done(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// Registers a webhook; its id and its secret.
#[track_caller]
fn register(server: &Server, body: &Value) -> (i64, String) {
    let new = done(&ask(server, "POST", "/v1/webhooks", body), 201);
    (new["id"].as_i64().unwrap(), new["secret"].as_str().unwrap().to_owned())
}

/// Submits a job; its id.
#[track_caller]
fn submit(server: &Server, body: &Value) -> i64 {
    done(&ask(server, "POST", "/v1/jobs", body), 201)["id"].as_i64().unwrap()
}

/// Submits many; their ids.
#[track_caller]
fn submit_many(server: &Server, name: &str, count: usize) -> Vec<i64> {
    let jobs: Vec<Value> = (0..count).map(|_| json!({ "name": name })).collect();
    let queued = done(&ask(server, "POST", "/v1/jobs/batch", &json!({ "jobs": jobs })), 201);
    queued["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

/// The log of a webhook, the newest first.
fn deliveries(server: &Server, webhook: i64) -> Vec<Value> {
    let list = done(&server.client().get(&format!("/v1/webhooks/{webhook}/deliveries?limit=500")), 200);
    list["items"].as_array().unwrap().clone()
}

/// Waits until the newest message of a webhook is as `is` says.
fn newest(server: &Server, webhook: i64, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    eventually(what, || {
        found = deliveries(server, webhook).first().cloned().unwrap_or_default();
        !found.is_null() && is(&found)
    });
    found
}
