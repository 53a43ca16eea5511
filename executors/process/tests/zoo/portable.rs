//! What must hold on every platform.

use jobmgr_executor_process::{Options, Process};
use std::time::Duration;

use jobmgr_plugin_api::{Ending, Event, Executor, Job, KillReason, Kind, NoConfig, Outcome, Stop, serde_json};

use crate::support::{after, alone, job, run, run_until};

/// The same script for `sh` and, where that differs, for `cmd`.
fn script(sh: &str, cmd: &str) -> Job<Options> {
    if cfg!(windows) { job(["cmd", "/d", "/c", cmd]) } else { job(["sh", "-c", sh]) }
}

/// A script that is the same in both languages.
fn shell(text: &str) -> Job<Options> {
    script(text, text)
}

#[test]
fn exit_codes() {
    alone(|| {
        for code in [0, 1, 3, 77, 255] {
            assert_eq!(*run(&shell(&format!("exit {code}"))).outcome(), Outcome::exited(code));
        }
    });
}

#[test]
fn output_is_kept_apart() {
    alone(|| {
        let ran = run(&shell("echo one&& echo two>&2&& echo three"));
        assert_eq!(ran.text().lines().collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!(String::from_utf8_lossy(&ran.stderr).trim(), "two");
    });
}

#[test]
fn the_environment_is_exact() {
    alone(|| {
        // No shell on Linux: it would add and drop some.
        let mut bare = if cfg!(windows) { shell("set") } else { job(["env"]) };
        bare.env.retain(|name, _| cfg!(windows) && name == "SystemRoot");
        bare.env.insert("JOBMGR_PARAMETER_MESSAGE".into(), "a b = c".into());
        bare.env.insert("JOBMGR_PARAMETER_OTHER-OPTION".into(), "x".into());
        let ran = run(&bare);
        let lines: Vec<_> = ran.text().lines().collect();
        let ours = ["JOBMGR_PARAMETER_MESSAGE=a b = c", "JOBMGR_PARAMETER_OTHER-OPTION=x"];
        if cfg!(windows) {
            assert!(ours.iter().all(|line| lines.contains(line)), "{lines:?}");
            assert!(!ran.text().contains("ZOO_CASE"), "{lines:?}");
        } else {
            assert_eq!(lines, ours);
        }
    });
}

#[test]
fn standard_input_is_empty() {
    alone(|| {
        let ran = run(&script("cat; echo end", "sort & echo end"));
        assert_eq!(ran.text().trim(), "end");
    });
}

#[test]
fn it_starts_in_its_working_directory() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("here"), "").unwrap();
        let mut there = script("ls", "dir /b");
        there.working_directory = dir.path().display().to_string();
        assert_eq!(run(&there).text().trim(), "here");
        there.working_directory = dir.path().join("gone").display().to_string();
        let ran = run(&there);
        assert_eq!(ran.error().kind(), Kind::Invalid);
        assert_eq!(ran.error().to_string(), format!("chdir {}: no such file or directory", there.working_directory));
    });
}

#[test]
fn commands_that_are_not_there() {
    alone(|| {
        let gone = if cfg!(windows) { r"C:\nonexistent\command.exe" } else { "/nonexistent/command" };
        let path = if cfg!(windows) { "%PATH%" } else { "$PATH" };
        for (command, said) in [
            (gone, format!("fork/exec {gone}: no such file or directory")),
            ("./conf-no-such", "fork/exec ./conf-no-such: no such file or directory".into()),
            ("conf-no-such-binary", format!("exec: \"conf-no-such-binary\": executable file not found in {path}")),
            ("", "the command is empty".into()),
        ] {
            let ran = run(&job([command]));
            assert_eq!((ran.error().kind(), ran.error().to_string()), (Kind::Invalid, said));
        }
        assert_eq!(run(&job::<String>([])).error().to_string(), "the command is empty");
        let nul = run(&job([if cfg!(windows) { "cmd" } else { "sh" }, "a\0b"]));
        assert_eq!(nul.error().kind(), Kind::Invalid, "{nul:?}");
    });
}

