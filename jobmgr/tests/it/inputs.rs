//! Input files from the upload to the job's directory, by the real binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::databases::Kind;
use crate::support::server::{Home, Server, eventually};

const FILES: &str = "[[Parameter]]\nName = 'my data'\nType = 'file'\n\
                     [[Parameter]]\nName = 'more'\nType = 'file'\nOptional = true\n";

/// Shows what it was given.
const SHOWS: &str = "cd \"$JOBMGR_INPUTS_DIR\"; ls; echo; cat \"$JOBMGR_PARAMETER_MY_DATA\"; \
                     echo \"${JOBMGR_PARAMETER_MORE:-none}\"; [ \"$(dirname \"$JOBMGR_PARAMETER_MY_DATA\")\" = \"$PWD\" ]";

fn home(config: &str) -> Home {
    let home = Home::new(config);
    home.sh("shows", SHOWS, FILES);
    home
}

fn upload(server: &Server, name: &str, body: &[u8]) -> i64 {
    let kind = "Content-Type: application/octet-stream\r\n";
    let answer = server.client().try_send("POST", &format!("/v1/inputs?name={name}"), kind, body).unwrap();
    answer.json()["id"].as_i64().unwrap_or_else(|| panic!("{answer:?}"))
}

fn post(server: &Server, path: &str, body: &Value) -> Answer {
    let kind = "Content-Type: application/json\r\n";
    server.client().try_send("POST", path, kind, body.to_string().as_bytes()).unwrap()
}

fn submit(server: &Server, parameters: Value) -> i64 {
    let answer = post(server, "/v1/run/shows", &parameters);
    answer.json()["id"].as_i64().unwrap_or_else(|| panic!("{answer:?}"))
}

/// The files of uploads that the store has.
fn objects(home: &Home) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(home.path("artifacts-store/inputs")).into_iter().flatten().flatten();
    folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path())).collect()
}

#[test]
fn a_job_finds_its_files() {
    let home = home("");
    let server = home.serve();
    let (one, two) = (upload(&server, "a%20b.csv", b"one\n"), upload(&server, "A%20B.CSV", b"two\n"));
    let first = submit(&server, json!({ "my data": one, "more": two }));
    let ended = server.wait(first);
    let result = ended.result.replace(&home.path("tmp").display().to_string(), "TMP");
    assert_eq!((ended.status.as_str(), result.lines().count()), ("completed", 5), "{result}");
    assert!(
        result.starts_with("2-A B.CSV\na b.csv\n\none\nTMP/") && result.ends_with("/inputs/2-A B.CSV\n"),
        "{result}"
    );
    // Run again it has the same; without the optional one there is no variable for it.
    let again = post(&server, &format!("/v1/jobs/{first}/retry"), &json!({})).json()["id"].as_i64().unwrap();
    assert_eq!(server.wait(again).result.lines().count(), 5);
    assert_eq!(server.wait(submit(&server, json!({ "my data": two }))).result, "A B.CSV\n\ntwo\nnone\n");
    eventually("no directory is left", || home.left_of_jobs().is_empty());
    // The classic endpoints have no files: they say so, and are given nobody's.
    let ended = server.run("shows", json!({ "my data": one.to_string() }));
    assert_eq!(ended.status, "failed");
    let error = format!("the input {one} of parameter 'my data' is not a file of this job");
    assert!(ended.result.contains(&error) || home.stored(again + 2).ended.unwrap().error.unwrap().contains(&error));
}

#[test]
fn a_file_that_is_gone_or_another_fails_its_job() {
    let home = home("");
    let server = home.serve();
    let id = upload(&server, "a", b"first\n");
    let object = objects(&home).remove(0);
    std::fs::write(&object, "other\n").unwrap();
    let error = |id: i64| {
        assert_eq!(server.wait(id).status, "failed");
        home.stored(id).ended.unwrap().error.unwrap()
    };
    let other = error(submit(&server, json!({ "my data": id })));
    assert!(other.contains(&format!("the input file {id} in the store is not the one")), "{other}");
    std::fs::remove_file(&object).unwrap();
    let gone = error(submit(&server, json!({ "my data": id })));
    assert_eq!(gone, format!("the input file {id} is no longer in the store"));
}

