use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use super::{plugin, plugin_in_c, root, stderr, stdout};
use crate::support::programs::{or_skip, run};
use crate::support::server::{Home, eventually};

#[test]
fn the_one_in_c_runs_a_job() {
    let home = Home::new("[Executors.shell]\nPlugin = 'plugins/libshell.so'");
    if plugin_in_c(&home, "executors/examples/c/shell.c", "shell", &[]).is_none() {
        return;
    }
    let script = r#"printf 'a "quoted" word\n'; echo aside >&2; exit 3"#;
    let options = toml::Value::String(script.into());
    home.spec("hello", &format!("Command = '-'\nExecutor = 'shell'\n[Options]\nScript = {options}"));
    home.spec(
        "long",
        "Command = '-'\nExecutor = 'shell'\nTimeout = '300ms'\n[Options]\nScript = 'sleep 600 & sleep 600'",
    );
    let output = home.jobmgr(&["run", "hello"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), "a \"quoted\" word\naside\n".into()), "{output:?}");
    let server = home.serve();
    let ended = server.run("hello", json!({}));
    assert_eq!((ended.status.as_str(), ended.result.contains("quoted")), ("failed", true), "{ended:?}");
    let ended = server.run("long", json!({}));
    assert!(ended.result.ends_with("timeout after 300ms"), "{ended:?}");
    home.spec("wrong", "Command = '-'\nExecutor = 'shell'\n[Options]\nScrip = 'x'");
    let output = home.jobmgr(&["check"]).output().unwrap();
    let line = "jobspecs/wrong.toml: line 4, column 9: unknown key 'Scrip'; the only key here is Script";
    assert!(stdout(&output).contains(line), "{}", stdout(&output));
}

#[test]
fn the_one_in_c_passes_the_check() {
    let home = Home::new("");
    let Some(library) = plugin_in_c(&home, "executors/examples/c/shell.c", "shell", &[]) else { return };
    home.spec("two", "Command = '-'\nExecutor = 'shell'\n[Options]\nScript = 'echo one; sleep 1; echo two'");
    let output = home.jobmgr(&["plugin", "check", "--job", "jobspecs/two.toml"]).arg(library).output().unwrap();
    assert!(output.status.success() && !stdout(&output).contains("skipped  7"), "{}", stdout(&output));
}

#[test]
fn the_one_in_c_is_built_as_its_readme_says() {
    if or_skip("gcc", run(Command::new("gcc").arg("--version"))).is_none() {
        return;
    }
    let readme = std::fs::read_to_string(root().join("executors/examples/c/README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("gcc ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let line = line.replace("-o libshell.so", &format!("-o {}/libshell.so", folder.path().display()));
    let mut shell = Command::new("sh");
    run(shell.args(["-ec", &line]).current_dir(root().join("executors/examples/c"))).unwrap();
    assert!(folder.path().join("libshell.so").exists());
}

/// A web server for one request: what was posted, when it was answered.
fn answer(status: &'static str, body: &'static [u8]) -> (String, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/render", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut posted = vec![0; length];
        lines.read_exact(&mut posted).unwrap();
        write!(client, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).unwrap();
        client.write_all(body).unwrap();
        serde_json::from_slice(&posted).unwrap()
    });
    (url, served)
}

fn posting(home: &Home, name: &str, url: &str, more: &str) {
    let spec = "Command = 'render'\nArguments = ['--size', 'large']\nExecutor = 'http'\n[Options]\n";
    home.spec(name, &format!("{spec}URL = '{url}'\n{more}"));
}

#[test]
fn the_one_over_http_posts_the_job_and_keeps_the_answer() {
    let home = Home::new("[Executors.http]\nPlugin = 'plugins/http'");
    plugin(&home, "jobmgr-executor-http", "http");
    let server = home.serve();
    let (url, served) = answer("200 OK", b"\x89PNG");
    posting(&home, "render", &url, "Artifact = 'picture.png'");
    let ended = server.run("render", json!({}));
    assert_eq!(ended.status, "completed", "{ended:?} {}", home.log());
    assert_eq!(ended.artifacts[0]["name"], "picture.png");
    assert_eq!(server.download(&ended.artifacts[0]), b"\x89PNG");
    let posted = served.join().unwrap();
    assert_eq!(posted["command"], json!(["render", "--size", "large"]));
    assert_eq!((&posted["id"], &posted["attempt"]), (&json!("1"), &json!(1)));
    let (url, served) = answer("404 Not Found", b"no such thing");
    posting(&home, "nothing", &url, "");
    let ended = server.run("nothing", json!({}));
    assert_eq!((ended.status.as_str(), &ended.artifacts[0]["name"]), ("failed", &json!("answer")), "{ended:?}");
    served.join().unwrap();
    posting(&home, "odd", "ftp://example.com/", "");
    let ended = server.run("odd", json!({}));
    assert!(ended.result.contains("'URL'"), "{ended:?}");
}

#[test]
fn the_one_over_http_leaves_a_server_that_does_not_answer() {
    let home = Home::new("[Executors.http]\nPlugin = 'plugins/http'");
    plugin(&home, "jobmgr-executor-http", "http");
    // It takes the connection, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let spec = "Command = 'x'\nExecutor = 'http'\nTimeout = '500ms'\nKillGrace = '30s'\n[Options]\n";
    home.spec("silent", &format!("{spec}URL = '{url}'"));
    let output = home.jobmgr(&["run", "silent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    eventually("nothing is left", || home.left_in_tmp().is_empty());
}
