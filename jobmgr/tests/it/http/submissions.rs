//! `/v1`: submitting, looking, running again, removing. What is named `row_...` is a row of the catalogue of faults.

use std::collections::BTreeSet;
use std::time::Duration;

use jobmgr::domain::job::{Log, LogBody};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::client::{Reply, Server};

const JSON: &str = "application/json";

const SPEC: &str = "Command = 'x'\nPriority = 7\nDescription = 'one'\n\
                    [[Parameter]]\nName = 'text'\nType = 'string'\n\
                    [[Parameter]]\nName = 'count'\nType = 'int'\nOptional = true\n\
                    [[Parameter]]\nName = 'ratio'\nType = 'float'\nOptional = true\n\
                    [[Parameter]]\nName = 'flag'\nType = 'bool'\nOptional = true\n\
                    [[Parameter]]\nName = 'mode'\nType = 'enum'\nValues = ['a', 'b']\nDefault = 'a'\n";

/// A server with a jobspec `x`.
async fn server() -> Server {
    let server = Server::start().await;
    std::fs::write(server.api.config.jobspecs.join("x.toml"), SPEC).unwrap();
    server
}

async fn submit(server: &Server, body: Value) -> Reply {
    server.post("/v1/jobs", JSON, &body.to_string()).await
}

async fn run(server: &Server, parameters: Value) -> Reply {
    server.post("/v1/run/x", JSON, &parameters.to_string()).await
}

