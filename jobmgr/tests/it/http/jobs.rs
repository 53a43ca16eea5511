//! `POST /jobs/start` and `GET /jobs/get`.

use jobmgr::domain::job::{Log, LogBody};
use serde_json::Value;

use super::client::Server;

const JSON: &str = "application/json";

fn inline(text: &str) -> Log {
    Log { written: text.len() as u64, body: LogBody::Inline(text.into()) }
}

#[tokio::test]
async fn a_new_job_waits() {
    let server = Server::start().await;
    let reply =
        server.start_job("name=hello&parameters=%7B%22b%22%3A%222%22%2C%22a%22%3A%22%3C+%22%7D&priority=7").await;
    reply.assert(200, "{\"status\":\"ok\",\"created\":1}\n");
    assert_eq!(reply.header("content-type"), JSON);
    let reply = server.get("/jobs/get?id=1").await;
    assert_eq!(reply.header("content-type"), JSON);
    let (head, tail) = reply.text().split_once(",\"created\":").unwrap();
    assert_eq!(
        head,
        r#"{"status":"ok","job":{"id":1,"status":"queued","priority":7,"name":"hello","parameters":{"a":"\u003c ","b":"2"}"#
    );
    let (_, tail) = tail.split_once(',').unwrap();
    assert_eq!(tail, "\"started\":null,\"completed\":null,\"userID\":1},\"result\":null,\"artifacts\":null}\n");
}

#[tokio::test]
async fn wrong_submissions_queue_nothing() {
    let server = Server::start().await;
    for form in ["", "name=x", "parameters={}", "name=&parameters={}", "name=x&parameters="] {
        server.start_job(form).await.assert_error("missing_params");
    }
    for form in ["name=x&parameters=nope", "name=x&parameters=[]", "name=a%00&parameters={}", "name=%FF&parameters={}"]
    {
        server.start_job(form).await.assert_error("invalid_params");
    }
    let long = format!("name={}&parameters={{}}", "n".repeat(256));
    server.start_job(&long).await.assert_error("invalid_params");
    let nul = "name=x&parameters=%7B%22a%22%3A%22%5Cu0000%22%7D";
    server.start_job(nul).await.assert_error("invalid_params");
    let json = server.post("/jobs/start", JSON, "{\"name\":\"x\",\"parameters\":{}}").await;
    json.assert_error("missing_params");
    assert_eq!(server.api.store.unfinished().await.unwrap(), 0);
}

#[tokio::test]
async fn the_jobspecs_priority_is_the_usual_one() {
    let server = Server::start().await;
    let spec = server.api.config.jobspecs.join("urgent.toml");
    std::fs::write(spec, "Command = \"true\"\nPriority = 3\n").unwrap();
    for (form, priority) in [("urgent", 3), ("urgent&priority=101", 3), ("urgent&priority=9", 9), ("unknown", 50)] {
        let reply = server.start_job(&format!("parameters={{}}&name={form}")).await;
        let id = serde_json::from_slice::<Value>(&reply.body).unwrap()["created"].clone();
        let reply = server.get(&format!("/jobs/get?id={id}")).await;
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap()["job"]["priority"], priority, "{form}");
    }
}

#[tokio::test]
async fn ids_that_name_no_job() {
    let server = Server::start().await;
    for query in ["", "?id=", "?x=1"] {
        server.get(&format!("/jobs/get{query}")).await.assert_error("missing_params");
    }
    for id in ["abc", "1.0", "+1", "%201", "1_0", "99999999999999999999"] {
        server.get(&format!("/jobs/get?id={id}")).await.assert_error("invalid_params");
        server.get(&format!("/artifacts/download?id={id}")).await.assert_error("invalid_params");
    }
    for id in ["0", "-1", "1", "99999999999"] {
        server.get(&format!("/jobs/get?id={id}")).await.assert_error("not_found");
        server.get(&format!("/artifacts/download?id={id}")).await.assert_error("not_found");
    }
}

#[tokio::test]
async fn a_started_job_has_no_result() {
    let server = Server::start().await;
    let claim = server.claimed("x").await;
    let reply = server.get(&format!("/jobs/get?id={}", claim.id)).await;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["job"]["status"], "started");
    assert!(answer["job"]["started"].is_i64() && answer["job"]["completed"].is_null());
    assert!(answer["result"].is_null() && answer["artifacts"].is_null());
}

#[tokio::test]
async fn an_ended_job_has_its_output() {
    let server = Server::start().await;
    for (stdout, error, result) in
        [("", None, ""), ("a", None, "a"), ("a", Some("exit status 3"), "a\nexit status 3"), ("", Some("x"), "x")]
    {
        let claim = server.claimed("x").await;
        server.finish(&claim, inline(stdout), error, vec![]).await;
        let reply = server.get(&format!("/jobs/get?id={}", claim.id)).await;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["job"]["status"], if error.is_some() { "failed" } else { "completed" });
        assert_eq!(answer["result"], result);
        assert!(reply.text().ends_with("\"artifacts\":[]}\n"), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_large_output_is_read_from_the_store_and_cut() {
    let config = jobmgr::config::Server { max_result_bytes: 1000, ..Default::default() };
    let server = Server::with(config).await;
    let claim = server.claimed("x").await;
    let output = "aé".repeat(1000);
    let object = server.artifact(claim.id, "stdout", "text/plain", output.as_bytes()).await;
    let body = LogBody::Object { key: object.key, size: object.size };
    server.finish(&claim, Log { written: object.size, body }, None, vec![]).await;
    let reply = server.get(&format!("/jobs/get?id={}", claim.id)).await;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["result"], "aé".repeat(333) + "a");
}
