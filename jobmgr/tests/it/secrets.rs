//! Secret parameters, by the real binary: the job has them, and nobody else sees them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::client::Answer;
use crate::support::server::{Home, Server, eventually};

/// What must be nowhere.
const CANARY: &str = "canary-5d1f0c7e9b-value";

const SECRET: &str = "[[Parameter]]\nName = 'key'\nType = 'string'\nSecret = true\n\
                      [[Parameter]]\nName = 'number'\nType = 'int'\nSecret = true\nOptional = true\n\
                      [[Parameter]]\nName = 'file'\nType = 'file'\nOptional = true\n";

/// Shows that it has the value, and not the value.
const HASHES: &str = "printf %s \"$JOBMGR_PARAMETER_KEY\" | sha256sum | head -c 8";

fn hashed() -> String {
    Sha256::digest(CANARY).iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..8].to_owned()
}

fn home() -> Home {
    let home = Home::new("[Worker]\nConcurrency = 4\n");
    home.sh("hashes", HASHES, SECRET);
    home.sh("fails", &format!("{HASHES}; exit 3"), &format!("Retry = {{ Max = 1, Backoff = \"0s\" }}\n{SECRET}"));
    home.sh("sleeps", "sleep 60", &format!("Timeout = \"90s\"\n{SECRET}"));
    home
}

fn post(server: &Server, path: &str, headers: &str, body: &Value) -> Answer {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    server.client().try_send("POST", path, &headers, body.to_string().as_bytes()).unwrap()
}

fn id(answer: &Answer) -> i64 {
    answer.json()["id"].as_i64().unwrap_or_else(|| panic!("{answer:?} {}", String::from_utf8_lossy(&answer.body)))
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Where the value is, as it is or in base64, in whatever place of three bytes it begins.
fn finds(bytes: &[u8]) -> bool {
    use base64::Engine as _;
    let encoded = (0..3).map(|skip| {
        let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&CANARY[skip..]);
        text[..text.len() - 4].to_owned()
    });
    let mut needles = vec![CANARY.to_owned()];
    needles.extend(encoded);
    needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

#[track_caller]
fn nowhere(home: &Home) {
    let all = files(home.dir.path());
    assert!(all.iter().any(|file| file.ends_with("jobmgr.db")), "{all:?}");
    for file in all {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(!finds(&bytes), "{} has it", file.display());
    }
}

/// What comes of a request within a moment; a stream may go on for longer.
fn look(server: &Server, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    assert!(bytes.starts_with(b"HTTP/1.1 "), "{path}: {}", String::from_utf8_lossy(&bytes));
    bytes
}

/// Every address of the document that can be read, for each of these ids.
fn addresses(server: &Server, ids: &[i64]) -> Vec<String> {
    let document = server.client().get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap().iter().filter(|(_, methods)| methods["get"].is_object());
    let mut all = vec!["/openapi.json".to_owned()];
    for (path, _) in paths {
        if !path.contains('{') {
            all.push(path.clone());
            continue;
        }
        let mut names: Vec<String> = ids.iter().map(i64::to_string).collect();
        names.extend(["hashes".to_owned()]);
        let (before, rest) = path.split_once('{').unwrap();
        let after = rest.split_once('}').unwrap().1;
        all.extend(names.iter().map(|name| format!("{before}{name}{after}")));
    }
    all.extend(ids.iter().map(|id| format!("/jobs/get?id={id}")));
    all
}

#[test]
fn a_secret_is_nowhere_but_with_its_job() {
    let home = home();
    let mut command = home.jobmgr(&["serve"]);
    command.env("JOBMGR_LOG", "debug");
    let server = home.serve_by(command);
    let key = json!({ "key": CANARY });
    let submission = |name: &str| json!({ "name": name, "parameters": key });
    let mut ids = vec![server.start("hashes", key.clone())];
    ids.push(id(&post(&server, "/v1/run/hashes", "", &key)));
    let first = post(&server, "/v1/jobs", "Idempotency-Key: k\r\n", &submission("hashes"));
    let again = post(&server, "/v1/jobs", "Idempotency-Key: k\r\n", &submission("hashes"));
    assert_eq!((first.status, again.status, id(&first)), (201, 200, id(&again)));
    let other = json!({ "name": "hashes", "parameters": { "key": "other" } });
    assert_eq!(post(&server, "/v1/jobs", "Idempotency-Key: k\r\n", &other).status, 409);
    ids.push(id(&first));
    let batch = json!({ "jobs": [submission("hashes"), submission("fails")] });
    let batch = post(&server, "/v1/jobs/batch", "", &batch).json()["ids"].clone();
    ids.extend(batch.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()));
    let fails = *ids.last().unwrap();
    let form = format!(
        "--X\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{}\r\n--X\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--X--\r\n",
        submission("hashes")
    );
    let kind = "Content-Type: multipart/form-data; boundary=X\r\n";
    let uploaded = server.client().try_send("POST", "/v1/jobs/upload", kind, form.as_bytes()).unwrap();
    ids.push(id(&uploaded));
    for id in ids.clone() {
        let ended = server.wait(id);
        let expected = if id == fails { "failed" } else { "completed" };
        assert_eq!((ended.status.as_str(), &ended.result[..8]), (expected, &*hashed()), "job {id}");
        let shown = server.client().get(&format!("/v1/jobs/{id}")).json();
        assert_eq!(shown["parameters"]["key"], "***");
    }
    let retried = id(&post(&server, &format!("/v1/jobs/{fails}/retry"), "", &json!({})));
    assert_eq!(server.wait(retried).result[..8], hashed());
    let sleeps = id(&post(&server, "/v1/jobs", "", &submission("sleeps")));
    server.wait_for(sleeps, "started");
    ids.extend([retried, sleeps]);
    // Also of one that runs, or is refused.
    for address in addresses(&server, &ids) {
        assert!(!finds(&look(&server, &address)), "{address} shows it");
    }
    assert_eq!(post(&server, &format!("/v1/jobs/{sleeps}/cancel"), "", &json!({})).status, 202);
    for parameters in [
        json!({ "key": CANARY, "number": CANARY }),
        json!({ "key": [CANARY] }),
        json!({ "key": { "x": CANARY } }),
        json!({ "key": format!("{CANARY}\0") }),
        json!({ "key": format!("{CANARY}{}", "x".repeat(200_000)) }),
    ] {
        let answer = post(&server, "/v1/jobs", "", &json!({ "name": "hashes", "parameters": parameters }));
        assert_eq!((answer.status, finds(&answer.body)), (422, false), "{}", String::from_utf8_lossy(&answer.body));
        let answer = post(&server, "/v1/run/hashes", "", &parameters);
        assert_eq!((answer.status, finds(&answer.body)), (422, false), "{}", String::from_utf8_lossy(&answer.body));
    }
    // A wrong value that only the worker sees.
    let wrong = server.start("hashes", json!({ "key": CANARY, "number": CANARY }));
    assert_eq!(server.wait(wrong).status, "failed");
    let error = home.stored(wrong).ended.unwrap().error.unwrap();
    assert!(error.starts_with("parameter 'number' has invalid value '***': it must be a whole number"), "{error}");
    eventually("the job has ended", || server.job(sleeps)["job"]["status"] != "started");
    for address in addresses(&server, &[wrong, sleeps]) {
        assert!(!finds(&look(&server, &address)), "{address} shows it");
    }
    nowhere(&home);
    drop(server);
    nowhere(&home);
}

