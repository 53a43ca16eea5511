use std::time::Instant;

use serde_json::json;

use super::{Plugged, tell};
use crate::support::processes::memory;

/// The bytes of a frame's head, as `hostile.c` wants them: magic, type, flags, call and length, little endian.
fn head(kind: u8, call: u32, length: u32) -> String {
    let bytes = [&[0x4a, 0x4d, kind, 0][..], &call.to_le_bytes(), &length.to_le_bytes()].concat();
    let bytes: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    format!("-DHEADER={}", bytes.join(","))
}

/// What `hostile.c` writes, for the first call and for the second: the job's is the one or the other, since the executor
/// may have been asked about its options before.
fn forged(kind: u8, bytes: &[u8]) -> Vec<String> {
    let length = u32::try_from(bytes.len()).unwrap();
    let first: String = bytes.iter().map(|byte| format!(",{byte}")).collect();
    let second = head(kind, 2, length).replace("-DHEADER=", "");
    vec![format!("{}{first},{second}", head(kind, 1, length)), payload(bytes)]
}

fn payload(bytes: &[u8]) -> String {
    bytes.iter().fold("-DPAYLOAD=".to_owned(), |flag, byte| format!("{flag}{byte},"))
}

const READY: u8 = 32;
const LOG: u8 = 33;
const EVENT: u8 = 34;
const CHECKPOINT: u8 = 35;
const REQUEST: u8 = 36;
const DONE: u8 = 37;
const LOADED: u8 = 38;

/// A frame that a library writes on its own, and what its job comes to.
#[test]
fn frames_that_a_library_forges_hurt_its_job_alone() {
    let most = 16 << 20;
    let rows: Vec<(&str, Vec<String>, &str, &str)> = vec![
        // Lengths: more than any frame has, and promises that nobody keeps.
        ("huge", vec![head(LOG, 1, u32::MAX)], "failed", "the executor broke the protocol: frame of 4294967295 bytes"),
        ("above", vec![head(LOG, 1, most + 1)], "failed", "the executor broke the protocol: frame of 16777217 bytes"),
        ("promise", vec![head(LOG, 1, most), "-DHANGS".into()], "failed", "timeout after 2s"),
        ("swallows", vec![head(LOG, 1, most), payload(b"\x01")], "failed", "timeout after 2s"),
        // Types: none, and those of the worker.
        ("type_0", vec![head(0, 1, 0)], "failed", "the executor broke the protocol: frame of type 0"),
        ("type_99", vec![head(99, 1, 0)], "failed", "the executor broke the protocol: frame of type 99"),
        ("load", forged(1, b""), "failed", "the line to the runner is broken: a frame that only a worker sends"),
        // Contents.
        ("no_stream", forged(LOG, b""), "failed", "the line to the runner is broken: a frame that *"),
        ("no_event", forged(EVENT, b"x"), "failed", "the line to the runner is broken: an event"),
        ("no_json", forged(REQUEST, b"x"), "failed", "the line to the runner is broken: a request"),
        ("no_outcome", forged(DONE, b"\0x"), "failed", "the line to the runner is broken: an outcome"),
        ("own_end", [forged(DONE, b"\x02no"), vec!["-DHANGS".into()]].concat(), "failed", "no"),
        ("ready", forged(READY, b"x"), "failed", "the line to the runner is broken: a frame that *"),
        // Calls that are not there, and streams that have no name.
        ("other", vec![head(DONE, 77, 1), payload(b"x")], "completed", ""),
        ("load_again", vec![head(LOADED, 0, 1), payload(b"x")], "completed", ""),
        ("stream", forged(LOG, b"\x63y"), "completed", ""),
        ("unasked", forged(CHECKPOINT, b"x"), "completed", ""),
        ("flood", vec![head(LOG, 77, 2), payload(b"\x01y"), "-DCOUNT=200000".into()], "completed", ""),
    ];
    let plugged = Plugged::new("");
    for (name, flags, ..) in &rows {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let Some(()) = plugged.c(name, "hostile.c", &flags) else { return };
        let timeout = if flags.contains(&"-DHANGS") || *name == "swallows" { "2s" } else { "60s" };
        let keys = format!("Timeout = \"{timeout}\"\nKillGrace = \"100ms\"");
        plugged.home.spec(name, &format!("Command = \"x\"\nExecutor = \"{name}\"\n{keys}\n"));
    }
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    let server = plugged.serve();
    assert_eq!(tell(&server, "good").ended.status, "completed");
    let before = memory(server.pid());
    for (name, _, status, error) in &rows {
        let since = Instant::now();
        let told = tell(&server, name);
        assert_eq!(told.attempt["ending"], *status, "{name}: {told:?}");
        let (begin, any) = error.split_once('*').map_or((*error, false), |(begin, _)| (begin, true));
        let fits = if any { told.error.starts_with(begin) } else { told.error == begin };
        assert!(fits, "{name} after {:?}: {told:?}", since.elapsed());
        assert_eq!(tell(&server, "good").ended.result, "hello from C\n", "after {name}");
        plugged.assert_nothing_left(rows.len() + 1);
    }
    let after = memory(server.pid());
    eprintln!("the server's memory: {} KiB, then {} KiB", before >> 10, after >> 10);
    assert!(after < before + (24 << 20), "{before}, then {after}");
}

/// What a library prints without an end is read, and not kept.
#[test]
fn what_a_library_prints_is_bounded() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("prints", "prints.c", &[]) else { return };
    let server = plugged.serve();
    let id = server.start("prints", json!({}));
    let told = super::told(&server, id);
    assert_eq!(told.ended.status, "completed", "{told:?}");
    assert!(told.own.len() <= 64 << 10 && told.own.ends_with("the last line\n"), "{} bytes", told.own.len());
}