#[test]
fn files_that_nobody_uses_are_swept() {
    let home = home("[Retention]\nUnusedInputs = '1s'\nGrace = '1s'");
    let server = home.serve();
    let (used, unused) = (upload(&server, "a", b"1\n"), upload(&server, "b", b"2\n"));
    let job = submit(&server, json!({ "my data": used }));
    server.wait(job);
    // One that was put there and never became a row.
    let lost = objects(&home)[0].with_file_name("lost");
    std::fs::write(&lost, "3\n").unwrap();
    let gc = || String::from_utf8(home.jobmgr(&["gc"]).output().unwrap().stdout).unwrap();
    let mut said = String::new();
    eventually("both are gone", || {
        said.push_str(&gc());
        objects(&home).len() == 1
    });
    assert!(said.contains(&format!("removed input {unused} of 2 bytes: no job has used it in time")), "{said}");
    assert!(said.contains("/lost, 2 bytes: an uploaded file that nobody knows"), "{said}");
    // With its last job the other one goes too.
    assert_eq!(server.client().try_send("DELETE", &format!("/v1/jobs/{job}"), "", b"").unwrap().status, 204);
    assert!(objects(&home).is_empty());
}

#[test]
fn the_command_line_gives_files_too() {
    let home = home("");
    std::fs::write(home.path("in.csv"), "here\n").unwrap();
    let run = |parameters: &[&str]| -> Output {
        let arguments = parameters.iter().flat_map(|parameter| ["-p", parameter]);
        home.jobmgr(&["run", "shows"]).args(arguments).output().unwrap()
    };
    for given in ["my data=@in.csv", "my data=in.csv"] {
        let output = run(&[given]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "in.csv\n\nhere\nnone\n", "{output:?}");
    }
    let output = run(&["my data=none.csv"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("parameter 'my data': none.csv: "), "{error}");
}

/// Sends these bytes and cuts the connection with a reset, not with an end.
fn reset(server: &Server, bytes: &[u8], pause: Duration) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream.write_all(bytes));
    std::thread::sleep(pause);
}

