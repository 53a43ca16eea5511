//! The command line, without jobs: configuration, checks, documents, help.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use crate::support::server::Home;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn jobmgr(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    home.jobmgr(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// It refuses to serve, with one line that has all of `words`.
fn assert_refused(home: &Home, variables: &[(&str, &str)], words: &[&str]) {
    let output = jobmgr(home, &["serve"], variables);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(text(&output.stdout), "");
    for word in words {
        assert!(complaint.contains(word), "{word:?} is missing: {complaint}");
    }
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_with_key_place_and_remedy() {
    for (config, words) in [
        ("[Server]\nListn = \"x\"", &["config.toml, line 2, column 1", "'Listn'", "did you mean 'Listen'?"][..]),
        ("[Sever]\n", &["config.toml, line 1", "'Sever'", "'Server'"]),
        ("[Worker]\nConcurrency = \"two\"", &["line 2, column 15", "'Concurrency'", "\"two\"", "a whole number"]),
        ("[Worker]\nConcurrency = 0", &["line 2, column 15", "'Concurrency'", "1 to 1024"]),
        ("[Worker]\nConcurrency = -1", &["line 2, column 15", "'Concurrency'"]),
        ("[Worker]\nLease = \"5\"", &["line 2, column 9", "'Lease'", "\"1m30s\""]),
        ("[Worker]\nLease = \"1ms\"", &["line 2, column 9", "'Lease'", "1s"]),
        ("[Worker]\nMaxLogBytes = \"much\"", &["line 2, column 15", "'MaxLogBytes'", "\"512MiB\""]),
        ("[Worker]\nTempDir = \"nowhere/at/all\"", &["[Worker] TempDir", "nowhere/at/all"]),
        ("[Storage]\nURL = \"ftp://x\"", &["line 2, column 7", "'URL'", "s3:"]),
        ("[Storage]\nURL = \"file:config.toml\"", &["config.toml", "[Storage] URL"]),
        ("[Storage]\nURL = \"memory:\"\n[AWS]\nRegion = \"r\"", &["line 3", "AWS"]),
        ("[Database]\nURL = \"sqlite:nowhere/x.db\"", &["[Database] URL", "nowhere", "make it"]),
        ("[Database]\nURL = \"postgres://x\"", &["line 2, column 7", "'URL'", "names no database"]),
        ("[Database]\nURL = \"oracle://x\"", &["line 2, column 7", "'URL'", "sqlite:", "postgres:", "mysql:"]),
        ("[Server]\nTLS = { Certificate = \"config.toml\", Key = \"k\" }", &["[Server] TLS", "k: "]),
        ("[Worker\n", &["config.toml, line 1, column 8", "expected `]`"]),
    ] {
        assert_refused(&Home::new(config), &[("JOBMGR_SERVER__LISTEN", "127.0.0.1:0")], words);
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let home = Home::new("");
    for (name, value, words) in [
        ("JOBMGR_SERVER__LISTEN", "", &["JOBMGR_SERVER__LISTEN", "empty", "unset it"][..]),
        ("JOBMGR_SERVER__LISTEN", "127.0.0.1:70000", &["JOBMGR_SERVER__LISTEN", "'70000'", "65535"]),
        ("JOBMGR_SERVER__LISTEN", "here", &["JOBMGR_SERVER__LISTEN", "'here' has no port", "127.0.0.1:9845"]),
        ("JOBMGR_SERVER__LISTEN", "[::]:0", &["JOBMGR_SERVER__LISTEN", "Auth = \"token\"", "Auth = \"none\""]),
        ("JOBMGR_WORKER__CONCURRENCY", "two", &["JOBMGR_WORKER__CONCURRENCY", "'two'", "a whole number"]),
        ("JOBMGR_WORKER__CONCURENCY", "2", &["JOBMGR_WORKER__CONCURENCY", "Concurrency"]),
        ("JOBMGR_WORKR__LEASE", "2s", &["JOBMGR_WORKR__LEASE", "Worker"]),
    ] {
        assert_refused(&home, &[(name, value)], words);
    }
}

#[test]
fn the_originals_mysql_section_needs_its_keys_and_shows_no_password() {
    let section = "[Database]\nHost = \"localhost\"\nUsername = \"j\"\nPassword = \"secret\"";
    let home = Home::new(section);
    assert_refused(&home, &[], &["config.toml, line 2", "key 'Database' is missing", "or URL"]);
    let output = jobmgr(&home, &["serve"], &[]);
    assert!(!text(&output.stderr).contains("secret"));
}

#[test]
fn other_machines_need_a_word_to_get_in() {
    let home = Home::new("[Server]\nListen = \"0.0.0.0:0\"");
    let mut command = home.jobmgr(&["serve"]);
    command.env_remove("JOBMGR_SERVER__LISTEN");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("line 2, column 10: 'Listen'") && complaint.contains("Auth = \"none\""), "{complaint}");
    std::fs::write(home.path("config.toml"), "[Server]\nListen = \"0.0.0.0:0\"\nAuth = \"none\"").unwrap();
    let mut command = home.jobmgr(&["serve"]);
    command.env_remove("JOBMGR_SERVER__LISTEN");
    let server = home.serve_by(command);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    assert_eq!(crate::support::client::Client::connect(address).get("/healthz").status, 200);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = Home::new("");
    let server = home.serve();
    let taken = server.address.to_string();
    let words = ["[Server] Listen", &taken, "another program", "JOBMGR_SERVER__LISTEN"];
    assert_refused(&Home::new(""), &[("JOBMGR_SERVER__LISTEN", &taken)], &words);
}

#[test]
fn serving_tells_where_what_and_what_not() {
    let home = Home::new("");
    home.spec("good", "Command = \"true\"");
    home.spec("bad", "Command = \"true\"\ntimout = \"1s\"");
    let mut server = Guarded(home.jobmgr(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut line = || lines.next().unwrap();
    let first = line();
    let (_, address) = first.split_once("listens on ").unwrap();
    assert_eq!(line(), format!("  try it in a browser: {address}/docs"));
    assert_eq!(line(), "  jobspecs: good");
    let bad = line();
    assert!(bad.contains("can't be used") && bad.contains("bad.toml: line 2, column 1: unknown key 'timout'"), "{bad}");
}

/// A child that is ended with the test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn check_finds_what_is_wrong_and_says_where() {
    // Each platform has another program.
    let command = if cfg!(windows) { "Command = \"cmd\"" } else { "Command = \"true\"" };
    let home = Home::new("");
    home.spec("good", &format!("{command}\nDescription = \"does nothing\""));
    let output = jobmgr(&home, &["check"], &[]);
    let report = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{report}");
    let found: Vec<&str> = report.lines().map(|line| line.split(':').next().unwrap()).collect();
    let things = ["configuration", "executor process", "jobspec good", "database", "store"];
    assert_eq!(found, things.map(|thing| format!("ok     {thing}")));
    assert!(report.contains("does nothing"));
    assert!(["Memory", "Cpus", "Pids", "User", "Sandbox"].iter().all(|option| report.contains(option)), "{report}");

    // Another folder: what SQLite keeps beside a file could make it good again.
    let home = Home::new("");
    home.spec("good", command);
    home.spec("bad", "Command = \"true\"\n\n[[Parameter]]\nName = \"n\"\nType = \"integer\"");
    std::fs::write(home.path("jobmgr.db"), "garbage ".repeat(1000)).unwrap();
    std::fs::write(
        home.path("config.toml"),
        "[Storage]\nURL = \"file:config.toml\"\n[Server]\nTLS = { Certificate = \"jobmgr.db\", Key = \"k\" }",
    )
    .unwrap();
    let output = jobmgr(&home, &["check"], &[]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    let line = |start: &str| report.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{report}"));
    assert!(line("WRONG  jobspec bad").contains("bad.toml: line 5, column 8"), "{report}");
    assert!(line("WRONG  database").contains("jobmgr.db"), "{report}");
    assert!(line("WRONG  TLS: k: ").contains("(os error 2)"), "{report}");
    assert!(line("WRONG  store").contains("config.toml"), "{report}");
    line("ok     jobspec good");

    std::fs::write(home.path("config.toml"), "[Wrker]").unwrap();
    assert_eq!(jobmgr(&home, &["check"], &[]).status.code(), Some(2));
}

#[test]
fn rows_24_26_check_warns_of_what_is_not_on_this_machine() {
    let home = Home::new("");
    home.spec("there", "Command = \"true\"\nWorkingDirectory = \".\"");
    home.spec("bare", "Command = \"no-such-program\"");
    home.spec("absolute", "Command = \"/no/such/program\"");
    home.spec("folder", "Command = \"/tmp\"");
    home.spec("nowhere", "Command = \"true\"\nWorkingDirectory = \"/no/such/folder\"");
    home.spec("plain", "Command = \"./config.toml\"");
    let output = jobmgr(&home, &["check"], &[]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "a worker elsewhere may have it: {report}");
    let warned: Vec<&str> = report.lines().filter(|line| line.starts_with("WARN   jobspec ")).collect();
    let expected = [
        ("absolute", "/no/such/program: no such file or directory"),
        ("bare", "\"no-such-program\": executable file not found"),
        ("folder", "/tmp: is a directory"),
        ("nowhere", "chdir /no/such/folder: no such file or directory"),
        ("plain", "config.toml: permission denied"),
    ];
    let expected = if cfg!(unix) { &expected[..] } else { return };
    assert_eq!(warned.len(), expected.len(), "{report}");
    for (line, (name, why)) in warned.iter().zip(expected) {
        assert!(line.contains(&format!("jobspec {name}: ")) && line.contains(why), "{line}");
    }
}

#[test]
fn row_73_check_finds_a_damaged_file() {
    let home = Home::new("");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = home.store().await;
        for _ in 0..500 {
            store.submit(jobmgr::domain::submission::NewJob { name: "x".into(), ..Default::default() }).await.unwrap();
        }
        store.close().await;
    });
    let file = home.path("jobmgr.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // Pages in the middle; the first one, by which a database is known, is whole.
    let (from, to) = (bytes.len() / 3, bytes.len() / 3 * 2);
    bytes[from..to].fill(0xAA);
    std::fs::write(&file, bytes).unwrap();
    let output = jobmgr(&home, &["check"], &[]);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}");
    let line = report.lines().find(|line| line.starts_with("WRONG  database")).unwrap_or_else(|| panic!("{report}"));
    assert!(line.contains("jobmgr.db") && (line.contains("damaged") || line.contains("malformed")), "{line}");
}

#[test]
fn schemas_and_the_api_document_are_json_that_names_what_they_are_of() {
    let home = Home::new("");
    for (arguments, pointer) in [
        (&["schema"][..], "/properties/Command/type"),
        (&["schema", "jobspec"], "/properties/Command/type"),
        (&["schema", "config"], "/properties/Server"),
        (&["openapi"], "/paths/~1jobs~1start/post"),
    ] {
        let output = jobmgr(&home, arguments, &[]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(document.pointer(pointer).is_some(), "{arguments:?}: {document}");
    }
    let server = home.serve();
    let served = server.client().get("/openapi.json").json();
    let printed: serde_json::Value = serde_json::from_slice(&jobmgr(&home, &["openapi"], &[]).stdout).unwrap();
    assert_eq!(served["paths"], printed["paths"]);
}

#[test]
fn a_runner_by_hand_says_what_it_is() {
    let home = Home::new("");
    let output = home.jobmgr(&["runner"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("jobmgr runner is started by jobmgr itself"), "{output:?}");
}

#[test]
fn help_names_every_command_and_what_it_is_for() {
    let home = Home::new("");
    let help = |arguments: &[&str]| {
        let output = jobmgr(&home, arguments, &[]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let whole = help(&["--help"]);
    for words in [
        "serve Serve the HTTP API",
        "run Run one job here and now",
        "check Look at configuration, jobspecs, database and store",
        "plugin Write, check, list and try executors of your own",
        "schema Print the JSON Schema",
        "openapi Print the OpenAPI document",
        "Without a subcommand, jobmgr serves",
    ] {
        assert!(whole.contains(words), "{words:?} is missing: {whole}");
    }
    assert!(!whole.contains("runner"), "{whole}");
    assert!(help(&["run", "--help"]).contains("124 after a timeout"));
    assert!(help(&["serve", "--help"]).contains("JOBMGR_SECTION__KEY"));
    assert_eq!(help(&["--version"]), format!("jobmgr {}", env!("CARGO_PKG_VERSION")));
    let output = jobmgr(&home, &["sevre"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'serve'"), "{}", text(&output.stderr));
}
