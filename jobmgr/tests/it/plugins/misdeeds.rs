use jobmgr::domain::job::Status;
use serde_json::json;

use super::{Plugged, Told, tell, told};
use crate::support::libraries::of_crate_with;
use crate::support::processes::memory;
use crate::support::server::{Server, eventually};

/// A job, and what is to be told of it. In texts a `*` stands for anything.
struct Row {
    name: &'static str,
    status: &'static str,
    reason: Option<&'static str>,
    error: &'static str,
    own: &'static str,
}

const fn row(
    name: &'static str,
    status: &'static str,
    reason: &'static str,
    error: &'static str,
    own: &'static str,
) -> Row {
    Row { name, status, reason: if reason.is_empty() { None } else { Some(reason) }, error, own }
}

const fn good(name: &'static str, own: &'static str) -> Row {
    row(name, "completed", "", "", own)
}

const fn failed(name: &'static str, error: &'static str, own: &'static str) -> Row {
    row(name, "failed", "executor_error", error, own)
}

const SEGV: &str = "the executor's process was ended by SIGSEGV (11) before it gave a result";
const ABRT: &str = "the executor's process was ended by SIGABRT (6) before it gave a result";
const EXIT: &str = "the executor's process exited with code 0 before it gave a result";

/// What the modes of the executor `bad` come to.
const BAD: [Row; 27] = [
    good("ok", ""),
    failed("err", "the cluster is not reachable", ""),
    failed("panic", "panicked at *tests/plugins/bad/src/lib.rs:*: no such thing", "plugin panicked at *:\nno such*"),
    failed("panic_evil", "panicked at *tests/plugins/bad/src/lib.rs:*: Box<dyn Any>", "plugin panicked at *"),
    failed("segv", SEGV, ""),
    failed("abort", ABRT, ""),
    failed("exit0", EXIT, ""),
    failed("_exit0", EXIT, ""),
    failed("stackoverflow", ABRT, "*has overflowed its stack*"),
    good("garbage", "*"),
    failed("garbage_all_fds", "the executor broke the protocol: not a frame: [a5, a5, a5, a5]", "*"),
    good("orphan", ""),
    good("crash_after", "*"),
    good("bg_panic", "plugin panicked at *:\nin the background\n"),
    good("leak", ""),
    good("print", "printed, without an end of the line"),
    good("command_0", ""),
    row("command_5", "failed", "exit_code", "exit status 5", ""),
    row("command_9", "failed", "signal", "signal: killed", ""),
    failed("checkpoint", "a checkpoint is not possible: status 4", ""),
    failed("request", "there is no method 'no.such.method'", ""),
    row("invalid", "failed", "invalid_job", "*Mode: 'invalid' is not valid", ""),
    row("unknown_mode", "failed", "invalid_job", "Mode: 'unknown_mode' is not known", ""),
    row("sleep", "failed", "timeout", "timeout after 700ms", ""),
    row("missing_option", "failed", "invalid_job", "*.toml: line *, column *'Options': key 'Mode' is missing*", ""),
    row("unknown_option", "failed", "invalid_job", "*.toml: line 5, column 9: 'Options': unknown key 'Modus'*", ""),
    row("no_table", "failed", "invalid_job", "*.toml: line 3, column 11: 'Options'*", ""),
];

