use super::{plugin, plugin_in_c, stderr, stdout};
use crate::support::server::Home;

#[test]
fn a_job_runs_without_a_line_of_configuration() {
    let home = Home::new("");
    plugin(&home, "jobmgr-executor-template", "mine");
    let echo =
        "Command = 'sh'\nArguments = ['-c', 'echo $JOBMGR_PARAMETER_WHO; echo x > $JOBMGR_ARTIFACTS_DIR/a; exit 4']";
    let spec =
        format!("{echo}\nPreserveEnvVars = ['PATH']\nExecutor = 'mine'\n[[Parameter]]\nName = 'who'\nType = 'string'");
    home.spec("greet", &spec);
    std::fs::write(home.path("own.json"), r#"{"Before": ["env", "EXTRA=1"]}"#).unwrap();
    let lines = ["plugin", "run", "plugins/libmine.so", "jobspecs/greet.toml", "-p", "who=you", "--config", "own.json"];
    let output = home.jobmgr(&lines).args(["--artifacts", "out"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(4), "you\n"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(home.path("out/a")).unwrap(), "x\n");
    let output = home.jobmgr(&lines).arg("--in-process").output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(4), "you\n"), "{}", stderr(&output));
    assert!(stderr(&output).contains(r#"{"ending":{"exited":4}"#), "{}", stderr(&output));
    assert_eq!(home.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn in_process_is_in_this_process() {
    let home = Home::new("");
    plugin(&home, "jobmgr-executor-bad", "bad");
    home.spec("crash", "Command = '-'\nExecutor = 'bad'\n[Options]\nMode = 'segv'");
    let lines = ["plugin", "run", "plugins/libbad.so", "jobspecs/crash.toml"];
    let output = home.jobmgr(&lines).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("SIGSEGV"), "{}", stderr(&output));
    let output = home.jobmgr(&lines).arg("--in-process").output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(11), "{output:?}");
}

#[test]
fn what_the_library_prints_itself_is_shown() {
    let home = Home::new("");
    plugin(&home, "jobmgr-executor-bad", "bad");
    home.spec("print", "Command = '-'\nExecutor = 'bad'\n[Options]\nMode = 'print'");
    let output = home.jobmgr(&["plugin", "run", "plugins/libbad.so", "jobspecs/print.toml"]).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), String::new()));
    let line = "jobmgr: executor: printed, without an end of the line";
    assert!(stderr(&output).lines().any(|shown| shown == line), "{}", stderr(&output));
}

#[test]
fn what_is_wrong_is_told() {
    let home = Home::new("");
    plugin(&home, "jobmgr-executor-template", "mine");
    home.spec("plain", "Command = 'x'");
    home.spec("mine", "Command = 'x'\nExecutor = 'mine'");
    std::fs::write(home.path("list.json"), "[1]").unwrap();
    for (arguments, words) in [
        (&["plugins/none.so", "jobspecs/mine.toml"][..], "none.so: No such file"),
        (&["plugins/libmine.so", "jobspecs/none.toml"], "jobspecs/none.toml: No such file"),
        (&["plugins/libmine.so", "jobspecs/plain.toml"], "'Executor' is missing"),
        (&["plugins/libmine.so", "jobspecs/mine.toml", "-p", "who=you"], "parameter 'who' is not declared"),
        (&["plugins/libmine.so", "jobspecs/mine.toml", "--config", "list.json"], "the configuration is an object"),
    ] {
        let output = home.jobmgr(&["plugin", "run"]).args(arguments).output().unwrap();
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_list_has_all_of_them() {
    let config = "[Executors.mine]\nPlugin = 'plugins/libmine.so'\n[Executors.gone]\nPlugin = 'plugins/gone.so'\n";
    let home = Home::new(config);
    plugin(&home, "jobmgr-executor-template", "mine");
    let output = home.jobmgr(&["plugin", "list"]).output().unwrap();
    let text = stdout(&output);
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.starts_with(&format!("ok     process: built in, version {version}\n")), "{text}");
    assert!(text.contains(&format!("ok     mine: template {version}, ABI 1.0, runs one job at a time\n")), "{text}");
    let sha256 = text.split("libmine.so sha256 ").nth(1).unwrap().split('\n').next().unwrap();
    assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
    assert!(text.contains("WRONG  gone: plugins/gone.so: gone.so: No such file"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    let flags = ["-DWRONG_MAGIC"];
    if plugin_in_c(&home, "jobmgr/tests/plugins/wrong.c", "gone", &flags).is_some() {
        std::fs::rename(home.path("plugins/libgone.so"), home.path("plugins/gone.so")).unwrap();
        let text = stdout(&home.jobmgr(&["plugin", "list"]).output().unwrap());
        assert!(text.contains("WRONG  gone: plugins/gone.so: gone.so: bad magic 0x1"), "{text}");
    }
}