#[test]
fn a_relative_command_is_found_in_both_places() {
    alone(|| {
        let server = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::env::set_current_dir(server.path()).unwrap();
        let name = if cfg!(windows) { "./tool.exe" } else { "./tool" };
        let mut tool = job([name, "--list"]);
        tool.working_directory = dir.path().display().to_string();
        assert_eq!(run(&tool).error().kind(), Kind::Invalid);
        // Any program will do: this one, which can list its tests.
        std::fs::copy(std::env::current_exe().unwrap(), server.path().join(name)).unwrap();
        assert_eq!(*run(&tool).outcome(), Outcome::exited(0));
        // Where both have it, the job's own directory wins.
        std::fs::create_dir(dir.path().join(name)).unwrap();
        assert!(run(&tool).error().to_string().ends_with("is a directory"));
        std::env::set_current_dir(std::env::temp_dir()).unwrap();
    });
}

#[test]
fn progress_is_the_last_complete_line() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut busy = script(
            "printf '10 start\\n' >> progress; sleep 0.6; printf '42.5%% some text\\n90 never en' >> progress",
            "echo 10 start>>progress& ping -n 2 127.0.0.1 >nul& echo 42.5% some text>>progress& echo|set /p=90>>progress",
        );
        busy.working_directory = dir.path().display().to_string();
        busy.env.insert("JOBMGR_PROGRESS".into(), dir.path().join("progress").display().to_string());
        let ran = run(&busy);
        let last = Event::Progress { percent: 42.5, message: "some text".into() };
        assert_eq!(ran.events.last(), Some(&last), "{ran:?}");
        if cfg!(target_os = "linux") {
            assert_eq!(ran.events, [Event::Progress { percent: 10.0, message: "start".into() }, last]);
        }
    });
}

#[test]
fn wrong_progress_is_told_once() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress");
        let mut wrong = shell("exit 0");
        wrong.env.insert("JOBMGR_PROGRESS".into(), path.display().to_string());
        std::fs::write(&path, "nearly done\n").unwrap();
        let ran = run(&wrong);
        assert_eq!(ran.warnings().len(), 1);
        assert!(ran.warnings()[0].contains("\"nearly done\" is not a line such as"), "{ran:?}");
    });
}

#[test]
fn a_job_that_is_stopped_ends() {
    alone(|| {
        let mut long = script("echo ready; sleep 600", "echo ready& ping -n 600 127.0.0.1 >nul");
        long.limits.kill_grace_ms = 500;
        for (why, reason) in [(Stop::Cancel, KillReason::Cancelled), (Stop::Timeout, KillReason::Timeout)] {
            let ran = run_until(&long, after("ready", why));
            assert_eq!(ran.outcome().ending, Ending::Killed(reason));
            assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
            assert!(jobmgr_executor_process::end_descendants(Duration::ZERO), "something is left");
        }
    });
}

#[test]
fn much_output_arrives_whole() {
    alone(|| {
        // Of this program, which says as much on every platform.
        let mut much = job([std::env::current_exe().unwrap().display().to_string()]);
        much.command.extend(["portable::writes_much", "--exact", "--nocapture", "--ignored"].map(String::from));
        let ran = run(&much);
        assert_eq!(*ran.outcome(), Outcome::exited(0));
        let lines = ran.text().lines().filter(|line| line.starts_with("line ")).count();
        assert_eq!(lines, MUCH);
    });
}

const MUCH: usize = 200_000;

#[test]
#[ignore = "what the test above runs"]
fn writes_much() {
    for number in 0..MUCH {
        println!("line {number}");
    }
}

#[test]
fn options_are_checked() {
    let parse = |text| serde_json::from_str::<Options>(text).map_err(|error| error.to_string());
    assert!(parse(r#"{"AllowBatch": true}"#).unwrap().allow_batch);
    assert!(!parse("{}").unwrap().allow_batch);
    assert!(parse(r#"{"allow_batch": true}"#).unwrap_err().contains("AllowBatch"));
    assert_eq!(Process::NAME, "process");
    assert!(Process::new(NoConfig {}).is_ok());
}
