use std::path::{Path, PathBuf};

use jobmgr_plugin_api::Job;
use serde_json::{Value, json};

use super::line::{Came, Runner};
use super::{Plugged, tell};
use crate::support::libraries::{of_c, of_crate};

/// The header as it was shipped with version 1.0, and its folder.
fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/c/v1_0")
}

/// `whole.c` compiled with the header of version 1.0.
fn old(to: &Path) -> Option<()> {
    of_c("v1_0/whole.c", to, &["-std=c11", "-Werror", &format!("-I{}", frozen().display())])
}

/// The same source with today's header: what `whole.c` asserts about it holds.
fn new(to: &Path) -> Option<()> {
    let copy = to.with_extension("c");
    // A header beside a source comes before all others.
    std::fs::copy(frozen().join("whole.c"), &copy).unwrap();
    of_c(copy.to_str().unwrap(), to, &["-std=c11", "-Werror"])
}

/// A job as the worker gives it to the executor.
fn job(options: Value) -> Value {
    serde_json::to_value(Job::new("7", 1, "jm-7-1", options)).unwrap()
}

fn came(status: u8, text: &str) -> Came {
    Came { status, text: text.to_owned(), stdout: "out\n".to_owned() }
}

#[test]
fn a_library_in_c_of_version_1_0_runs() {
    let plugged = Plugged::new("");
    for (name, compiled) in [("old", old as fn(&Path) -> Option<()>), ("new", new)] {
        let library = plugged.home.path("plugins").join(format!("{name}.so"));
        let Some(()) = compiled(&library) else { return };
        plugged.executor(name, &library, &format!("[Executors.{name}.Config]\nColour = \"green\""));
        let spec = format!("Command = \"x\"\nExecutor = \"{name}\"\n[Options]\nWord = \"good\"\n");
        plugged.home.spec(name, &spec);
        plugged.home.spec(&format!("{name}_bad"), &spec.replace("good", "bad"));
    }
    let server = plugged.serve();
    for name in ["old", "new"] {
        let told = tell(&server, name);
        assert_eq!((told.attempt["ending"].as_str(), &*told.own), (Some("completed"), "own\n"), "{told:?}");
        assert_eq!(told.attempt["executor"]["version"], "1.0.0");
        assert_eq!(told.ended.result, "out\n");
    }
}

/// It asks for nothing but what its table has room for, and a field that it does not know is not in its way.
#[test]
fn a_library_runs_below_a_host_with_a_smaller_and_a_larger_table() {
    let folder = tempfile::tempdir().unwrap();
    let (library, bigger) = (folder.path().join("whole.so"), folder.path().join("bigger.so"));
    let Some(()) = old(&library) else { return };
    let Some(()) = of_c("wrong.c", &bigger, &["-DBIGGER_TABLE"]) else { return };
    let Some(rust) = of_crate("jobmgr-executor-v1-0") else { return };
    for shown in [None, Some("first"), Some("larger")] {
        let (mut runner, loaded) = Runner::load(&library, &json!({"Colour": "green"}), shown).unwrap();
        assert_eq!(loaded["abi"], json!([1, 0]), "{loaded}");
        assert_eq!(runner.call(1, &json!("validate"), &json!({"Word": "good"})).status, 0);
        let bad = runner.call(2, &json!("validate"), &json!({"Word": "bad"}));
        assert_eq!((bad.status, &*bad.text), (1, "Word: is bad"));
        let ran = runner.call(3, &json!("run"), &job(json!({})));
        assert_eq!((ran.status, &*ran.stdout), (0, "out\n"), "{shown:?}: {ran:?}");
        assert!(ran.text.contains("\"exited\":0"), "{ran:?}");
        for (number, why) in [(4, 1), (5, 2), (6, 3)] {
            runner.begin(number, &json!("run"), &job(json!({"Word": "wait"})));
            runner.stop(number, why);
            assert_eq!(runner.end(number), came(5, ""), "{shown:?}");
        }
        // A library of version 1.1.
        let (mut runner, loaded) = Runner::load(&bigger, &json!({}), shown).unwrap();
        assert_eq!(loaded["abi"], json!([1, 1]), "{loaded}");
        assert_eq!(runner.call(1, &json!("run"), &job(json!({}))).status, 0);
        // And what the crate of version 1.0 makes of its tables.
        let (mut runner, _) = Runner::load(&rust, &json!({"Word": "hello"}), shown).unwrap();
        let refused = runner.call(1, &json!("run"), &job(json!({})));
        assert_eq!((refused.status, &*refused.text), (4, "a checkpoint is not possible: status 4"), "{refused:?}");
        assert_eq!(refused.stdout, "hello 1 \n1700000000000000000 long ago\n");
        let wrong = runner.call(2, &json!("validate"), &json!([1]));
        assert_eq!((wrong.status, &*wrong.text), (1, "the options must be an object"));
    }
}

#[test]
fn a_library_that_needs_a_later_version_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("newer.so");
    let Some(()) = of_c("wrong.c", &library, &["-DNEEDS_NEWER"]) else { return };
    let why = Runner::load(&library, &json!({}), None).err().unwrap();
    assert_eq!(why, "newer.so: needs plugin ABI 1.9; this jobmgr speaks 1.0");
}

#[test]
fn a_crate_of_version_1_0_compiles_and_runs() {
    let Some(library) = of_crate("jobmgr-executor-v1-0") else { return };
    let plugged = Plugged::new("");
    plugged.executor("whole", &library, "[Executors.whole.Config]\nWord = \"hello\"");
    for ending in ["", "five", "nine", "failed", "bad"] {
        let spec =
            format!("Command = \"a\"\nArguments = [\"b\"]\nExecutor = \"whole\"\n[Options]\nEnding = \"{ending}\"\n");
        plugged.home.spec(&format!("ending{ending}"), &spec);
    }
    let server = plugged.serve();
    for (ending, status, reason, error) in [
        ("", "completed", None, ""),
        ("five", "failed", Some("exit_code"), "exit status 5"),
        ("nine", "failed", Some("signal"), "signal: killed"),
        ("failed", "failed", Some("executor_error"), "it failed"),
        ("bad", "failed", Some("invalid_job"), "Ending: is bad"),
    ] {
        let told = tell(&server, &format!("ending{ending}"));
        // What is known before it runs is told with its place.
        let said = told.error.rsplit_once("'Options': ").map_or(&*told.error, |(_, said)| said);
        let found = (told.attempt["ending"].as_str().unwrap(), told.reason.as_deref(), said);
        assert_eq!(found, (status, reason, error), "{told:?}");
        if ending != "bad" {
            assert!(told.ended.result.starts_with("hello 1 a b\nlong ago\n"), "{told:?}");
            assert_eq!((&*told.own, told.ended.artifacts.len()), ("own\n", 1), "{told:?}");
        }
    }
}
