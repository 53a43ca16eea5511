//! Jobspecs that come, change and go while the server runs.

use serde_json::json;

use crate::support::server::{Home, Server};

fn says(server: &Server, name: &str) -> String {
    server.run(name, json!({})).result
}

#[test]
fn files_are_picked_up_changed_and_dropped() {
    let home = Home::new("");
    let server = home.serve();
    assert_eq!(says(&server, "late"), "job does not exist");
    home.sh("late", "echo one", "");
    assert_eq!(says(&server, "late"), "one\n");
    // Of the same length, within the same tick of the clock.
    home.sh("late", "echo two", "");
    assert_eq!(says(&server, "late"), "two\n");
    std::fs::remove_file(home.path("jobspecs/late.toml")).unwrap();
    assert_eq!(says(&server, "late"), "job does not exist");
    home.sh("late", "echo three", "");
    assert_eq!(says(&server, "late"), "three\n");
    std::fs::rename(home.path("jobspecs/late.toml"), home.path("jobspecs/other.toml")).unwrap();
    assert_eq!(says(&server, "late"), "job does not exist");
    assert_eq!(says(&server, "other"), "three\n");
}

#[test]
fn the_folder_may_come_late_and_be_exchanged() {
    let home = Home::new("");
    std::fs::remove_dir(home.path("jobspecs")).unwrap();
    let server = home.serve();
    assert!(server.greeting.len() == 1 && says(&server, "a") == "job does not exist");
    std::fs::create_dir(home.path("jobspecs")).unwrap();
    home.sh("a", "echo old", "");
    assert_eq!(says(&server, "a"), "old\n");
    std::fs::rename(home.path("jobspecs"), home.path("before")).unwrap();
    std::fs::create_dir(home.path("jobspecs")).unwrap();
    home.sh("a", "echo new", "");
    assert_eq!(says(&server, "a"), "new\n");
}

#[test]
fn a_queued_job_runs_by_the_jobspec_that_is_there_when_it_starts() {
    let home = Home::new("");
    home.sh(
        "gate",
        "until [ -e \"$JOBMGR_PARAMETER_HOME/go\" ]; do sleep 0.02; done",
        "Timeout = \"2m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"",
    );
    home.sh("changes", "echo before", "");
    home.sh("goes", "echo before", "");
    let server = home.serve();
    let gate = server.start("gate", json!({ "home": home.dir.path() }));
    server.wait_for(gate, "started");
    let (changes, goes) = (server.start("changes", json!({})), server.start("goes", json!({})));
    let comes = server.start("comes", json!({}));
    home.sh("changes", "echo after", "");
    home.sh("comes", "echo here", "");
    std::fs::remove_file(home.path("jobspecs/goes.toml")).unwrap();
    std::fs::write(home.path("go"), "").unwrap();
    assert_eq!(server.wait(changes).result, "after\n");
    assert_eq!(server.wait(goes).result, "job does not exist");
    assert_eq!(server.wait(comes).result, "here\n");
}

#[test]
fn a_broken_one_disturbs_nobody() {
    let home = Home::new("");
    for n in 0..20 {
        home.sh(&format!("good{n}"), &format!("echo {n}"), "");
    }
    home.spec("syntax", "Command = \"true\"\nArguments = [\"a\"\nTimeout = \"1s\"");
    home.spec("key", "Command = \"true\"\ntimout = \"1s\"");
    home.spec("type", "Command = [\"true\"]");
    home.spec("none", "Arguments = [\"a\"]");
    home.spec("time", "Command = \"true\"\nTimeout = \"-1s\"");
    std::fs::write(home.path("jobspecs/bytes.toml"), b"Command = \"\xff\"").unwrap();
    std::fs::create_dir(home.path("jobspecs/folder.toml")).unwrap();
    std::os::unix::fs::symlink("loop.toml", home.path("jobspecs/loop.toml")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, home.path("jobspecs/fifo.toml"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let server = home.serve();
    for (name, words) in [
        ("syntax", &["syntax.toml: line 3"][..]),
        ("key", &["key.toml: line 2, column 1: unknown key 'timout'", "'Timeout'"]),
        ("type", &["type.toml: line 1, column 11", "'Command'"]),
        ("none", &["none.toml", "'Command' is missing"]),
        ("time", &["time.toml: line 2, column 11", "'Timeout'"]),
        ("bytes", &["bytes.toml", "UTF-8"]),
        ("folder", &["folder.toml"]),
        ("loop", &["loop.toml"]),
        ("fifo", &["fifo.toml"]),
    ] {
        let ended = server.run(name, json!({}));
        assert_eq!(ended.status, "failed");
        for word in words {
            assert!(ended.result.contains(word), "{name}: {word:?} is missing: {}", ended.result);
        }
        assert_eq!(ended.result.lines().count(), 1, "{}", ended.result);
    }
    for n in 0..20 {
        assert_eq!(says(&server, &format!("good{n}")), format!("{n}\n"));
    }
}

#[test]
fn a_half_written_file_fails_only_while_it_is_half_written() {
    let home = Home::new("");
    home.sh("other", "echo other", "");
    let server = home.serve();
    let whole = "Command = \"/bin/sh\"\nArguments = [\"-c\", \"echo whole\"]\n";
    let path = home.path("jobspecs/half.toml");
    for length in [0, 5, 15, 30, 45] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let ended = server.run("half", json!({}));
        let names_it = ended.result.contains("half.toml");
        assert!(ended.status == "failed" && names_it || ended.status == "completed", "{length}: {ended:?}");
        assert_eq!(says(&server, "other"), "other\n");
    }
    std::fs::write(&path, whole).unwrap();
    assert_eq!(says(&server, "half"), "whole\n");
}

#[test]
fn names_are_never_paths() {
    let home = Home::new("");
    std::fs::write(home.path("outside.toml"), "Command = \"true\"").unwrap();
    std::fs::create_dir(home.path("jobspecs/sub")).unwrap();
    std::fs::write(home.path("jobspecs/sub/inner.toml"), "Command = \"true\"").unwrap();
    let server = home.serve();
    let long = "x".repeat(255);
    for name in ["../outside", "sub/inner", ".", "..", "a b", "a\\b", "/etc/passwd", &long, "a\nb", "\u{202e}x"] {
        let ended = server.run(name, json!({}));
        assert!(["invalid job name", "job does not exist"].contains(&ended.result.as_str()), "{name}: {ended:?}");
    }
}
