//! Jobs with a user, limits or a sandbox, through the whole server.

use std::os::unix::fs::PermissionsExt;

use jobmgr::domain::job::{LogBody, Reason};
use jobmgr::runner::abilities;
use serde_json::json;

use crate::support::server::{Home, eventually};

/// Whether this machine can do all of that. Where it can't, that is said, and it is a failure where all should be.
fn can(options: &[&str]) -> bool {
    let missing: Vec<_> =
        abilities().into_iter().filter(|(option, found)| options.contains(option) && found.is_err()).collect();
    assert!(
        missing.is_empty() || std::env::var("CI").as_deref() != Ok("true"),
        "this machine can't do it: {missing:?}"
    );
    if !missing.is_empty() {
        eprintln!("NOT TESTED: this machine can't do it: {missing:?}");
    }
    missing.is_empty()
}

#[test]
fn a_job_that_needs_more_memory_fails_and_says_why() {
    if !can(&["Memory"]) {
        return;
    }
    let home = Home::new("");
    let hog = "echo begun; head -c 1G /dev/zero | tail";
    home.sh("hog", hog, "Timeout = '60s'\nOptions = { Limits = { Memory = '64MiB' } }");
    let server = home.serve();
    let id = server.start("hog", json!({}));
    let ended = server.wait(id);
    let why = "out of memory: the job needed more than Limits.Memory = 64MiB";
    assert_eq!(ended.status, "failed", "{ended:?}");
    assert!(ended.result.contains("begun") && ended.result.contains(why), "{ended:?}");
    let answer = server.client().get(&format!("/v1/jobs/{id}/attempts")).json();
    let last = &answer["items"][0];
    assert_eq!((&last["reason"], &last["error"]), (&json!("oom_killed"), &json!(why)), "{answer}");
    assert_eq!(home.stored(id).reason, Some(Reason::OomKilled));
    // The same runner has no limits for the next one.
    home.sh("free", "head -c 200M /dev/zero | tail | wc -c", "Timeout = '60s'");
    assert_eq!(server.run("free", json!({})).result.trim(), "209715200");
}

#[test]
fn what_another_user_left_is_kept_and_removed() {
    if !can(&["User", "Sandbox"]) {
        return;
    }
    let home = Home::new("");
    // Else nobody but root gets to the directories of jobs.
    for folder in [home.path(""), home.path("tmp")] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).unwrap();
    }
    let script = "id -un; echo \"hello\" > $JOBMGR_ARTIFACTS_DIR/hello.txt; echo '{\"a\": 1}' > $JOBMGR_OUTPUT; \
                  mkdir -m 0 closed; ls .. || echo unseen; head -c 100000 /dev/zero | tr '\\0' x";
    home.sh("other", script, "Timeout = '60s'\nOptions = { User = 'nobody', Sandbox = 'private' }");
    let server = home.serve();
    let id = server.start("other", json!({}));
    let ended = server.wait(id);
    assert_eq!(ended.status, "completed", "{ended:?}");
    assert!(ended.result.starts_with("nobody\nunseen\nxxx"), "{ended:?}");
    assert_eq!(server.download(&ended.artifacts[0]), b"hello\n");
    assert_eq!(home.stored(id).ended.unwrap().output, Some(json!({"a": 1})));
    eventually("the directory is gone", || home.left_of_jobs().is_empty());
}

#[test]
fn another_user_reads_no_output_that_the_server_keeps_for_it() {
    if !can(&["User"]) {
        return;
    }
    let home = Home::new("");
    for folder in [home.path(""), home.path("tmp")] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).unwrap();
    }
    // More than is kept in memory. Its directory is JOB-ATTEMPT, beside it lies the file.
    let script = "head -c 200000 /dev/zero | tr '\\0' x; file=\"$(pwd).stdout\"; \
                  until [ -e \"$file\" ]; do sleep 0.05; done; cat \"$file\" || echo closed >&2";
    home.sh("curious", script, "Timeout = '60s'\nOptions = { User = 'nobody' }");
    let server = home.serve();
    let id = server.start("curious", json!({}));
    assert_eq!(server.wait(id).status, "completed");
    let ended = home.stored(id).ended.unwrap();
    assert_eq!(ended.stdout.written, 200_000, "{ended:?}");
    let LogBody::Inline(stderr) = &ended.stderr.body else { panic!("{ended:?}") };
    assert!(String::from_utf8_lossy(stderr).ends_with("closed\n"));
}

#[test]
fn a_user_that_is_not_there_is_the_jobspecs_mistake() {
    let home = Home::new("");
    home.sh("lost", "exit 0", "Options = { User = 'no-such-user' }");
    let server = home.serve();
    let id = server.start("lost", json!({}));
    let ended = server.wait(id);
    assert!(ended.result.contains("'User': there is no user 'no-such-user' on this machine"), "{ended:?}");
    assert_eq!(home.stored(id).reason, Some(Reason::InvalidJob));
}