/// Requests of every kind that are cut at every place: each is a whole job or none, and the server goes on.
fn resets(home: &Home) {
    home.sh("waits", "true", &format!("Priority = 90\n{FILES}"));
    let server = home.serve();
    let id = upload(&server, "a", b"one\n");
    let request = |path: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let later =
        |parameters: Value| json!({ "name": "waits", "parameters": parameters, "runAfter": "2999-01-01T00:00:00Z" });
    let body = later(json!({ "my data": id })).to_string();
    let batch = json!({ "jobs": vec![later(json!({ "my data": id })); 5] }).to_string();
    let form = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{}\r\n--XX\r\nContent-Disposition: form-data; \
         name=\"my data\"; filename=\"b\"\r\n\r\n{}\r\n--XX--\r\n",
        later(json!({})),
        "x".repeat(300_000)
    );
    let requests = [
        request("/v1/jobs", "application/json", &body),
        request("/v1/jobs/batch", "application/json", &batch),
        request("/v1/jobs/upload", "multipart/form-data; boundary=XX", &form),
        request("/v1/inputs", "application/octet-stream", &"x".repeat(300_000)),
    ];
    std::thread::scope(|scope| {
        for request in &requests {
            let server = &server;
            scope.spawn(move || {
                for round in 0..40 {
                    let part = if round % 2 == 0 { request.len() } else { request.len() * round / 40 };
                    let pause = Duration::from_micros([0, 200, 2000, 10_000][round / 2 % 4]);
                    reset(server, &request.as_bytes()[..part], pause);
                }
            });
        }
    });
    // Whoever comes now is served, more often than the pool has connections.
    for _ in 0..30 {
        assert_eq!(server.client().get("/v1/jobs?limit=1").status, 200);
    }
    assert_eq!(server.wait(submit(&server, json!({ "my data": id }))).status, "completed");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = home.store().await;
        let (mut queued, mut of_batches) = (0, 0);
        for id in 1..=store.highest_id().await.unwrap() {
            let Some(job) = store.job(id).await.unwrap() else { continue };
            let given = store.inputs_of(id).await.unwrap();
            assert_eq!(given.len(), 1, "job {id} is whole");
            assert_eq!(job.parameters["my data"], given[0].id.to_string());
            queued += 1;
            of_batches += usize::from(given[0].name == "a");
        }
        println!("{queued} jobs of 120 submissions that were cut, {of_batches} of them without a file of their own");
        // Every object that is left is that of a row: what was cut is gone.
        let known = store.inputs((1..1000).collect()).await.unwrap().len();
        let until = std::time::Instant::now() + crate::support::server::PATIENCE;
        while objects(home).len() != known {
            assert!(std::time::Instant::now() < until, "{} objects, {known} rows", objects(home).len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn row_15_a_client_that_resets_leaves_a_job_or_none() {
    resets(&home(""));
}

#[test]
fn row_15_a_client_that_resets_leaves_the_pool_healthy_on_postgresql() {
    let Some(postgres) = Kind::Postgres.shared() else { return };
    let home = Home::on(&postgres.fresh(), "");
    home.sh("shows", SHOWS, FILES);
    resets(&home);
}

/// What a process has in memory at most since it was last asked, in KiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    // From here on it is counted anew.
    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends a body of so many bytes, and gives the answer.
fn send(server: &Server, head: &str, before: &str, size: usize, after: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = before.len() + size + after.len();
    write!(stream, "{head}Host: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{before}").unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..size / piece.len() {
        stream.write_all(&piece).unwrap();
    }
    stream.write_all(after.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Files pass through the server at bounded memory, both ways.
#[test]
fn memory_stays_flat() {
    let size = if std::env::var_os("JOBMGR_LONG_TESTS").is_some() { 1 << 30 } else { 256 << 20 };
    let home = Home::new("");
    home.sh(
        "copies",
        "cp \"$JOBMGR_PARAMETER_DATA\" \"$JOBMGR_ARTIFACTS_DIR/a\"",
        "Timeout = '5m'\n[[Parameter]]\nName = 'data'\nType = 'file'\n",
    );
    let server = home.serve();
    upload(&server, "small", b"x");
    let idle = peak(&server);
    let flat = |what: &str| {
        let most = peak(&server);
        println!("{what}: {} MiB at most, {} MiB before", most >> 10, idle >> 10);
        assert!(most < idle + (64 << 10), "{what}: {most} KiB, {idle} KiB before");
    };
    let octets = "POST /v1/inputs HTTP/1.1\r\nContent-Type: application/octet-stream\r\n";
    let answer = send(&server, octets, "", size, "");
    assert!(answer.contains(&format!("\"size\":{size}")), "{answer}");
    flat("an upload");
    let form = "POST /v1/jobs/upload?wait=60s HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=XX\r\n";
    let before = "--XX\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{\"name\":\"copies\"}\r\n\
                  --XX\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\n";
    let answer = send(&server, form, before, size, "\r\n--XX--\r\n");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    flat("a form, and its file to the job and back");
    let ended = server.wait(1);
    assert_eq!((ended.status.as_str(), &ended.artifacts[0]["size"]), ("completed", &json!(size)));
    flat("a job");
    let mut stream = TcpStream::connect(server.address).unwrap();
    let path = format!("/v1/artifacts/{}/content", ended.artifacts[0]["id"]);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let (mut piece, mut read) = (vec![0; 1 << 20], 0);
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            more => read += more,
        }
    }
    assert!(read > size, "{read}");
    flat("a download");
}
