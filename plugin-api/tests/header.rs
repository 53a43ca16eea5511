//! The C header says what `abi.rs` says: a compiler compares them.
// The compiler at hand builds for this machine.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::{Command, Stdio};

use jobmgr_plugin_api::abi::{self, Bytes, Call, HostTable, Plugin, status};

/// What C says, and what it is in Rust.
fn facts() -> Vec<(String, u64)> {
    let mut facts: Vec<(String, u64)> = Vec::new();
    macro_rules! table {
        ($c:literal, $rust:ty, $($field:ident)*) => {
            facts.push((format!("sizeof({})", $c), size_of::<$rust>() as u64));
            $(facts.push((format!("offsetof({}, {})", $c, stringify!($field)), offset_of!($rust, $field) as u64));)*
        };
    }
    table!("jm_bytes", Bytes, ptr len);
    table!("jm_call", Call, host);
    table!("jm_host", HostTable, struct_size abi_major abi_minor reply log event checkpoint wait_stop on_stop request);
    table!("jm_plugin", Plugin,
        magic struct_size abi_major abi_minor min_host_minor reserved0 reserved1 capabilities
        describe create destroy validate run recover cleanup);
    let constants = [
        ("JM_MAGIC", abi::MAGIC),
        ("JM_ABI_MAJOR", abi::MAJOR.into()),
        ("JM_ABI_MINOR", abi::MINOR.into()),
        ("JM_CAP_RECOVER", abi::CAP_RECOVER),
        ("JM_CAP_CLEANUP", abi::CAP_CLEANUP),
        ("JM_CAP_CONCURRENT", abi::CAP_CONCURRENT),
        // Numbers of the interface that Rust has as variants, in `export.rs` and `loaded.rs`.
        ("JM_STDOUT", 1),
        ("JM_STDERR", 2),
        ("JM_EXECUTOR", 3),
        ("JM_STOP_NONE", 0),
        ("JM_STOP_CANCEL", 1),
        ("JM_STOP_DETACH", 2),
        ("JM_STOP_TIMEOUT", 3),
    ];
    facts.extend(constants.map(|(name, value)| (name.to_owned(), value)));
    let statuses = [
        ("JM_OK", status::OK),
        ("JM_INVALID", status::INVALID),
        ("JM_FAILED", status::FAILED),
        ("JM_RETRY", status::RETRY),
        ("JM_UNSUPPORTED", status::UNSUPPORTED),
        ("JM_STOPPED", status::STOPPED),
        ("JM_PANICKED", status::PANICKED),
        ("JM_LOST", status::LOST),
        ("JM_NEVER_STARTED", status::NEVER_STARTED),
        ("JM_UNKILLABLE", status::UNKILLABLE),
    ];
    facts.extend(statuses.map(|(name, value)| (name.to_owned(), value.try_into().unwrap())));
    facts
}

/// A compiler, its arguments, and how it is asked to compare.
const LANGUAGES: [(&str, &str, &str); 2] =
    [("gcc", "-xc -std=c11", "_Static_assert"), ("g++", "-xc++ -std=c++11", "static_assert")];

fn program(assert: &str, facts: &[(String, u64)]) -> String {
    let mut text = String::from("#include \"jobmgr_executor.h\"\n");
    for (what, value) in facts {
        text.push_str(&format!("{assert}({what} == UINT64_C({value}), \"{what} is not {value}\");\n"));
    }
    // The macros are used too.
    text.push_str(
        "const jm_plugin *jobmgr_executor_v1(void) {\n    static const jm_plugin table = {JM_PLUGIN_HEAD, 0, ",
    );
    text.push_str("NULL, NULL, NULL, NULL, NULL, NULL, NULL};\n    return &table;\n}\n");
    text.push_str("size_t length(const jm_host *h);\nsize_t length(const jm_host *h) {\n");
    text.push_str("    return JM_HOST_HAS(h, request) ? JM_LIT(\"text\").len : 0;\n}\n");
    text
}

/// What the compiler says; `None` where there is none.
fn compile(compiler: &str, arguments: &str, text: &str) -> Option<Result<(), String>> {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let mut command = Command::new(compiler);
    command.args(arguments.split(' ')).args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"]);
    command.arg(include).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no {compiler}: {why}"),
        Err(why) => {
            eprintln!("\n*** SKIPPED: no {compiler}, so the header is not compared by it: {why} ***\n");
            return None;
        }
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}

#[test]
fn the_header_and_the_tables_are_the_same() {
    let facts = facts();
    assert!(facts.len() > 50, "only {} facts", facts.len());
    for (compiler, arguments, assert) in LANGUAGES {
        if let Some(Err(said)) = compile(compiler, arguments, &program(assert, &facts)) {
            panic!("{compiler}: {said}");
        }
    }
}

#[test]
fn a_difference_is_found() {
    for (place, wrong) in facts().iter().enumerate().step_by(7) {
        let mut facts = facts();
        facts[place].1 += 1;
        let (compiler, arguments, assert) = LANGUAGES[0];
        let Some(compiled) = compile(compiler, arguments, &program(assert, &facts)) else { return };
        assert!(compiled.unwrap_err().contains("static assertion failed"), "{wrong:?}");
    }
}
