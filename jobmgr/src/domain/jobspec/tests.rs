use std::time::Duration;

use super::*;
use crate::domain::job::Reason;

fn parse(text: &str) -> Jobspec {
    Jobspec::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"))
}

fn mistake(text: &str) -> String {
    Jobspec::parse(text).unwrap_err().to_string()
}

/// The mistake of a jobspec that is right but for `lines`.
fn mistake_in(lines: &str) -> String {
    mistake(&format!("Command = \"x\"\n{lines}"))
}

#[test]
fn a_command_is_enough() {
    let expected = Jobspec {
        description: None,
        command: "/bin/true".into(),
        arguments: vec![],
        working_directory: None,
        preserve_env_vars: vec![],
        env: BTreeMap::new(),
        timeout: Duration::from_secs(10),
        kill_grace: Duration::from_secs(5),
        executor: "process".into(),
        options: serde_json::Map::new(),
        priority: 50,
        parameters: vec![],
        gpus: 0,
        requires: vec![],
        max_running: None,
        queue_timeout: None,
        retry: None,
        rerun_after_crash: true,
        keep: None,
        keep_failed: None,
        keep_artifacts: None,
        // printf 'Command = "/bin/true"' | sha256sum
        hash: "4d7a52e5b188166685da7dca9221102ee9258cbd777f4a4bbd1f64815c7366ad".into(),
    };
    assert_eq!(parse("Command = \"/bin/true\""), expected);
}

#[test]
fn every_key_is_read() {
    let spec = parse(
        r#"
        #:schema ../openapi/jobspec.schema.json
        Description = "does it"
        Command = "./somecoolscript.sh"
        Arguments = ["--some-useful-flag"]
        WorkingDirectory = "/opt/something/"
        PreserveEnvVars = ["PATH"]
        Timeout = "1m30s"
        KillGrace = "200ms"
        Executor = "docker"
        Priority = 7
        Requires = ["gpu", "os=linux"]
        Gpus = 4
        MaxRunning = 2
        QueueTimeout = "1h"
        Retry = { Max = 3, Backoff = "1m", On = ["timeout", "unkillable"] }
        RerunAfterCrash = false
        Keep = "30d"
        KeepFailed = "2w"
        KeepArtifacts = "12h"
        [Env]
        lower = "a"
        [Options]
        Image = "x"
        since = 1979-05-27T07:32:00Z
        nested = { Numbers = [1, 2.5] }
        [[Parameter]]
        Name = "message"
        Type = "string"
        Description = "what to say"
        Default = "hi"
        [[Parameter]]
        Name = "style"
        Type = "enum"
        Values = ["plain", 2]
        Optional = true
        "#,
    );
    assert_eq!(spec.description.as_deref(), Some("does it"));
    assert_eq!(spec.command, "./somecoolscript.sh");
    assert_eq!(spec.arguments, ["--some-useful-flag"]);
    assert_eq!(spec.working_directory.as_deref(), Some("/opt/something/"));
    assert_eq!(spec.preserve_env_vars, ["PATH"]);
    assert_eq!((spec.timeout, spec.kill_grace), (Duration::from_secs(90), Duration::from_millis(200)));
    assert_eq!((spec.executor.as_str(), spec.priority), ("docker", 7));
    assert_eq!(spec.env, BTreeMap::from([("lower".into(), "a".into())]));
    let options = serde_json::json!({"Image": "x", "since": "1979-05-27T07:32:00Z", "nested": {"Numbers": [1, 2.5]}});
    assert_eq!(serde_json::Value::from(spec.options), options);
    let [message, style] = &spec.parameters[..] else { panic!("two parameters") };
    assert_eq!((message.kind.clone(), message.default.as_deref()), (ParameterType::String, Some("hi")));
    assert_eq!(message.description.as_deref(), Some("what to say"));
    assert_eq!(style.kind, ParameterType::Enum(vec!["plain".into(), "2".into()]));
    assert!(style.optional && !message.optional);
    let [minute, hour] = [60, 3600].map(Duration::from_secs);
    assert_eq!((spec.requires.as_slice(), spec.max_running), (&["gpu".to_owned(), "os=linux".to_owned()][..], Some(2)));
    assert_eq!(spec.gpus, 4);
    assert_eq!((spec.queue_timeout, spec.rerun_after_crash), (Some(hour), false));
    let retry = Retry { max: 3, backoff: minute, on: vec![Reason::Timeout, Reason::Unkillable] };
    assert_eq!(spec.retry, Some(retry));
    let kept = [spec.keep, spec.keep_failed, spec.keep_artifacts];
    assert_eq!(kept, [720, 336, 12].map(|hours| Some(hour * hours)));
}

