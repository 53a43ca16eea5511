use std::path::Path;
use std::process::Output;

use super::{plugin, plugin_in_c, stderr, stdout};
use crate::support::server::Home;

/// Runs for a second and a half, and prints the same each time.
const JOB: &str = "Command = '-'\nExecutor = 'wrong'\nTimeout = '20s'\nKillGrace = '1s'";

fn check(home: &Home, library: &Path, arguments: &[&str]) -> Output {
    home.jobmgr(&["plugin", "check"]).arg(library).args(arguments).output().unwrap()
}

/// The word and the reason of a point.
fn point(output: &Output, number: u8) -> (String, String) {
    let text = stdout(output);
    let line = text.lines().find(|line| line[7..].trim_start().starts_with(&format!("{number} ")));
    let line = line.unwrap_or_else(|| panic!("no point {number} in {text}{}", stderr(output)));
    (line[..7].trim().to_owned(), line[11..].to_owned())
}

fn words(output: &Output) -> Vec<String> {
    (1..=16).map(|number| point(output, number).0).collect()
}

#[test]
fn an_executor_that_keeps_to_everything_passes() {
    let home = Home::new("");
    let Some(library) = plugin_in_c(&home, "jobmgr/tests/plugins/wrong.c", "right", &[]) else { return };
    home.spec("lines", JOB);
    let output = check(&home, &library, &["--job", "jobspecs/lines.toml", "--recover"]);
    assert_eq!(words(&output), vec!["ok"; 16], "{}", stdout(&output));
    assert!(output.status.success(), "{}", stderr(&output));
    let halves = point(&output, 10).1;
    assert!(halves.contains("by its handle") && !halves.contains(" 0 bytes"), "{halves}");
    assert!(point(&output, 9).1.contains("by its key"), "{}", stdout(&output));
    assert_eq!(home.left_in_tmp(), Vec::<String>::new());
}

/// A way to be wrong, the point that finds it, and what it says.
const MISTAKES: [(&str, u8, &str); 22] = [
    ("MAGIC", 1, "bad magic 0x1"),
    ("EXPORT", 2, "handy_function"),
    ("WORDS", 3, "in other words"),
    ("NAME", 3, "its name \"Wrong Name\""),
    ("SCHEMA", 3, "'options_schema' is no JSON Schema"),
    ("PRINTS", 4, "it prints while it is opened; it printed \"loaded\""),
    ("SLOW", 4, "opening it takes"),
    ("THREAD", 4, "it starts 1 threads"),
    ("TAKES", 5, "options [] are taken"),
    ("CRASH", 5, "SIGABRT"),
    ("JOB", 6, "run a second time, its output has 120 bytes, undisturbed 120; they differ from byte"),
    ("OUTCOME", 6, "the executor's outcome can't be read"),
    ("DEAF", 7, "after it was asked to stop"),
    ("LEAVES", 7, "processes of the job are left"),
    ("DETACH", 8, "asked to leave the job, it ends it: Killed(Cancelled)"),
    ("KEY", 9, "what job?"),
    ("TWICE", 10, "taken together, its output has"),
    ("FOREIGN", 11, "with a handle that is not its own"),
    ("CLEANUP", 12, "the second time: it is gone already"),
    ("EIGHT", 13, "one of eight: another job runs"),
    ("LEAK", 14, "its process grew by"),
    ("OLD", 15, "with a table with unknown fields"),
];

#[test]
fn each_point_finds_its_mistake() {
    let home = Home::new("");
    home.spec("lines", JOB);
    // They mostly wait, so all at once take little longer than one.
    std::thread::scope(|scope| {
        for (mistake, number, words) in MISTAKES {
            let home = &home;
            scope.spawn(move || {
                let flag = format!("-DWRONG_{mistake}");
                let source = "jobmgr/tests/plugins/wrong.c";
                let Some(library) = plugin_in_c(home, source, &mistake.to_lowercase(), &[&flag]) else { return };
                let wanted = number.to_string();
                let output = check(home, &library, &["--job", "jobspecs/lines.toml", "--point", &wanted]);
                let (word, why) = point(&output, number);
                assert!(word == "WRONG" && why.contains(words), "{mistake}: {}", stdout(&output));
                assert_eq!(output.status.code(), Some(1), "{mistake}");
                assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
            });
        }
    });
}

#[test]
fn what_can_not_be_tried_is_skipped_with_its_reason() {
    let home = Home::new("");
    let Some(library) = plugin_in_c(&home, "jobmgr/tests/plugins/wrong.c", "alone", &["-DWRONG_ALONE"]) else { return };
    let output = check(&home, &library, &[]);
    assert!(output.status.success(), "{}", stdout(&output));
    assert_eq!(point(&output, 6), ("skipped".into(), "a job: needs a job: --job FILE".into()));
    assert_eq!(point(&output, 8).0, "skipped");
    assert!(point(&output, 8).1.ends_with("it can't recover"));
    let output = check(&home, &library, &["--recover", "--point", "8"]);
    assert!(!output.status.success() && point(&output, 8).0 == "WRONG", "{}", stdout(&output));
    let output = check(&home, Path::new("plugins/none.so"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(point(&output, 1).1.contains("No such file"), "{}", stdout(&output));
    let output = check(&home, &library, &["--job", "jobspecs/none.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("jobspecs/none.toml: No such file"), "{}", stderr(&output));
}

#[test]
fn a_library_that_does_everything_wrong_can_not_end_the_check() {
    let home = Home::new("");
    let library = plugin(&home, "jobmgr-executor-bad", "bad");
    for (mode, word, words) in [
        ("ok", "ok", "Exited(0), 6 bytes"),
        ("segv", "WRONG", "SIGSEGV (11)"),
        ("exit0", "WRONG", "exited with code 0"),
        ("panic", "WRONG", "no such thing"),
        ("garbage_all_fds", "WRONG", "broke the protocol"),
        ("loop", "WRONG", "it has not ended after 2s, the jobspec's Timeout"),
    ] {
        let job = format!("Command = '-'\nExecutor = 'bad'\nTimeout = '2s'\n[Options]\nMode = '{mode}'");
        home.spec("misdeed", &job);
        let output = check(&home, &library, &["--job", "jobspecs/misdeed.toml", "--point", "6", "--point", "16"]);
        let (found, why) = point(&output, 6);
        assert!(found == word && why.contains(words), "{mode}: {}", stdout(&output));
        let debug = point(&output, 16);
        assert!(debug.0 == "note" && debug.1.contains("without optimisations"), "{debug:?}");
    }
}