/// What the ways of a library to be no executor come to: `wrong.c` compiled with the name in capitals.
const WRONG: [Row; 19] = [
    failed("wrong_major", "wrong_major.so: made for plugin ABI 7.0; this jobmgr speaks 1.0", ""),
    failed(
        "wrong_entry_v2",
        "wrong_entry_v2.so: made for plugin ABI 2; this jobmgr speaks ABI 1: a newer jobmgr is needed",
        "",
    ),
    failed("too_small", "too_small.so: its table has 40 bytes; ABI 1.0 has 88", ""),
    failed("bad_magic", "bad_magic.so: bad magic 0x3039", ""),
    failed("needs_newer", "needs_newer.so: needs plugin ABI 1.9; this jobmgr speaks 1.0", ""),
    failed("null_table", "null_table.so: jobmgr_executor_v1 returned NULL", ""),
    failed("null_run", "null_run.so: describe, create and run must not be null", ""),
    failed("no_entry", "no_entry.so: not a jobmgr executor: it does not export jobmgr_executor_v1", ""),
    failed("ctor_segv", SEGV, ""),
    failed("ctor_exit", EXIT, ""),
    failed("unresolved", "unresolved.so: cannot be loaded: unresolved.so: undefined symbol: a_function_that_*", ""),
    failed("create_fails", "Address: is missing", ""),
    failed("no_ending", "the executor's outcome can't be read: missing field `ending`*", ""),
    failed("no_reason", "the executor gave status 2 and no reason", ""),
    failed("own_status", "a status of my own", ""),
    // A table of version 1.1, which an older jobmgr can work with.
    good("bigger_table", ""),
    good("printf", "through stdio, no newline, never flushed by me"),
    failed("text", "text.so: cannot be loaded: text.so: file too short", ""),
    failed("missing", "missing.so: No such file or directory (os error 2)", ""),
];

/// The other sources.
const SOURCES: [Row; 3] =
    [good("good", ""), good("hang_at_exit", ""), failed("throws", ABRT, "*Rust cannot catch foreign exceptions*")];

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl Row {
    fn check(&self, told: &Told) {
        let reason = told.reason.as_deref();
        assert_eq!(told.attempt["ending"], self.status, "{}: {told:?}", self.name);
        assert_eq!(self.reason, reason, "{}: {told:?}", self.name);
        assert!(fits(self.error, &told.error), "{}: {told:?}", self.name);
        assert!(fits(self.own, &told.own), "{}: {told:?}", self.name);
    }
}

/// Runs each job; after each, another one.
fn run_each<'r>(plugged: &Plugged, server: &Server, rows: impl Iterator<Item = &'r Row>, executors: usize) {
    for row in rows {
        row.check(&tell(server, row.name));
        plugged.assert_nothing_left(executors);
        let next = tell(server, "ok");
        assert_eq!((next.ended.status.as_str(), &*next.ended.result), ("completed", "hello\n"), "after {}", row.name);
    }
}

/// Runs the rows twice: what they leave in the server's memory they would leave twice.
fn run_all(plugged: &Plugged, rows: &[&[Row]], executors: usize) {
    let server = plugged.serve();
    let all = || rows.iter().copied().flatten();
    run_each(plugged, &server, all(), executors);
    let before = memory(server.pid());
    run_each(plugged, &server, all(), executors);
    let after = memory(server.pid());
    eprintln!("the server's memory: {} KiB, then {} KiB", before >> 10, after >> 10);
    assert!(after < before + (16 << 20), "{before}, then {after}");
}

const LONG: &str = "Timeout = \"60s\"";

#[test]
fn an_executor_that_misbehaves_fails_its_job_alone() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    for Row { name, .. } in BAD {
        match name.split_once('_') {
            Some(("command", code)) => {
                let script = if code == "9" { "kill -9 $$".to_owned() } else { format!("exit {code}") };
                let spec = format!("Command = \"{script}\"\nExecutor = \"bad\"\n[Options]\nMode = \"command\"\n");
                plugged.home.spec(name, &spec);
            }
            _ if name == "sleep" => plugged.mode(name, name, "Timeout = \"700ms\"", ""),
            _ if name == "leak" => plugged.mode(name, name, LONG, "Size = 536_870_912"),
            _ => plugged.mode(name, name, LONG, ""),
        }
    }
    let spec = |options: &str| format!("Command = \"x\"\nExecutor = \"bad\"\n{options}\n");
    plugged.home.spec("missing_option", &spec("[Options]\nSize = 1"));
    plugged.home.spec("unknown_option", &spec("[Options]\nMode = \"ok\"\nModus = 1"));
    plugged.home.spec("no_table", &spec("Options = [1]"));
    run_all(&plugged, &[&BAD], 1);
}