#[test]
fn a_retry_needs_only_its_number() {
    let own = [Reason::ExitCode, Reason::Signal, Reason::Timeout];
    let on = [&own[..], &[Reason::ExecutorError, Reason::Preempted, Reason::NodeLost]].concat();
    let expected = Retry { max: 1, backoff: Duration::from_secs(10), on };
    assert_eq!(parse("Command = 'x'\n[Retry]\nMax = 1").retry, Some(expected));
    assert_eq!(parse("Command = 'x'\nRetry = { max = 100, backoff = '0s' }").retry.unwrap().backoff, Duration::ZERO);
}

#[test]
fn the_reasons_for_a_retry_are_those_of_the_schema() {
    let known = schema()["definitions"]["Retry"]["properties"]["On"]["items"].to_string();
    for reason in Reason::ALL {
        let listed = known.contains(&format!("\"{}\"", reason.as_str()));
        assert_eq!(listed, retry::REASONS.contains(&reason), "{reason:?} {known}");
    }
}

#[test]
fn workers_have_what_a_jobspec_requires() {
    let spec = parse("Command = 'x'\nRequires = ['gpu', 'os=linux']");
    let labels = |list: &[&str]| list.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    assert_eq!(spec.matches(&labels(&["os=linux", "arm", "gpu"])), Ok(()));
    assert_eq!(spec.matches(&labels(&["os=windows", "gpu"])), Err("label os=linux is missing".to_owned()));
    assert_eq!(spec.matches(&[]), Err("labels gpu, os=linux are missing".to_owned()));
    assert_eq!(parse("Command = 'x'").matches(&[]), Ok(()));
}

#[test]
fn keys_match_without_regard_to_case() {
    let spec = parse("command = \"/bin/echo\"\nARGUMENTS = [\"x\"]\n[[parameter]]\nname = \"n\"\ntype = \"int\"\n");
    assert_eq!((spec.command.as_str(), spec.arguments.len(), spec.parameters.len()), ("/bin/echo", 1, 1));
}

#[test]
fn mistakes_name_line_and_remedy() {
    assert_eq!(
        mistake("Command = \"/bin/echo\"\nTimout = \"1h\"\n"),
        "line 2, column 1: unknown key 'Timout'; did you mean 'Timeout'?"
    );
    assert!(mistake("Command = \n").starts_with("line 1, column "));
    assert_eq!(mistake("Arguments = [\"x\"]\n"), "key 'Command' is missing");
    assert_eq!(mistake("Command = ''"), "line 1, column 11: 'Command' is empty; it names the executable to run");
    assert!(mistake_in("[[Parameter]]\nName = 'n'\nType = 'int'\nTimeout = '1s'").contains("must stand above"));
}

