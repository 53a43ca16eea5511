//! The subcommands, as a shell calls them.

use std::process::{Command, Output};

use crate::support::server::Home;

fn output(mut command: Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn a_reader_that_is_gone_is_no_failure() {
    let home = Home::new("");
    for arguments in [&["check"][..], &["schema"], &["schema", "config"], &["openapi"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.jobmgr(arguments);
        command.stdout(writer).stderr(std::process::Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn check_tells_an_executor_that_is_not_there() {
    let home = Home::new("");
    home.spec("other", "Command = \"x\"\nExecutor = \"foo\"");
    let (output, out, _) = output(home.jobmgr(&["check"]));
    assert_eq!(output.status.code(), Some(1));
    let line = out.lines().find(|line| line.starts_with("WRONG")).unwrap();
    assert!(line.contains("other.toml: line 2, column 12: 'Executor': there is no executor 'foo'"), "{line}");
}

#[test]
fn check_names_the_store_once() {
    // Nothing listens on port 1.
    let home = Home::new(
        "[Storage]\nURL = \"s3://bucket/prefix\"\n[Storage.Options]\nendpoint = \"http://127.0.0.1:1\"\n\
         region = \"r\"\naccess_key_id = \"a\"\nsecret_access_key = \"s\"\n",
    );
    let (output, out, _) = output(home.jobmgr(&["check"]));
    assert_eq!(output.status.code(), Some(1));
    let line = out.lines().find(|line| line.contains(" store: ")).unwrap();
    assert!(line.starts_with("WRONG") && line.matches("s3://bucket/prefix").count() == 1, "{line}");
}

#[test]
fn run_refuses_what_can_only_be_a_slip() {
    let home = Home::new("");
    home.spec("plain", "Command = \"x\"");
    home.spec("greet", "Command = \"x\"\n[[Parameter]]\nName = \"who\"\nType = \"string\"\nOptional = true");
    let long = "x".repeat(256);
    let table = [
        (
            &["run", "greet", "-p", "wo=you"][..],
            "jobmgr: greet: parameter 'wo' is not declared by the jobspec; declared: who",
        ),
        (
            &["run", "plain", "-p", "wo=you"],
            "jobmgr: plain: parameter 'wo' is not declared by the jobspec; declared: none",
        ),
        (&["run", "gret"], "jobmgr: gret: job does not exist; jobspecs in jobspecs/: greet, plain"),
        (&["run", "a.b"], "jobmgr: a.b: invalid job name: a name has 1 to 255 bytes and no '.', '/'"),
        (&["run", &long], "x: invalid job name: a name has 1 to 255 bytes and no '.', '/'"),
    ];
    for (arguments, expected) in table {
        let (output, _, err) = output(home.jobmgr(arguments));
        assert!(output.status.code() == Some(2) && err.contains(expected), "{arguments:?}: {output:?}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[test]
fn serve_begins_with_where_it_listens() {
    let home = Home::new("");
    let server = home.serve();
    let expected = format!("jobmgr {} listens on http://{}", env!("CARGO_PKG_VERSION"), server.address);
    assert_eq!(server.greeting, [expected]);
}
