use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::*;
use crate::domain::settings::Document;

/// Loads this text with these variables.
pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), text).unwrap();
    let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(dir.path(), env).map_err(|error| error.to_string())
}

pub(super) fn problem(text: &str) -> String {
    load(text, &[]).unwrap_err()
}

fn problem_of(name: &str, value: &str) -> String {
    load("", &[(name, value)]).unwrap_err()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::load(dir.path(), std::iter::empty()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9845");
    assert_eq!(load("", &[]).unwrap(), config);
}

#[test]
fn a_file_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(FILE)).unwrap();
    let error = Config::load(dir.path(), std::iter::empty()).unwrap_err().to_string();
    assert!(error.starts_with("config.toml: can't be read: ") && !error.contains('\n'), "{error}");
}

#[test]
fn every_section_is_read() {
    let config = load(
        r#"
        [server]
        listen = "[::1]:80"
        Auth = "none"
        Hosts = ["jobs.example.org"]
        MaxResultBytes = 5
        Jobspecs = "specs"
        [Database]
        URL = "sqlite:x.db"
        MaxConnections = 1000
        [Storage]
        URL = "s3://bucket/prefix"
        Options = { endpoint = "http://x", Mixed = "y" }
        [Worker]
        Concurrency = 4
        TempDir = "/var/tmp"
        KeepFailed = "1h"
        MaxLogBytes = "2 KiB"
        Name = "gpu-machine"
        Labels = ["gpu", "os=linux"]
        Gpus = ["0", "GPU-1"]
        [Retention]
        Keep = "30d"
        KeepFailed = "2w"
        KeepArtifacts = "1d12h"
        KeepAudit = "1d"
        MaxArtifactBytes = "1KiB"
        Events = "36h"
        Every = "5m"
        [Limits]
        MaxQueued = 5
        BadTokensPerMinute = 6
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(config.server.listen.to_string(), "[::1]:80");
    assert_eq!((config.server.hosts.len(), config.server.max_result_bytes), (1, 5));
    assert_eq!(config.server.jobspecs, PathBuf::from("specs"));
    assert_eq!(config.database.url.as_deref(), Some("sqlite:x.db"));
    let options = [("Mixed", "y"), ("endpoint", "http://x")];
    assert_eq!(config.storage.options, options.map(|(key, value)| (key.into(), value.into())).into());
    assert_eq!((config.worker.concurrency, config.worker.max_log_bytes), (4, 2048));
    assert_eq!((config.worker.keep_failed, config.worker.poll), (Duration::from_secs(3600), Duration::from_secs(1)));
    assert_eq!(config.worker.temp_dir, Some(PathBuf::from("/var/tmp")));
    assert_eq!((config.worker.name.as_deref(), config.worker.labels.len()), (Some("gpu-machine"), 2));
    assert_eq!(config.worker.gpus, Some(vec!["0".to_owned(), "GPU-1".to_owned()]));
    let [day, hour] = [86_400, 3600].map(Duration::from_secs);
    let expected = Retention {
        keep: Some(30 * day),
        keep_failed: Some(14 * day),
        keep_artifacts: Some(36 * hour),
        keep_audit: Some(day),
        max_artifact_bytes: Some(1024),
        events: 36 * hour,
        every: hour / 12,
        grace: hour,
        unused_inputs: day,
    };
    assert_eq!(config.retention, expected);
    let expected = Limits { max_queued: 5, bad_tokens_per_minute: 6, ..Limits::default() };
    assert_eq!((config.limits, config.server.auth), (expected, Some(Auth::None)));
}

#[test]
fn the_originals_bucket() {
    let text = "[AWS]\nAccessKeyID = 'a'\nSecretAccessKey = 'b'\nRegion = 'c'\nArtifactsBucket = 'd'";
    let aws = Aws {
        access_key_id: "a".into(),
        secret_access_key: "b".into(),
        region: "c".into(),
        artifacts_bucket: "d".into(),
    };
    assert_eq!(load(text, &[]).unwrap().aws, Some(aws.clone()));
    // A secret from the environment completes the file's section.
    let text = text.replace("SecretAccessKey = 'b'", "");
    let expected = "config.toml, line 1, column 1: 'AWS': key 'SecretAccessKey' is missing; 'AWS' needs all of \
                    AccessKeyID, SecretAccessKey, Region, ArtifactsBucket";
    assert_eq!(problem(&text), expected);
    assert_eq!(load(&text, &[("JOBMGR_AWS__SECRETACCESSKEY", "b")]).unwrap().aws, Some(aws));
    assert!(problem_of("JOBMGR_AWS__REGION", "c").starts_with("JOBMGR_AWS__REGION: 'AWS': key "));
}

#[test]
fn variables_go_over_the_file() {
    let variables = [
        ("JOBMGR_SERVER__LISTEN", "localhost:0"),
        ("jobmgr_Server__Hosts", "a.example, b.example"),
        ("JOBMGR_WORKER__CONCURRENCY", "3"),
        ("JOBMGR_WORKER__MAXLOGBYTES", "1MiB"),
        ("JOBMGR_SERVER__MAXRESULTBYTES", "77"),
        ("JOBMGR_STORAGE__OPTIONS__ENDPOINT", "http://y"),
        ("JOBMGR_STORAGE__OPTIONS__region", "r"),
        // not ours
        ("JOBMGR_JOB_ID", "1"),
        ("JOBMGR_PARAMETER_A__B", "x"),
        ("PATH", "/bin"),
        ("XJOBMGR_SERVER__LISTEN", "x"),
    ];
    let config =
        load("[Server]\nListen = '127.0.0.1:1'\n[Storage.Options]\nendpoint = 'http://x'", &variables).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.server.hosts, ["a.example", "b.example"]);
    assert_eq!((config.worker.concurrency, config.worker.max_log_bytes), (3, 1 << 20));
    assert_eq!(config.server.max_result_bytes, 77);
    let options = [("endpoint", "http://y"), ("region", "r")];
    assert_eq!(config.storage.options, options.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn mistakes_of_the_file_name_line_and_remedy() {
    let table = [
        ("[Server]\n\nListn = 'x'", "config.toml, line 3, column 1: unknown key 'Listn'; did you mean 'Listen'?"),
        ("[Sever]", "config.toml, line 1, column 2: unknown key 'Sever'; did you mean 'Server'?"),
        ("Listen = 'x'", "config.toml, line 1, column 1: unknown key 'Listen'; it belongs below a line [Server]"),
        ("[Server", "config.toml, line 1, column "),
        ("[Server]\nListen = 9845", "config.toml, line 2, column 10: 'Listen': invalid type: integer `9845`"),
        ("Server = 1", "config.toml, line 1, column 10: 'Server' must be a table"),
        ("[Worker]\nConcurrency = 0", "config.toml, line 2, column 15: 'Concurrency': must be 1 to 1024, and is 0"),
        ("[Worker]\nConcurrency = 1025", "config.toml, line 2, column 15: 'Concurrency': must be 1 to 1024"),
        ("[Worker]\nConcurrency = -1", "config.toml, line 2, column 15: 'Concurrency': invalid value: integer `-1`"),
        (
            "[Worker]\nConcurrency = 'x'",
            "'Concurrency': invalid type: string \"x\", expected a whole number, 0 or more",
        ),
        ("[Worker]\nConcurrency = 1.5", "invalid type: floating point `1.5`, expected a whole number"),
        ("[Worker]\nMaxArtifacts = true", "invalid type: boolean `true`, expected a whole number"),
        ("[Worker]\nPoll = '0s'", "config.toml, line 2, column 8: 'Poll': must be 10ms to 24h0m0s, and is 0s"),
        ("[Worker]\nLease = '1ms'", "'Lease': must be 1s to 24h0m0s, and is 1ms"),
        ("[Worker]\nLease = '-1s'", "'Lease': must not be negative, and is -1s"),
        ("[Worker]\nDrain = 30", "'Drain': invalid type: integer `30`, expected a duration with its unit"),
        ("[Worker]\nDrain = '30'", "'Drain': time: missing unit in duration \"30\""),
        ("[Worker]\nTempDir = ''", "'TempDir' is empty"),
        ("[Worker]\nMaxLogBytes = '1 GiBi'", "'MaxLogBytes': '1 GiBi' is not a size; use a number of bytes, or"),
        ("[Worker]\nMaxLogBytes = -1", "'MaxLogBytes': must not be negative"),
        ("[Worker]\nMaxLogBytes = '9999999TiB'", "is not a size"),
        ("[Worker]\nName = ''", "config.toml, line 2, column 8: 'Name': '' can't be a worker's name; use 1 to 100"),
        ("[Worker]\nName = 'a b'", "'Name': 'a b' can't be a worker's name"),
        ("[Worker]\nName = \"a\\u0007\"", "'Name': 'a\\u{7}' can't be a worker's name"),
        (
            "[Worker]\nLabels = ['gpu', 'a b']",
            "config.toml, line 2, column 10: 'Labels': 'a b' is not a label; use up to",
        ),
        ("[Worker]\nLabels = ['gpu', 'gpu']", "'Labels': 'gpu' is there twice"),
        ("[Worker]\nLabels = 'gpu'", "'Labels' must be an array"),
        ("[Retention]\nKeep = '0d'", "'Keep': must be more than 0, and is '0d'; leave it out to keep for ever"),
        ("[Retention]\nKeepFailed = '-1d'", "'KeepFailed': must not be negative, and is '-1d'"),
        ("[Retention]\nKeepArtifacts = '1y'", "'KeepArtifacts': '1y' is not an age; use a number with its unit, such"),
        (
            "[Retention]\nKeep = 30",
            "'Keep': invalid type: integer `30`, expected a number with its unit, such as \"30d\"",
        ),
        ("[Retention]\nMaxArtifactBytes = 0", "'MaxArtifactBytes': must be more than 0, and is 0; leave it out"),
        ("[Retention]\nMaxArtifactBytes = 'much'", "'MaxArtifactBytes': 'much' is not a size"),
        ("[Retention]\nEvery = '0s'", "'Every': must be 1s to 168h0m0s, and is 0s"),
        ("[Retention]\nEvery = '169h'", "'Every': must be 1s to 168h0m0s, and is 169h0m0s"),
        ("[Retention]\nEvery = '1d'", "'Every': time: unknown unit \"d\" in duration \"1d\""),
        ("[Retention]\nGrace = '999ms'", "config.toml, line 2, column 9: 'Grace': must be at least 1s, and is 999ms"),
        ("[Server]\nMaxConnections = 0", "'MaxConnections': must be 1 to 1000000"),
        ("[Server]\nJobspecs = ''", "'Jobspecs' is empty"),
        ("[Server]\nHosts = ['http://x/']", "'Hosts': 'http://x/' is not a host's name"),
        ("[Server]\nAuth = 'password'", "'Auth': unknown variant `password`, expected `token` or `none`"),
        ("[Limits]\nMaxQueued = 0", "'MaxQueued': must be 1 to 1000000000, and is 0"),
        ("[Limits]\nRequestsPerMinute = 0", "'RequestsPerMinute': must be 1 to 1000000000, and is 0"),
        ("[Retention]\nKeepAudit = '0s'", "'KeepAudit': must be more than 0"),
        ("[Storage]\nURL = 'artifacts'", "config.toml, line 2, column 7: 'URL': is not a store's URL; use file:"),
        ("[Storage]\nURL = 'ftp://x'", "'URL': is not a store's URL"),
    ];
    for (text, expected) in table {
        let problem = problem(text);
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(problem.starts_with("config.toml, line ") && !problem.contains('\n'), "{text}: {problem}");
    }
}

#[test]
fn mistakes_of_variables_name_them() {
    let table = [
        ("JOBMGR_SERVER__LISTN", "x", "unknown key 'LISTN'; did you mean 'Listen'?"),
        ("JOBMGR_SEVER__LISTEN", "x", "unknown key 'SEVER'; did you mean 'Server'?"),
        ("JOBMGR_SERVER__", "x", "unknown key ''; the keys here are Listen, Auth"),
        ("JOBMGR_SERVER__LISTEN__PORT", "1", "unknown key 'PORT'; 'Server.Listen' is a value, not a section"),
        ("JOBMGR_SERVER__LISTEN", "", "is empty; give it a value, or unset it"),
        ("JOBMGR_SERVER__LISTEN", "127.0.0.1:70000", "'70000' is not a port; use 1 to 65535, or 0 for any free one"),
        ("JOBMGR_SERVER__LISTEN", "0.0.0.0:80", "other machines can reach 0.0.0.0:80"),
        ("JOBMGR_WORKER__CONCURRENCY", "many", "'many' is not a whole number"),
        ("JOBMGR_WORKER__CONCURRENCY", "0", "'Concurrency': must be 1 to 1024, and is 0"),
        ("JOBMGR_STORAGE__OPTIONS", "x", "is a section; name one of its keys"),
        ("JOBMGR_DATABASE__HOST", "db", "key 'Username' is missing; [Database] needs all of Host, Username, Database"),
        ("JOBMGR_DATABASE__TLS", "verify", "'TLS': is for a server, and this is an SQLite file"),
        ("JOBMGR_WORKER__LABELS", "gpu, os=", "'Labels': 'os=' is not a label"),
        ("JOBMGR_RETENTION__KEEP", "30", "'Keep': '30' is not an age"),
    ];
    for (name, value, expected) in table {
        let problem = problem_of(name, value);
        assert!(problem.starts_with(&format!("{name}: ")) && problem.contains(expected), "{problem}");
    }
    let twice = load("", &[("JOBMGR_WORKER__POLL", "1s"), ("jobmgr_worker__poll", "2s")]).unwrap_err();
    assert_eq!(twice, "jobmgr_worker__poll: JOBMGR_WORKER__POLL sets the same; unset one of them");
}

#[test]
fn listen_addresses() {
    let listen = |value: &str| load(&format!("[Server]\nAuth = 'none'\nListen = '{value}'"), &[]);
    let accepted = [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("LocalHost:0", "127.0.0.1:0"),
        ("[::1]:80", "[::1]:80"),
        ("[::]:65535", "[::]:65535"),
        ("0.0.0.0:9845", "0.0.0.0:9845"),
    ];
    for (value, expected) in accepted {
        assert_eq!(listen(value).unwrap().server.listen.to_string(), expected);
    }
    let refused = [
        ("127.0.0.1", "'127.0.0.1' has no port; use an IP address and a port, such as 127.0.0.1:9845"),
        ("", "'' has no port"),
        (":80", "'' is not an IP address or localhost"),
        ("::1:80", "'::1' is not an IP address"),
        ("[::1]", "'[:' is not an IP address"),
        ("example.org:80", "'example.org' is not an IP address or localhost"),
        ("300.0.0.1:80", "'300.0.0.1' is not an IP address"),
        ("unix:/run/jobmgr.sock", "'unix' is not an IP address"),
        ("127.0.0.1:", "'' is not a port"),
        ("127.0.0.1:-1", "'-1' is not a port"),
        ("127.0.0.1:+80", "'+80' is not a port"),
        ("127.0.0.1:65536", "'65536' is not a port"),
        ("127.0.0.1:http", "'http' is not a port"),
    ];
    for (value, expected) in refused {
        let problem = listen(value).unwrap_err();
        assert!(
            problem.starts_with("config.toml, line 3, column 10: 'Listen': ") && problem.contains(expected),
            "{problem}"
        );
    }
}

#[test]
fn other_machines_are_let_in_only_when_it_is_meant() {
    for open in ["0.0.0.0:80", "[::]:80", "192.168.1.7:80", "[::ffff:192.168.1.7]:80"] {
        let problem = problem(&format!("[Server]\nListen = '{open}'"));
        assert!(problem.starts_with("config.toml, line 2, column 10: 'Listen': other machines can reach"), "{problem}");
        assert!(problem.contains("Auth = \"token\"") && problem.contains("Auth = \"none\""), "{problem}");
        for auth in ["token", "none"] {
            assert!(load(&format!("[Server]\nListen = '{open}'\nAuth = '{auth}'"), &[]).is_ok(), "{auth}");
        }
    }
    for local in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        assert!(load(&format!("[Server]\nListen = '{local}'"), &[]).is_ok(), "{local}");
    }
}

#[test]
fn the_public_url_is_a_servers() {
    for bad in ["", "jobs.example.org", "ftp://h/", "http://", "http://h/?x=1", "http://user:pw@h/", "h:80"] {
        let problem = problem(&format!("[Server]\nPublicURL = '{bad}'"));
        assert!(problem.starts_with("config.toml, line 2, column 13: 'PublicURL': "), "{problem}");
    }
    for good in ["http://h", "http://h:80/", "https://h/below/it", "http://[::1]:9845"] {
        assert!(load(&format!("[Server]\nPublicURL = '{good}'"), &[]).is_ok(), "{good}");
    }
}

#[test]
fn webhooks_lead_where_the_configuration_says() {
    let variables =
        [("JOBMGR_WEBHOOKS__ALLOWEDHOSTS", "hooks.internal, ::1"), ("JOBMGR_WEBHOOKS__RETRYAFTER", "1s, 1m")];
    let webhooks = load("[Webhooks]\nAllowedNetworks = ['10.0.0.0/8', 'fd00::/8']\nTimeout = '5s'", &variables);
    let webhooks = webhooks.unwrap().webhooks;
    assert_eq!(webhooks.allowed_hosts, ["hooks.internal", "::1"]);
    assert_eq!((webhooks.allowed_networks.len(), webhooks.timeout), (2, Duration::from_secs(5)));
    assert_eq!(webhooks.retry_after, [1, 60].map(Duration::from_secs));
    for (text, expected) in [
        ("AllowedHosts = ['http://h']", "'http://h' is neither a host's name nor an IP address"),
        ("AllowedHosts = ['h:80']", "'h:80' is neither"),
        ("AllowedHosts = ['']", "'' is neither"),
        ("AllowedNetworks = ['10.0.0.0']", "'10.0.0.0' is not a network"),
        ("AllowedNetworks = ['10.0.0.0/33']", "'10.0.0.0/33' is not a network"),
        ("RetryAfter = ['0s']", "'RetryAfter': must be 100ms to 720h"),
        ("RetryAfter = ['-1s']", "must not be negative, and is -1s"),
        ("RetryAfter = ['soon']", "invalid duration"),
        ("Timeout = '2m'", "'Timeout': must be 100ms to 1m"),
    ] {
        let problem = problem(&format!("[Webhooks]\n{text}"));
        assert!(problem.starts_with("config.toml, line 2") && problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn secrets_of_the_wrong_type_are_never_shown() {
    for wrong in [
        "[Database]\nPassword = 31337",
        "[Storage.Options]\nsecret_access_key = 31337",
        "[AWS]\nSecretAccessKey = 31337",
    ] {
        assert!(!problem(wrong).contains("31337"), "{}", problem(wrong));
    }
}

#[test]
fn one_place_for_artifacts() {
    let aws = "[AWS]\nAccessKeyID = 'a'\nSecretAccessKey = 'hunter2'\nRegion = 'c'\nArtifactsBucket = 'd'\n";
    let problem = problem(&format!("{aws}[Storage]\nURL = 'file:x'"));
    let expected = "config.toml, line 7, column 7: 'URL': [AWS] names a place for artifacts too; remove [AWS], or URL in [Storage]";
    assert_eq!(problem, expected);
}

#[test]
fn debug_output_has_no_secrets() {
    let text = "[AWS]\nAccessKeyID = 'a'\nSecretAccessKey = 'hunter2'\nRegion = 'c'\nArtifactsBucket = 'd'\n\
        [Database]\nURL = 'sqlite:hunter2'\n[Storage.Options]\nsecret_access_key = 'hunter2'";
    let shown = format!("{:?}", load(text, &[]).unwrap());
    assert!(
        !shown.contains("hunter2") && shown.contains("secret_access_key") && shown.contains("sqlite:***"),
        "{shown}"
    );
    let server = "[Database]\nHost = 'db'\nUsername = 'u'\nPassword = 'hunter2'\nDatabase = 'd'";
    let shown = format!("{:?}", load(server, &[]).unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("\"db\""), "{shown}");
}

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The example without the `#` before its settings; those that are marked as examples only where asked for.
fn example(with_examples: bool) -> String {
    let settings = EXAMPLE.lines().filter_map(|line| match line.strip_prefix('#') {
        Some(setting) => setting.starts_with(|c: char| c == '[' || c.is_alphanumeric()).then_some(setting),
        None => Some(line),
    });
    settings.filter(|line| with_examples || !line.ends_with("# example")).map(|line| format!("{line}\n")).collect()
}

/// The paths of all keys that a schema has; free tables count as keys.
fn paths(schema: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    let options = schema["anyOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
    for (key, schema) in options.iter().filter_map(|schema| schema["properties"].as_object()).flatten() {
        let path = format!("{prefix}{key}");
        paths(schema, &format!("{path}."), into);
        into.insert(path);
    }
    // Tables whose names are the user's.
    for schema in options.iter().filter_map(|schema| schema.get("additionalProperties")) {
        paths(schema, &format!("{prefix}NAME."), into);
    }
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let text = example(true);
    Document::read::<Config>(&text).unwrap().value::<Config>().unwrap();
    let table: toml::Table = text.parse().unwrap();
    let mut written = BTreeSet::new();
    for (section, keys) in &table {
        written.insert(section.clone());
        for (key, value) in keys.as_table().unwrap() {
            match value.as_table().filter(|_| section == "Executors") {
                Some(executor) => written.extend(executor.keys().map(|key| format!("{section}.NAME.{key}"))),
                None => drop(written.insert(format!("{section}.{key}"))),
            }
            // A table within a line.
            for inner in value.as_table().filter(|_| section == "Server").into_iter().flatten() {
                written.insert(format!("{section}.{key}.{}", inner.0));
            }
        }
    }
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Config>();
    let mut known = BTreeSet::new();
    paths(schema.as_value(), "", &mut known);
    assert!(known.contains("AWS.AccessKeyID") && known.contains("Worker.MaxArtifacts"));
    assert_eq!(written, known);
}

#[test]
fn the_files_of_tls_are_a_pair() {
    let files = Some(TlsFiles { certificate: "c.pem".into(), key: "k.pem".into() });
    assert_eq!(load("[Server]\nTLS = { Certificate = 'c.pem', key = 'k.pem' }", &[]).unwrap().server.tls, files);
    let variables = [("JOBMGR_SERVER__TLS__CERTIFICATE", "c.pem"), ("JOBMGR_SERVER__TLS__KEY", "k.pem")];
    assert_eq!(load("", &variables).unwrap().server.tls, files);
    for (text, word) in [
        ("[Server]\nTLS = { Certificate = 'c.pem' }", "'Key'"),
        ("[Server]\nTLS = { Certificate = '', Key = 'k' }", "'Certificate' is empty"),
        ("[Server]\nTLS = { Certificate = 'c', Key = 'k', Ky = 'x' }", "'Ky'"),
        ("[Server]\nTLS = 'c.pem'", "TLS"),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with("config.toml, line 2") && problem.contains(word), "{problem}");
    }
}

#[test]
fn traces_need_an_address_and_somebody_who_sends_them() {
    assert!(problem("[Telemetry]\nOTLP = 'here'").contains("'OTLP': 'here' is not the address of a server"));
    let found = load("[Telemetry]\nOTLP = 'http://127.0.0.1:4318'", &[]);
    match cfg!(feature = "otel") {
        true => assert!(found.unwrap().telemetry.otlp.is_some()),
        false => assert!(found.unwrap_err().contains("--features otel")),
    }
}

#[test]
fn the_example_says_the_defaults() {
    let mut expected = Config::default();
    // What these two are when they are left out is settled by those who open them.
    expected.database.url = Some("sqlite:jobmgr.db".into());
    expected.storage.url = Some("file:artifacts-store".into());
    assert_eq!(load(&example(false), &[]).unwrap(), expected);
    assert!(example(false).contains("Listen = \"127.0.0.1:9845\"\n"));
    assert_eq!(load(EXAMPLE, &[]).unwrap(), Config::default(), "as it stands it changes nothing");
}

#[test]
fn the_schema_is_for_editors() {
    let schema = schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let server = &schema["definitions"]["Server"]["properties"];
    assert_eq!((&server["Listen"]["default"], &server["Auth"]["default"]), (&"127.0.0.1:9845".into(), &Value::Null));
    assert_eq!(schema["definitions"]["Worker"]["properties"]["Lease"]["default"], "1m0s");
}