#[test]
fn timeouts() {
    assert_eq!(parse("Command = 'x'\nTimeout = '0'").timeout, Duration::from_secs(10));
    assert_eq!(parse("Command = 'x'\nTimeout = '0s'").timeout, Duration::from_secs(10));
    assert_eq!(parse("Command = 'x'\nKillGrace = '0'").kill_grace, Duration::ZERO);
    let table = [
        ("Timeout = '-1s'", "'Timeout': must not be negative, and is -1s"),
        ("KillGrace = '-1s'", "'KillGrace': must not be negative, and is -1s"),
        ("Timeout = ''", r#"time: invalid duration """#),
        ("Timeout = '10'", r#"'Timeout': time: missing unit in duration "10"; use a duration with its unit"#),
        ("Timeout = '1d'", r#"time: unknown unit "d" in duration "1d""#),
        ("Timeout = '99999999h'", r#"time: invalid duration "99999999h""#),
        ("Timeout = 5", "integer `5`, expected a duration with its unit, such as \"1m30s\""),
        ("Timeout = 1.5", "floating point `1.5`, expected a duration"),
    ];
    for (line, expected) in table {
        let mistake = mistake_in(line);
        assert!(mistake.starts_with("line 2, column ") && mistake.contains(expected), "{line}: {mistake}");
    }
}

#[test]
fn values_that_cannot_serve_are_refused() {
    let table = [
        ("Priority = 101", "'Priority' must be 0 to 100, and is 101"),
        ("Priority = -1", "'Priority' must be 0 to 100"),
        ("Executor = 'Docker'", "executor 'Docker' is not valid"),
        ("Executor = ''", "executor '' is not valid"),
        ("Executor = '../x'", "executor '../x' is not valid"),
        ("Arguments = ['a', \"b\\u0000\"]", "line 2, column 19: 'Arguments' must not contain a NUL byte"),
        ("WorkingDirectory = ''", "'WorkingDirectory' is empty"),
        ("PreserveEnvVars = ['A=B']", "'A=B' can't be a variable"),
        ("PreserveEnvVars = ['']", "must not be empty"),
        ("Env = { '' = 'x' }", "must not be empty"),
        ("Env = { 'A=B' = 'x' }", "'A=B' can't be a variable"),
        ("Env = { JOBMGR_JOB_ID = 'x' }", "'JOBMGR_JOB_ID' can't be set in Env"),
        ("Env = { jobmgr_parameter_n = 'x' }", "can't be set in Env"),
        ("Env = { A = \"\\u0000\" }", "must not contain a NUL byte"),
        ("Options = { x = [nan] }", "must be a finite number"),
        ("Requires = ['gpu', 'a b']", "line 2, column 20: 'Requires': 'a b' is not a label; use up to 100 of"),
        ("Requires = ['gpu', 'gpu']", "line 2, column 20: 'Requires': 'gpu' is there twice"),
        ("Requires = 'gpu'", "'Requires' must be an array"),
        ("Gpus = 0", "line 2, column 8: 'Gpus' must be 1 to 64, and is 0; leave it out for a job that needs none"),
        ("Gpus = 65", "'Gpus' must be 1 to 64, and is 65"),
        (
            "Env = { CUDA_VISIBLE_DEVICES = '0' }\nGpus = 1",
            "line 2, column 32: 'CUDA_VISIBLE_DEVICES' is set to the GPUs that the job is given, since there is 'Gpus'",
        ),
        ("MaxRunning = 0", "'MaxRunning' must be 1 to 1000000, and is 0; leave it out for no limit"),
        ("MaxRunning = -1", "'MaxRunning' must be 1 to 1000000, and is -1"),
        ("MaxRunning = 1000001", "'MaxRunning' must be 1 to 1000000"),
        ("QueueTimeout = '0'", "'QueueTimeout' must be more than 0s, and is 0s; leave it out to wait for ever"),
        ("QueueTimeout = '-1s'", "'QueueTimeout' must be more than 0s, and is -1s"),
        ("QueueTimeout = '1d'", "'QueueTimeout': time: unknown unit \"d\" in duration \"1d\""),
        ("Retry = 3", "'Retry' must be a table"),
        ("Retry = {}", "'Retry': key 'Max' is missing"),
        ("Retry = { Max = 0 }", "line 2, column 17: 'Max' must be 1 to 100, and is 0; leave out Retry"),
        ("Retry = { Max = 101 }", "'Max' must be 1 to 100, and is 101"),
        ("Retry = { Max = 1, Backof = '1s' }", "unknown key 'Backof'; did you mean 'Backoff'?"),
        ("Retry = { Max = 1, Backoff = '24h1s' }", "'Backoff' must be 0s to 24h0m0s, and is 24h0m1s"),
        ("Retry = { Max = 1, Backoff = '-1s' }", "'Backoff': must not be negative, and is -1s"),
        ("Retry = { Max = 1, On = [] }", "'On' is empty; leave it out, or name the reasons"),
        ("Retry = { Max = 1, On = ['timeout', 'timeout'] }", "line 2, column 37: 'On': 'timeout' is there twice"),
        (
            "Retry = { Max = 1, On = ['canceled'] }",
            "line 2, column 26: 'On': 'canceled' is not a reason that a job can cause; use exit_code, signal, timeout, \
             executor_error, artifact_limit, unkillable, oom_killed, preempted, node_lost",
        ),
        ("RerunAfterCrash = 'no'", "'RerunAfterCrash': invalid type: string \"no\", expected true or false"),
        ("Keep = '0s'", "'Keep': must be more than 0, and is '0s'; leave it out to keep for ever"),
        ("KeepFailed = '1y'", "'KeepFailed': '1y' is not an age; use a number with its unit, such as \"30d\""),
        ("KeepArtifacts = 5", "'KeepArtifacts': invalid type: integer `5`, expected a number with its unit"),
    ];
    for (line, expected) in table {
        let mistake = mistake_in(line);
        assert!(mistake.starts_with("line 2, column ") && mistake.contains(expected), "{line}: {mistake}");
    }
}

fn parameters(list: &[&str]) -> String {
    let tables = list.iter().map(|keys| format!("[[Parameter]]\n{keys}\n"));
    format!("Command = 'x'\n{}", tables.collect::<String>())
}

#[test]
fn parameters_that_cannot_serve_are_refused() {
    let table = [
        ("Name = 'n'", "'Parameter': key 'Type' is missing; 'Parameter' needs all of Name, Type"),
        ("Type = 'int'", "'Parameter': key 'Name' is missing"),
        ("Name = 'n'\nType = 'floot'", "line 4, column 8: type 'floot' of parameter 'n' is not valid; use string,"),
        ("Name = 'n'\nType = 'Int'", "type 'Int' of parameter 'n' is not valid"),
        ("Name = 'n'\nType = ''", "type '' of parameter 'n' is not valid"),
        ("Name = ''\nType = 'int'", "line 3, column 8: a parameter's name must not be empty"),
        ("Name = 'a=b'\nType = 'int'", "must not have '=' or control characters"),
        ("Name = \"a\\u0000\"\nType = 'int'", "must not have '=' or control characters"),
        ("Name = \"a\\n\"\nType = 'int'", "parameter 'a\\n' must not"),
        ("Name = 'n'\nType = 'enum'", "parameter 'n' is an enum and needs Values"),
        ("Name = 'n'\nType = 'enum'\nValues = []", "parameter 'n' is an enum and needs Values"),
        ("Name = 'n'\nType = 'enum'\nValues = ['a', 'a']", "has the value 'a' twice"),
        ("Name = 'n'\nType = 'int'\nValues = ['1']", "parameter 'n' has Values; they are for the type enum"),
        (
            "Name = 'n'\nType = 'enum'\nValues = ['a']\nDefault = 'b'",
            "line 6, column 11: the default 'b' of parameter 'n'",
        ),
        (
            "Name = 'n'\nType = 'int'\nDefault = 'x'",
            "the default 'x' of parameter 'n' is not valid: it must be a whole",
        ),
        ("Name = 'n'\nType = 'int'\nDefault = 1.5", "the default '1.5' of parameter 'n' is not valid"),
        ("Name = 'n'\nType = 'string'\nDefault = []", "'Default': invalid type: sequence"),
        (
            "Name = 'n'\nType = 'file'\nDefault = 'x'",
            "line 5, column 11: parameter 'n' is a file, which has no Default",
        ),
        (
            "Name = 'n'\nType = 'file'\nSecret = true",
            "line 5, column 10: parameter 'n' is a file; Secret is for values",
        ),
        ("Name = 'n'\nType = 'string'\nSecret = true\nDefault = 'x'", "line 6, column 11: parameter 'n' is secret"),
    ];
    for (keys, expected) in table {
        let mistake = mistake(&parameters(&[keys]));
        assert!(mistake.contains(expected) && mistake.starts_with("line "), "{keys}: {mistake}");
    }
}

#[test]
fn defaults_need_no_quotes_and_are_as_the_job_gets_them() {
    let text = parameters(&[
        "Name = 'i'\nType = 'int'\nDefault = '+07'",
        "Name = 'j'\nType = 'int'\nDefault = 5",
        "Name = 'f'\nType = 'float'\nDefault = 0.5",
        "Name = 'b'\nType = 'bool'\nDefault = true",
        "Name = 'c'\nType = 'bool'\nDefault = 0",
    ]);
    let defaults: Vec<_> = parse(&text).parameters.into_iter().filter_map(|parameter| parameter.default).collect();
    assert_eq!(defaults, ["7", "5", "0.5", "true", "false"]);
}

/// The variables of string parameters with these names.
fn variables(names: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let tables: Vec<_> = names.iter().map(|name| format!("Name = '{name}'\nType = 'string'")).collect();
    let spec = Jobspec::parse(&parameters(&tables.iter().map(String::as_str).collect::<Vec<_>>()));
    Ok(spec.map_err(|mistake| mistake.to_string())?.parameters.into_iter().map(|one| one.variables).collect())
}

#[test]
fn variables_are_the_originals_and_a_readable_twin() {
    let table = [
        ("message", vec!["MESSAGE"]),
        ("my message", vec!["MY_MESSAGE"]),
        ("a  b", vec!["A__B"]),
        ("x9", vec!["X9"]),
        ("other-option", vec!["OTHER-OPTION", "OTHER_OPTION"]),
        ("dot.ted", vec!["DOT.TED", "DOT_TED"]),
        ("\u{e9}t\u{e9}", vec!["\u{c9}T\u{c9}", "_T_"]),
        ("stra\u{df}e", vec!["STRA\u{df}E", "STRA_E"]),
        ("LD_PRELOAD", vec!["LD_PRELOAD"]),
        ("BASH_FUNC_x%%", vec!["BASH_FUNC_X%%", "BASH_FUNC_X__"]),
    ];
    for (name, expected) in table {
        let expected: Vec<_> = expected.iter().map(|rest| format!("JOBMGR_PARAMETER_{rest}")).collect();
        assert_eq!(variables(&[name]).unwrap(), [expected], "{name}");
    }
}

#[test]
fn row_08_variables_that_collide() {
    let refused = variables(&["a b", "A_B"]).unwrap_err();
    assert_eq!(refused, "line 6, column 8: parameters 'a b' and 'A_B' both become JOBMGR_PARAMETER_A_B; rename one");
    assert!(variables(&["n", "n"]).unwrap_err().contains("parameter 'n' is there twice"));
    let one = |name: &str| vec![format!("JOBMGR_PARAMETER_{name}")];
    // A twin that is another's exact name, and two twins that are the same, are left out.
    assert_eq!(variables(&["a-b", "a_b"]).unwrap(), [one("A-B"), one("A_B")]);
    assert_eq!(variables(&["a-b", "a.b"]).unwrap(), [one("A-B"), one("A.B")]);
}

/// A parameter becomes no variable that means something to others, whatever its name is.
#[test]
fn row_09_variables_are_always_prefixed() {
    for name in ["LD_PRELOAD", "PATH", "BASH_FUNC_x%%", "IFS", "JOBMGR_JOB_ID"] {
        let all = variables(&[name]).unwrap().concat();
        assert!(all.iter().all(|variable| variable.starts_with("JOBMGR_PARAMETER_")), "{all:?}");
    }
    for name in ["", "A=B", "=", "a\u{1}b", "\u{7f}"] {
        let table = format!("Name = {}\nType = 'string'", toml::Value::String(name.into()));
        assert!(Jobspec::parse(&parameters(&[&table])).is_err(), "{name:?}");
    }
}

#[test]
fn the_schema_is_for_editors() {
    let schema = schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["Command"]));
    assert_eq!(schema["properties"]["Timeout"]["default"], "10s");
    let properties = schema["properties"].as_object().unwrap();
    let undescribed: Vec<_> = properties.iter().filter(|(_, schema)| schema.get("description").is_none()).collect();
    assert!(undescribed.is_empty(), "{undescribed:?}");
    let parameter = &schema["definitions"]["Parameter"];
    assert_eq!(parameter["required"], serde_json::json!(["Name", "Type"]));
    assert!(parameter["properties"]["Type"].to_string().contains("\"enum\""), "{parameter}");
}