#[test]
fn a_secret_of_the_command_line_is_hidden_too() {
    let home = home();
    let run =
        |parameter: &str| home.jobmgr(&["run", "hashes", "-p", &format!("key={CANARY}"), "-p", parameter]).output();
    let output = home.jobmgr(&["run", "hashes", "-p", &format!("key={CANARY}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), hashed(), "{output:?}");
    let output = run(&format!("number={CANARY}")).unwrap();
    assert!(!output.status.success() && !finds(&output.stdout) && !finds(&output.stderr), "{output:?}");
    assert!(!files(home.dir.path()).iter().any(|file| finds(&std::fs::read(file).unwrap_or_default())));
}

/// A worker that has another key says so, and which it would take.
#[test]
fn a_key_that_is_not_there_is_told() {
    let home = home();
    let server = home.serve();
    let later = json!({ "name": "hashes", "parameters": { "key": CANARY }, "runAfter": "2999-01-01T00:00:00Z" });
    let waiting = id(&post(&server, "/v1/jobs", "", &later));
    assert_eq!(server.wait(server.start("hashes", json!({ "key": CANARY }))).result.trim(), hashed());
    drop(server);
    let key = |byte: u8| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    };
    let old = std::fs::read_to_string(home.path("jobmgr.key")).unwrap();
    std::fs::write(home.path("jobmgr.key"), key(7)).unwrap();
    let server = home.serve();
    assert_eq!(server.client().get(&format!("/v1/jobs/{waiting}")).json()["parameters"]["key"], "***");
    let again = id(&post(&server, &format!("/v1/jobs/{waiting}/retry"), "", &json!({})));
    assert_eq!(server.wait(again).status, "failed");
    let error = home.stored(again).ended.unwrap().error.unwrap();
    let expected = "the secret parameter 'key' can't be read: it was encrypted with the key ";
    assert!(error.starts_with(expected) && error.contains("this process does not have"), "{error}");
    drop(server);
    // A new key above the old one: both serve.
    std::fs::write(home.path("jobmgr.key"), format!("{}\n{old}", key(9))).unwrap();
    let server = home.serve();
    let again = id(&post(&server, &format!("/v1/jobs/{waiting}/retry"), "", &json!({})));
    assert_eq!(server.wait(again).result.trim(), hashed());
    assert_eq!(server.wait(server.start("hashes", json!({ "key": CANARY }))).result.trim(), hashed());
    drop(server);
    // No key at all is told before anything is served.
    std::fs::write(home.path("jobmgr.key"), "none").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_jobmgr")).arg("serve").current_dir(home.dir.path()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && error.contains("[Secrets] ") && error.contains("jobmgr.key: line 1: "),
        "{error}"
    );
}
