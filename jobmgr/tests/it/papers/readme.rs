//! The README's first steps, done as a newcomer does them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{markdown, read};
use crate::support::server::{Home, PATIENCE, Server};

/// The lines for the shell, with the port of the server at hand, and the binary at hand for a release build.
fn run(lines: &str, home: &Home, server: &Server) -> String {
    let lines = lines.replace("9845", &server.address.port().to_string()).replace("cargo run --release --", "jobmgr");
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_jobmgr")).parent().unwrap();
    let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("exec 2>&1\n{lines}")]).current_dir(home.dir.path()).env("PATH", path);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The text without what differs from run to run: times, random names, and sizes that depend on the zlib at hand.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    let part = |c: char| c.is_ascii_hexdigit() || c == '-';
    for (index, line) in text.split("\"size\":").enumerate() {
        let mut rest = line;
        if index > 0 {
            normal.push_str("\"size\":SIZE");
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        while let Some(start) = rest.find(part) {
            let length = rest[start..].find(|c| !part(c)).unwrap_or(rest.len() - start);
            let word = &rest[start..start + length];
            let time = length == 10 && word.bytes().all(|byte| byte.is_ascii_digit());
            let uuid = length == 36 && word.matches('-').count() == 4;
            normal.push_str(&rest[..start]);
            normal.push_str(if time {
                "TIME"
            } else if uuid {
                "UUID"
            } else {
                word
            });
            rest = &rest[start + length..];
        }
        normal.push_str(rest);
    }
    normal
}

#[test]
fn what_differs_is_left_out() {
    let one = r#"{"created":1789471834,"size":8301,"uuid":"7cc4360d-c5cf-4c9d-b073-cfbfd9fcbab2","id":12}"#;
    let other = r#"{"created":1889471834,"size":83,"uuid":"1cc4360d-c5cf-4c9d-b073-cfbfd9fcbab2","id":12}"#;
    assert_eq!(normal(one), normal(other));
    assert_eq!(normal(one), r#"{"created":TIME,"size":SIZE,"uuid":"UUID","id":12}"#);
    assert_ne!(normal(one), normal(&one.replace("12}", "13}")));
}

#[test]
fn the_first_job_goes_as_printed() {
    let (home, readme) = (Home::with_samples(""), read("README.md"));
    let server = home.serve();
    let blocks = markdown::blocks(markdown::section(&readme, "## One job, end to end"));
    let mut count = 0;
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| block.kind == "sh") {
        let shown = blocks.get(place + 1).filter(|next| next.kind == "text").map_or("", |next| &next.text);
        let until = Instant::now() + PATIENCE;
        loop {
            let printed = run(&block.text, &home, &server);
            if normal(&printed) == normal(shown) {
                break;
            }
            // The README says to ask again; all else is to be right at once.
            let again = block.text.contains("/jobs/get") && Instant::now() < until;
            assert!(again, "{}\nprints:\n{printed}\nREADME.md shows:\n{shown}", block.text);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        count += 1;
    }
    assert!(count >= 6, "only {count} blocks");
    for picture in ["result.png", "out/result.png"] {
        assert!(std::fs::read(home.path(picture)).unwrap().starts_with(b"\x89PNG\r\n"), "{picture}");
    }
}

#[test]
fn the_server_greets_as_printed() {
    let (home, readme) = (Home::with_samples(""), read("README.md"));
    let blocks = markdown::blocks(markdown::section(&readme, "## Two commands"));
    let shown = &blocks.iter().find(|block| block.kind == "text").unwrap().text;
    let mut server = home.jobmgr(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().take(shown.lines().count());
    let printed: String = lines.map(|line| line.unwrap() + "\n").collect();
    server.kill().unwrap();
    server.wait().unwrap();
    let port = printed.lines().next().and_then(|line| line.rsplit_once(':')).unwrap().1;
    assert_eq!(printed.replace(port, "9845"), *shown);
}
