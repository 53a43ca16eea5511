//! Each room keeps to itself what ARCHITECTURE.md says it does.

use std::path::{Path, PathBuf};

/// A word, and the only folders or files of `src` whose code may have it.
const ROOMS: [(&str, &[&str]); 7] = [
    ("sqlx", &["store"]),
    ("poem", &["http"]),
    ("object_store", &["blobs"]),
    ("libloading", &["runner"]),
    ("prometheus", &["metrics"]),
    ("opentelemetry", &["telemetry"]),
    ("nvml_wrapper", &["machine"]),
];

/// A room, and what its code may not name.
const STRANGERS: [(&str, &[&str]); 14] = [
    ("secrets", &["crate::http", "crate::worker", "crate::runner", "crate::store", "crate::blobs", "crate::cli"]),
    ("keep", &["crate::http", "crate::worker", "crate::runner", "crate::cli"]),
    ("http", &["crate::keep", "crate::worker", "crate::runner", "crate::cli"]),
    ("worker", &["crate::keep", "crate::http", "crate::cli"]),
    ("runner", &["crate::keep", "crate::http", "crate::worker", "crate::store", "crate::blobs", "crate::cli"]),
    ("store", &["crate::keep", "crate::http", "crate::worker", "crate::runner", "crate::blobs", "crate::cli"]),
    ("blobs", &["crate::keep", "crate::http", "crate::worker", "crate::runner", "crate::store", "crate::cli"]),
    (
        "jobspecs",
        &["crate::keep", "crate::http", "crate::worker", "crate::runner", "crate::store", "crate::blobs", "crate::cli"],
    ),
    ("notify", &["crate::keep", "crate::http", "crate::worker", "crate::runner", "crate::blobs", "crate::cli"]),
    ("wrap", &["crate::"]),
    ("auth", &["tokio", "std::fs", "async fn", "crate::config", "crate::store", "crate::jobspecs", "crate::http"]),
    ("metrics", &["crate::"]),
    ("telemetry", &["crate::http", "crate::worker", "crate::store", "crate::cli", "crate::runner", "crate::keep"]),
    ("domain", &["tokio", "std::fs", "std::net", "async fn", "crate::config", "crate::store", "crate::jobspecs"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// Path below `src`, and the code without its comments and its unit tests.
fn code() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    assert!(found.len() > 50, "only {} files", found.len());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let below = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        (below, lines.collect::<Vec<_>>().join("\n"))
    };
    found.into_iter().map(read).filter(|(path, _)| !path.ends_with("/tests.rs")).collect()
}

fn is_in(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// `word`, not as a part of a longer one.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let part = |character: char| character.is_alphanumeric() || character == '_';
        !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part)
    })
}

#[test]
fn each_library_is_named_in_its_room_only() {
    for (path, code) in code() {
        for (word, rooms) in ROOMS {
            assert!(!names(&code, word) || rooms.iter().any(|room| is_in(&path, room)), "{path} names {word}");
        }
    }
}

#[test]
fn no_room_names_a_stranger() {
    for (path, code) in code() {
        for (room, strangers) in STRANGERS.iter().filter(|(room, _)| is_in(&path, room)) {
            for stranger in *strangers {
                assert!(!names(&code, stranger), "{path}, in {room}, names {stranger}");
            }
        }
    }
}

#[test]
fn a_name_is_found_and_a_part_of_one_is_not() {
    assert!(names("use sqlx::query;", "sqlx") && names("x(sqlx)", "sqlx"));
    assert!(!names("sqlxx sqlx_core", "sqlx"));
}