#[test]
fn a_library_that_is_no_executor_fails_its_jobs_alone() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("ok", "ok", LONG, "");
    for Row { name, .. } in WRONG.iter().filter(|row| !["text", "missing"].contains(&row.name)) {
        let Some(()) = plugged.c(name, "wrong.c", &[&format!("-D{}", name.to_uppercase())]) else { return };
    }
    for (name, source) in [("good", "good.c"), ("hang_at_exit", "hang_at_exit.c"), ("throws", "throws.cpp")] {
        let Some(()) = plugged.c(name, source, &[]) else { return };
    }
    std::fs::write(plugged.home.path("plugins/text.so"), "text").unwrap();
    for name in ["text", "missing"] {
        plugged.named(name, &plugged.home.path("plugins").join(format!("{name}.so")));
    }
    run_all(&plugged, &[&WRONG, &SOURCES], 1 + WRONG.len() + SOURCES.len());
}

/// Modes that do not heed a stop; each has 700 ms, and a grace of 200 ms.
#[test]
fn an_executor_that_hangs_ends_with_its_time() {
    let plugged = Plugged::new("[Worker]\nConcurrency = 4");
    let Some(()) = plugged.bad("") else { return };
    let hanging = ["loop", "sigterm_proof", "sigstop", "closefds"];
    for mode in hanging {
        plugged.mode(mode, mode, "Timeout = \"700ms\"\nKillGrace = \"200ms\"", "");
    }
    plugged.mode("ok", "ok", LONG, "");
    let server = plugged.serve();
    let ids = hanging.map(|mode| (mode, server.start(mode, json!({}))));
    for (name, id) in ids {
        row(name, "failed", "timeout", "timeout after 700ms", "").check(&told(&server, id));
    }
    plugged.assert_nothing_left(1);
    assert_eq!(tell(&server, "ok").ended.result, "hello\n");
}

#[test]
fn a_leak_stops_at_the_limit_of_its_executor() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("Memory = \"300MiB\"") else { return };
    plugged.mode("leak", "leak", LONG, "Size = 536_870_912");
    plugged.mode("small", "leak", LONG, "Size = 67_108_864");
    plugged.mode("ok", "ok", LONG, "");
    let rows = [failed("leak", ABRT, "memory allocation of 536870912 bytes failed*"), good("small", "")];
    run_all(&plugged, &[&rows], 1);
}

#[test]
fn a_panic_that_aborts_is_a_crash_with_its_words() {
    let flags = [("CARGO_PROFILE_DEV_PANIC", "abort"), ("CARGO_PROFILE_RELEASE_PANIC", "abort")];
    let Some(library) = of_crate_with("jobmgr-executor-bad", "panic-abort", &flags) else { return };
    let plugged = Plugged::new("");
    plugged.executor("bad", &library, "");
    plugged.mode("panic", "panic", LONG, "");
    plugged.mode("ok", "ok", LONG, "");
    run_all(&plugged, &[&[failed("panic", ABRT, "plugin panicked at *:\nno such thing\n*")]], 1);
}

/// What an executor can't do now, as where its engine is down, is done when it can.
#[test]
fn a_job_that_its_executor_can_not_run_now_waits_and_says_why() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("job", "retry", LONG, "");
    let server = plugged.serve();
    let id = server.start("job", json!({}));
    let attempts = || server.client().get(&format!("/v1/jobs/{id}/attempts")).json()["items"].clone();
    eventually("it was tried", || attempts()[0]["ending"] == "released");
    let first = attempts()[0].clone();
    assert_eq!((first["attempt"].as_i64(), first["error"].as_str()), (Some(1), Some("not now")), "{first}");
    let job = plugged.home.stored(id);
    assert_eq!((job.status, job.attempt), (Status::Queued, 1));
    // The executor can now.
    plugged.mode("job", "ok", LONG, "");
    assert_eq!(server.wait(id).result, "hello\n");
    let attempts = attempts();
    let endings: Vec<_> = attempts.as_array().unwrap().iter().map(|attempt| attempt["ending"].clone()).collect();
    assert_eq!(endings, ["completed", "released"], "without a retry of its jobspec's: {attempts}");
}