/// The fields that a problem names.
#[track_caller]
fn fields(reply: &Reply, status: u16, code: &str) -> BTreeSet<String> {
    let problem = reply.json();
    assert_eq!((reply.status, &problem["code"]), (status, &json!(code)), "{problem}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn invalid(reply: &Reply, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|field| (*field).to_owned()).collect();
    assert_eq!(fields(reply, 422, "invalid_parameters"), expected);
}

async fn stored(server: &Server) -> i64 {
    server.api.store.highest_id().await.unwrap()
}

#[tokio::test]
async fn a_job_is_shown_as_it_was_submitted() {
    let server = server().await;
    let body = json!({
        "name": "x", "parameters": { "text": "é\n", "count": 5, "ratio": 0.5, "flag": true, "mode": "b" },
        "labels": { "team": "art" }, "maxRetries": 2, "runAfter": "2999-12-31T23:59:59.5Z",
    });
    let reply = submit(&server, body).await;
    let job = reply.json();
    assert_eq!((reply.status, reply.header("location")), (201, "/v1/jobs/1"));
    let values = json!({ "text": "é\n", "count": "5", "ratio": "0.5", "flag": "true", "mode": "b" });
    assert_eq!((&job["parameters"], &job["labels"]), (&values, &json!({ "team": "art" })));
    assert_eq!((&job["status"], &job["priority"], &job["maxRetries"]), (&json!("queued"), &json!(7), &json!(2)));
    assert_eq!((&job["runAfter"], &job["attempt"]), (&json!("2999-12-31T23:59:59.500Z"), &json!(0)));
    assert_eq!(server.get("/v1/jobs/1").await.json(), job);
    // What is null is as good as left out, and texts may stand for numbers.
    let body = json!({ "name": "x", "parameters": { "text": "", "count": "+07", "flag": "0" }, "priority": null });
    let job = submit(&server, body).await.json();
    assert_eq!(job["parameters"], json!({ "text": "", "count": "7", "flag": "false" }));
    assert_eq!(job["priority"], 7);
}

#[tokio::test]
async fn what_a_job_left_is_shown_once_it_has_ended() {
    let server = server().await;
    submit(&server, json!({ "name": "x", "parameters": { "text": "a" } })).await;
    let claim = server.claim().await;
    let running = server.get("/v1/jobs/1").await.json();
    assert_eq!((&running["status"], running.get("result")), (&json!("started"), None));
    let artifact = server.artifact(1, "a.txt", "text/plain", b"four").await;
    let long = "é".repeat(40_000);
    let log = Log { written: long.len() as u64, body: LogBody::Inline(long.into()) };
    server.finish(&claim, log, Some("exit status 3"), vec![artifact]).await;
    let job = server.get("/v1/jobs/1").await.json();
    assert_eq!((&job["status"], &job["reason"]), (&json!("failed"), &json!("exit_code")));
    assert_eq!((&job["error"], &job["resultTruncated"]), (&json!("exit status 3"), &json!(true)));
    assert_eq!(job["result"].as_str().unwrap().len(), 64 << 10);
    assert_eq!((&job["artifacts"][0]["name"], &job["artifacts"][0]["size"]), (&json!("a.txt"), &json!(4)));
    let list = server.get("/v1/jobs").await.json();
    assert_eq!((&list["items"][0]["error"], list["items"][0].get("result")), (&json!("exit status 3"), None));
}

#[tokio::test]
async fn a_jobspec_has_an_address_of_its_own() {
    let server = server().await;
    let reply = run(&server, json!({ "text": "a", "count": 3 })).await;
    assert_eq!((reply.status, reply.header("location")), (201, "/v1/jobs/1"));
    assert_eq!(reply.json()["parameters"], json!({ "text": "a", "count": "3" }));
    let reply = server.post("/v1/run/x?priority=1", JSON, "{\"text\":\"a\"}").await;
    assert_eq!(reply.json()["priority"], 1);
    // Here only values of the right types serve.
    invalid(
        &run(&server, json!({ "text": 1, "count": "3", "flag": 1, "mode": "c", "other": 1 })).await,
        &["text", "count", "flag", "mode", "other"],
    );
    let twice = server.post("/v1/run/x?priority=-1&wait=soon", JSON, "{\"text\":\"a\",\"text\":\"b\"}").await;
    invalid(&twice, &["priority", "wait", "text"]);
    fields(&server.post("/v1/run/y", JSON, "{}").await, 404, "unknown_job");
    assert_eq!(stored(&server).await, 2);
}

#[tokio::test]
async fn many_jobs_are_queued_or_none() {
    let server = server().await;
    let job = |text: &str| json!({ "name": "x", "parameters": { "text": text } });
    let batch = |jobs: Vec<Value>| {
        let body = json!({ "jobs": jobs }).to_string();
        let server = &server;
        async move { server.post("/v1/jobs/batch", JSON, &body).await }
    };
    let reply = batch((0..1000).map(|number| job(&number.to_string())).collect()).await;
    let ids: Vec<i64> = serde_json::from_value(reply.json()["ids"].clone()).unwrap();
    assert_eq!((reply.status, ids.len()), (201, 1000));
    assert_eq!(server.get(&format!("/v1/jobs/{}", ids[513])).await.json()["parameters"]["text"], "513");
    invalid(&batch(vec![]).await, &["jobs"]);
    invalid(&batch((0..1001).map(|_| job("a")).collect()).await, &["jobs"]);
    let wrong = vec![
        job("a"),
        json!({ "name": "nobody" }),
        json!(5),
        json!({ "name": "x", "priority": 200, "parameters": { "count": "x" } }),
    ];
    invalid(
        &batch(wrong).await,
        &["jobs[1].name", "jobs[2]", "jobs[3].priority", "jobs[3].parameters.count", "jobs[3].parameters.text"],
    );
    assert_eq!(stored(&server).await, 1000);
}

#[tokio::test]
async fn lists_have_filters_and_pages() {
    let server = server().await;
    for number in 0..5 {
        let labels = json!({ "n": (number % 2).to_string() });
        submit(&server, json!({ "name": "x", "parameters": { "text": "a" }, "labels": labels })).await;
    }
    let get = async |query: &str| {
        let page = server.get(&format!("/v1/jobs{query}")).await.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
        let ids: Vec<i64> = items.iter().map(|job| job["id"].as_i64().unwrap()).collect();
        (ids, page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(get("").await, (vec![5, 4, 3, 2, 1], None));
    assert_eq!(get("?label=n:1").await.0, [4, 2]);
    assert_eq!(get("?status=queued&name=x&user=1").await.0.len(), 5);
    assert_eq!(get("?status=failed").await.0.len() + get("?name=y").await.0.len() + get("?user=2").await.0.len(), 0);
    assert_eq!(get("?createdAfter=2999-01-01T00:00:00Z").await.0.len(), 0);
    assert_eq!(get("?createdBefore=2999-01-01T00:00:00Z").await.0.len(), 5);
    let (first, next) = get("?limit=2").await;
    let (second, last) = get(&format!("?limit=2&cursor={}", next.unwrap())).await;
    assert_eq!((first, second), (vec![5, 4], vec![3, 2]));
    assert_eq!(get(&format!("?limit=2&cursor={}", last.unwrap())).await, (vec![1], None));
}

#[tokio::test]
async fn a_job_is_run_again_as_another() {
    let server = server().await;
    let labels = json!({ "team": "art" });
    submit(&server, json!({ "name": "x", "parameters": { "text": "a" }, "labels": labels, "priority": 3 })).await;
    let reply = server.post("/v1/jobs/1/retry", "", "").await;
    let job = reply.json();
    assert_eq!((reply.status, reply.header("location"), &job["retryOf"]), (201, "/v1/jobs/2", &json!(1)));
    assert_eq!((&job["labels"], &job["priority"], &job["parameters"]["text"]), (&labels, &json!(3), &json!("a")));
    fields(&server.post("/v1/jobs/7/retry", "", "").await, 404, "not_found");
    std::fs::remove_file(server.api.config.jobspecs.join("x.toml")).unwrap();
    fields(&server.post("/v1/jobs/1/retry", "", "").await, 404, "unknown_job");
}

#[tokio::test]
async fn only_what_has_ended_is_deleted_with_all_that_it_left() {
    let server = server().await;
    submit(&server, json!({ "name": "x", "parameters": { "text": "a" } })).await;
    let delete = async || server.ask("DELETE", "/v1/jobs/1", "").await;
    assert_eq!(delete().await.json()["jobStatus"], "queued");
    let claim = server.claim().await;
    fields(&delete().await, 409, "conflict");
    let artifact = server.artifact(1, "a.txt", "text/plain", b"four").await;
    let key = artifact.key.clone();
    server.finish(&claim, Log::default(), None, vec![artifact]).await;
    assert!(server.api.blobs.get(&key, None).await.is_ok());
    let stats = server.get("/v1/stats").await.json();
    // One within the last five minutes.
    assert_eq!((&stats["submittedPerMinute"], &stats["finishedPerMinute"]), (&json!(0.2), &json!(0.2)));
    let reply = delete().await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert!(server.api.blobs.get(&key, None).await.is_err());
    fields(&delete().await, 404, "not_found");
    fields(&server.get("/v1/jobs/1").await, 404, "not_found");
    let stats = server.get("/v1/stats").await.json();
    assert_eq!((&stats["completed"], &stats["finishedPerMinute"]), (&json!(0), &json!(0.0)));
}

#[tokio::test]
async fn who_waits_is_told_of_the_end() {
    let server = server().await;
    let address = server.address;
    let asked = tokio::spawn(async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = "{\"name\":\"x\",\"parameters\":{\"text\":\"a\"}}";
        let head =
            "POST /v1/jobs?wait=1m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
        stream.write_all(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        Reply::read(&mut stream).await
    });
    while stored(&server).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let claim = server.claim().await;
    assert!(!asked.is_finished());
    server.finish(&claim, Log::default(), None, vec![]).await;
    let reply = asked.await.unwrap();
    assert_eq!((reply.status, reply.json()["status"].clone()), (201, json!("completed")));
    // Who has ended is not waited for, and who asks for little gets it.
    assert_eq!(server.get("/v1/jobs/1?wait=1m").await.json()["status"], "completed");
    submit(&server, json!({ "name": "x", "parameters": { "text": "a" } })).await;
    assert_eq!(server.get("/v1/jobs/2?wait=10ms").await.json()["status"], "queued");
}

#[tokio::test]
async fn jobspecs_are_listed_also_the_broken_ones() {
    let server = server().await;
    std::fs::write(server.api.config.jobspecs.join("broken.toml"), "Command = 'x'\nTimout = '1s'\n").unwrap();
    let list = server.get("/v1/jobspecs").await.json();
    assert_eq!((&list["items"][0]["name"], &list["items"][1]["name"]), (&json!("broken"), &json!("x")));
    let error = list["items"][0]["error"].as_str().unwrap();
    assert!(error.contains("broken.toml") && error.contains("line 2") && error.contains("Timeout"), "{error}");
    let one = server.get("/v1/jobspecs/x").await.json();
    assert_eq!((&one, &one["parameters"]["required"]), (&list["items"][1], &json!(["text"])));
    fields(&server.get("/v1/jobspecs/nobody").await, 404, "unknown_job");
    let reply = submit(&server, json!({ "name": "broken" })).await;
    fields(&reply, 422, "invalid_jobspec");
    assert!(reply.json()["detail"].as_str().unwrap().contains("line 2"));
}

#[tokio::test]
async fn row_01_an_unknown_name_is_told_at_once() {
    let server = server().await;
    fields(&submit(&server, json!({ "name": "nobody", "parameters": {} })).await, 404, "unknown_job");
    assert_eq!(stored(&server).await, 0);
}

#[tokio::test]
async fn row_02_a_name_is_no_path() {
    let server = server().await;
    std::fs::write(server.api.config.jobspecs.parent().unwrap().join("outside.toml"), SPEC).unwrap();
    let long = "n".repeat(300);
    for name in
        ["../outside", "../../etc/passwd", "a/b", ".", "..", "", &long, "a\0", "a\n", "\u{202e}x", "con", "x.toml"]
    {
        fields(&submit(&server, json!({ "name": name, "parameters": { "text": "a" } })).await, 404, "unknown_job");
    }
    for path in ["..%2Foutside", "%2e%2e", "a%2Fb", "%00", "x%0A"] {
        let reply = server.post(&format!("/v1/run/{path}"), JSON, "{\"text\":\"a\"}").await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
    }
    invalid(&submit(&server, json!({ "name": 5 })).await, &["name"]);
    assert_eq!(stored(&server).await, 0);
}

#[tokio::test]
async fn row_03_every_wrong_parameter_is_named_in_one_answer() {
    let server = server().await;
    let body = r#"{"name":"x","parameters":{"count":"a","cuont":1,"mode":"c","flag":true,"flag":true},"extra":1}"#;
    let reply = server.post("/v1/jobs", JSON, body).await;
    let places =
        ["parameters.text", "parameters.count", "parameters.cuont", "parameters.mode", "parameters.flag", "extra"];
    invalid(&reply, &places);
    assert!(reply.text().contains("do you mean 'count'?"), "{}", reply.text());
}

#[tokio::test]
async fn row_04_whole_numbers_are_whole() {
    let server = server().await;
    let count = async |text: &str| {
        let body = format!("{{\"name\":\"x\",\"parameters\":{{\"text\":\"\",\"count\":{text}}}}}");
        server.post("/v1/jobs", JSON, &body).await
    };
    for wrong in [
        "\" 5\"",
        "\"0x10\"",
        "\"1e3\"",
        "1e3",
        "5.0",
        "\"5.0\"",
        "9223372036854775808",
        "\"\u{665}\"",
        "\"\"",
        "[]",
        "true",
    ] {
        let reply = count(wrong).await;
        invalid(&reply, &["parameters.count"]);
        assert!(reply.text().contains("-9223372036854775808 to 9223372036854775807"), "{}", reply.text());
    }
    for right in ["5", "-9223372036854775808", "9223372036854775807", "\"+5\"", "\"07\""] {
        assert_eq!(count(right).await.status, 201, "{right}");
    }
}

#[tokio::test]
async fn row_05_06_07_what_no_process_could_be_given_is_refused() {
    let server = server().await;
    invalid(&run(&server, json!({ "text": "a\0b" })).await, &["text"]);
    let longest = 131_072 - "JOBMGR_PARAMETER_TEXT=".len() - 1;
    let reply = run(&server, json!({ "text": "x".repeat(longest + 1) })).await;
    invalid(&reply, &["text"]);
    assert!(reply.text().contains(&format!("at most {longest}")), "{}", reply.text());
    assert_eq!(run(&server, json!({ "text": "x".repeat(longest) })).await.status, 201);
    let many: String = (0..12).map(|number| format!("[[Parameter]]\nName = 'p{number}'\nType = 'string'\n")).collect();
    std::fs::write(server.api.config.jobspecs.join("many.toml"), format!("Command = 'x'\n{many}")).unwrap();
    let values: serde_json::Map<String, Value> =
        (0..12).map(|number| (format!("p{number}"), json!("x".repeat(87_500)))).collect();
    let reply = submit(&server, json!({ "name": "many", "parameters": values })).await;
    // The body itself may have a mebibyte, so that it may be too large first.
    assert!([413, 422].contains(&reply.status), "{}", reply.status);
    assert_eq!(stored(&server).await, 1);
}

#[tokio::test]
async fn row_10_texts_come_back_byte_for_byte() {
    let server = server().await;
    for text in ["é", "e\u{301}", "\u{1F600}", "\u{feff}x", "\u{202e}", "<&>\u{2028}", "\\\"\t"] {
        assert_eq!(run(&server, json!({ "text": text })).await.json()["parameters"]["text"], *text);
    }
    for body in ["{\"text\":\"\\ud800\"}", "\u{feff}{\"text\":\"a\"}"] {
        fields(&server.post("/v1/run/x", JSON, body).await, 400, "invalid_json");
    }
    let head = "POST /v1/run/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Content-Length: 12\r\n\r\n";
    fields(&server.send([head.as_bytes(), b"{\"text\":\"\xff\"}"].concat()).await, 400, "invalid_json");
}

#[tokio::test]
async fn row_11_a_body_is_read_up_to_its_limit() {
    let server = server().await;
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut stream = server.connect().await;
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65536));
    for _ in 0..40 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    fields(&Reply::read(&mut stream).await, 413, "too_large");
    let asks = format!("{head}Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n");
    fields(&server.send(asks).await, 413, "too_large");
}

#[tokio::test]
async fn row_12_strange_json_is_refused() {
    let server = server().await;
    let deep = format!("{{\"name\":{}", "[".repeat(100_000));
    for body in [&deep, "{\"name\":NaN}", "{\"priority\":1e400}", "", "null", "[]", "{}{}"] {
        fields(&server.post("/v1/jobs", JSON, body).await, 400, "invalid_json");
    }
    let many: String = (0..50_000).map(|number| format!("\"k{number}\":1,")).collect();
    let reply = server.post("/v1/jobs", JSON, &format!("{{{many}\"name\":\"x\"}}")).await;
    assert_eq!(fields(&reply, 422, "invalid_parameters").len(), 1000);
    let twice = server.post("/v1/jobs", JSON, "{\"name\":\"x\",\"name\":\"y\",\"parameters\":{\"text\":\"\"}}").await;
    invalid(&twice, &["name"]);
}

#[tokio::test]
async fn row_13_only_json_is_read() {
    let server = server().await;
    let body = "{\"name\":\"x\",\"parameters\":{\"text\":\"a\"}}";
    for kind in
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"]
    {
        fields(&server.post("/v1/jobs", kind, body).await, 415, "unsupported_media_type");
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(server.post("/v1/jobs", kind, body).await.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn row_14_one_job_comes_of_one_key() {
    let server = server().await;
    let send = |key: &'static str, path: &'static str, body: &'static str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        let request = format!("{head}Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let server = &server;
        async move { server.send(request).await }
    };
    let body = "{\"text\":\"a\",\"mode\":\"b\"}";
    let replies = futures_util::future::join_all((0..20).map(|_| send("k", "/v1/run/x", body))).await;
    assert!(replies.iter().all(|reply| reply.json()["id"] == 1), "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(replies[0].json()["idempotencyKey"], "k");
    // Written otherwise it is the same; said otherwise it is not.
    assert_eq!(send("k", "/v1/run/x?wait=1ms", "{ \"mode\":\"b\", \"text\":\"\\u0061\"}").await.status, 200);
    for (path, body) in [
        ("/v1/run/x", "{\"text\":\"b\"}"),
        ("/v1/run/x?priority=1", body),
        ("/v1/jobs", "{\"name\":\"x\",\"parameters\":{\"text\":\"a\",\"mode\":\"b\"}}"),
    ] {
        fields(&send("k", path, body).await, 409, "conflict");
    }
    invalid(&send("é", "/v1/run/x", body).await, &["Idempotency-Key"]);
    let claim = server.claim().await;
    server.finish(&claim, Log::default(), None, vec![]).await;
    assert_eq!(send("k", "/v1/run/x", body).await.json()["status"], "completed");
    assert_eq!(stored(&server).await, 1);
}

#[tokio::test]
async fn row_16_parameters_of_a_query_are_checked() {
    let server = server().await;
    for query in [
        "limit=-1",
        "limit=0",
        "limit=501",
        "limit=1000000000",
        "cursor=forged",
        "cursor=j0",
        "cursor=j1%20",
        "status=done",
        "label=team",
        "user=0",
        "createdAfter=yesterday",
    ] {
        let field = query.split('=').next().unwrap();
        invalid(&server.get(&format!("/v1/jobs?{query}")).await, &[field]);
    }
    for id in ["1%20OR%201=1", "0", "-1", "9223372036854775808"] {
        fields(&server.get(&format!("/v1/jobs/{id}")).await, 404, "not_found");
        fields(&server.ask("DELETE", &format!("/v1/jobs/{id}"), "").await, 404, "not_found");
    }
}

#[tokio::test]
async fn row_17_times_are_utc_and_in_range() {
    let server = server().await;
    for time in [
        "10000-01-01T00:00:00Z",
        "-1",
        "2026-03-29T02:30:00+01:00",
        "2026-03-29T02:30:00",
        "1969-12-31T23:59:59Z",
        "1767323045",
    ] {
        let body = json!({ "name": "x", "parameters": { "text": "a" }, "runAfter": time });
        invalid(&submit(&server, body).await, &["runAfter"]);
    }
}

#[tokio::test]
async fn row_96_a_wait_is_a_minute_at_most() {
    let server = server().await;
    submit(&server, json!({ "name": "x", "parameters": { "text": "a" } })).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /v1/jobs/1?wait=1000000h HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // Who goes away, and a server that stops, end it at once.
    drop(stream);
    let waiting = {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /v1/jobs/1?wait=1000000h HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        tokio::spawn(async move { Reply::read(&mut stream).await })
    };
    assert_eq!(server.get("/v1/jobs/1?wait=1ms").await.status, 200);
    server.stop.cancel();
    assert_eq!(waiting.await.unwrap().json()["status"], "queued");
    invalid(&Server::start().await.get("/v1/jobs/1?wait=1e9").await, &["wait"]);
}
