use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use sha2::{Digest, Sha256};

use super::{MARK, Plugged, tell};
use crate::support::libraries::{of_c, of_crate};
use crate::support::server::eventually;

fn sha256(file: &Path) -> String {
    Sha256::digest(std::fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_library_that_others_may_change_is_not_opened() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &[]) else { return };
    let (folder, file) = (plugged.home.path("plugins"), plugged.home.path("plugins/good.so"));
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let server = plugged.serve();
    let mut rows = vec![("everybody", &file, 0o666), ("everybody", &folder, 0o777)];
    if rustix::process::geteuid().is_root() {
        // Neither root's nor the user's own.
        for path in [&file, &folder] {
            std::os::unix::fs::chown(path, None, Some(1)).unwrap();
        }
        rows.extend([("group daemon", &file, 0o664), ("group daemon", &folder, 0o775)]);
    }
    for (who, path, mode) in rows {
        let before = path.metadata().unwrap().permissions().mode();
        chmod(path, mode);
        let told = tell(&server, "good");
        assert_eq!(told.reason.as_deref(), Some("executor_error"), "{told:?}");
        let real = path.canonicalize().unwrap();
        let real = real.display();
        let text = format!("good.so: {who} may write to {real}, and so decide what runs here; chmod or chown it");
        assert_eq!(told.error, text);
        chmod(path, before);
        assert_eq!(tell(&server, "good").ended.status, "completed");
    }
}

#[test]
fn a_library_that_was_replaced_is_what_the_next_job_gets() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.c("good", "good.c", &["-DVERSION=\"1.0.0\""]) else { return };
    let (file, new) = (plugged.home.path("plugins/good.so"), plugged.home.path("plugins/new"));
    let server = plugged.serve();
    for version in ["1.0.0", "2.0.0-beta", "3.1"] {
        let flag = format!("-DVERSION=\"{version}\"");
        if version != "1.0.0" {
            let Some(()) = of_c("good.c", &new, &[&flag]) else { return };
            std::fs::rename(&new, &file).unwrap();
        }
        // The second one has the spare of the first.
        for _ in 0..2 {
            let told = tell(&server, "good");
            assert_eq!(told.ended.result, "hello from C\n");
            let about = serde_json::json!({"name": "good", "version": version, "sha256": sha256(&file)});
            assert_eq!(told.attempt["executor"], about);
        }
    }
}

fn check(plugged: &Plugged) -> (Output, String) {
    let output = plugged.home.jobmgr(&["check"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

#[test]
fn check_names_the_place_of_a_wrong_option() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("right", "ok", "", "");
    let (output, text) = check(&plugged);
    assert!(
        output.status.success() && text.contains("ok     executor bad: bad 0.1.0, ABI 1.0, runs one job"),
        "{text}"
    );
    let spec = |options: &str| format!("Command = \"x\"\nExecutor = \"bad\"\n\n[Options]\n{options}\n");
    for (options, complaint) in [
        ("Mode = \"ok\"\nModus = 1", "wrong.toml: line 6, column 9: 'Options': unknown key 'Modus'; the keys here are"),
        ("Mode = \"ok\"\nMod = 1", "wrong.toml: line 6, column 7: 'Options': unknown key 'Mod'; did you mean 'Mode'?"),
        ("Mode = 1", "wrong.toml: line 5, column 8: "),
        ("Mode = \"ok\"\nSize = -1", "wrong.toml: line 6, column 8: "),
        ("Size = 1", "'Options': key 'Mode' is missing"),
        // What its schema does not say, it says itself.
        ("Size = 1\nMode = \"invalid\"", "wrong.toml: line 6, column 8: 'Options': Mode: 'invalid' is not valid"),
    ] {
        plugged.home.spec("wrong", &spec(options));
        let (output, text) = check(&plugged);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(complaint), "{options}: {text}");
    }
    plugged.home.spec("wrong", "Command = \"x\"\nExecutor = \"bat\"\n");
    let (output, text) = check(&plugged);
    assert!(output.status.code() == Some(1) && text.contains("line 2, column 12") && text.contains("bad"), "{text}");
}

#[test]
fn check_names_the_place_of_a_wrong_executor() {
    for (config, complaint) in [
        (
            "[Executors.process]\nPlugin = \"x.so\"\n",
            "config.toml, line 1, column 1: 'process' is the executor that is built in; give yours another name",
        ),
        ("[Executors.x]\nPlugin = \"\"\n", "config.toml, line 2, column 10: 'Plugin' is empty"),
        ("[Executors.x]\nPlugin = \"x.so\"\nMemory = \"much\"\n", "config.toml, line 3, column 10: "),
        ("[Executors.x]\nPlugin = \"x.so\"\nPlugins = 1\n", "config.toml, line 3"),
        ("[Executors.x]\n", "missing"),
    ] {
        let plugged = Plugged::new(config);
        let (output, text) = check(&plugged);
        assert!(output.status.code() == Some(2) && text.contains(complaint), "{config}: {text}");
    }
    let plugged = Plugged::new("");
    plugged.executor("gone", &plugged.home.path("plugins/gone.so"), "");
    let (output, text) = check(&plugged);
    assert!(output.status.code() == Some(1), "{text}");
    assert!(text.contains("WRONG  executor gone: gone.so: No such file or directory (os error 2)"), "{text}");
}

#[test]
fn check_names_the_place_of_a_wrong_configuration() {
    let Some(library) = of_crate("jobmgr-executor-outside") else { return };
    for (config, line, column, complaint) in [
        ("Foldr = \"x\"", 1, 9, "'Config': unknown key 'Foldr'; did you mean 'Folder'?"),
        ("Folder = \"x\"\nMore = 1", 2, 8, "'Config': unknown key 'More'; the only key here is Folder"),
        ("\nFolder = 4711", 2, 10, "'Config': 'Folder': the value is not of type \"string\""),
        ("", 0, 1, "'Config': key 'Folder' is missing"),
    ] {
        let plugged = Plugged::new("");
        plugged.executor("outside", &library, &format!("[Executors.outside.Config]\n{config}"));
        plugged.home.spec("job", "Command = \"x\"\nExecutor = \"outside\"\n");
        let text = std::fs::read_to_string(plugged.home.path("config.toml")).unwrap();
        let section = 1 + text.lines().position(|line| line == "[Executors.outside.Config]").unwrap();
        let complaint = format!("config.toml, line {}, column {column}: {complaint}", section + line);
        let (output, text) = check(&plugged);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("WRONG  executor outside: {complaint}")), "{complaint}: {text}");
        // The server starts all the same, and jobs of that executor say it too.
        let told = tell(&plugged.serve(), "job");
        assert_eq!((told.reason.as_deref(), &*told.error), (Some("executor_error"), &*complaint));
    }
}

/// Executors say in a process of their own what is wrong with options, and have a second for it.
#[test]
fn an_executor_that_does_not_say_whether_options_are_right_holds_nobody_up() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    for (name, mode) in [("asked-first", "validate_hangs"), ("crashes", "validate_crashes"), ("ok", "ok")] {
        plugged.mode(name, mode, "", "");
    }
    let since = std::time::Instant::now();
    let server = plugged.serve();
    assert!(since.elapsed() < std::time::Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(tell(&server, "ok").ended.result, "hello\n");
    let told = tell(&server, "crashes");
    assert_eq!(told.reason.as_deref(), Some("executor_error"), "{told:?}");
    plugged.assert_nothing_left(1);
    let log = plugged.home.log();
    assert_eq!(log.matches("can't say whether options are right").count(), 1, "it is not asked again: {log}");
}

/// A jobspec that is changed while the server runs is looked at too.
#[test]
fn what_only_its_executor_knows_of_a_new_jobspec_is_known_soon() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("job", "ok", "", "");
    let server = plugged.serve();
    assert_eq!(tell(&server, "job").ended.result, "hello\n");
    plugged.mode("job", "invalid", "", "");
    eventually("it is refused before it runs", || tell(&server, "job").error.contains("job.toml: line 5, column 8:"));
}

/// What a library can see of its server's environment: what it may know, and what its section names.
#[test]
fn secrets_of_the_server_are_not_in_an_executors_environment() {
    let plugged = Plugged::new("");
    let Some(()) = plugged.bad("") else { return };
    plugged.mode("env", "env", "", "");
    let mut command = plugged.home.jobmgr(&["serve"]);
    let secrets = ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "DATABASE_URL", "RUST_BACKTRACE"];
    command.envs(secrets.map(|name| (name, "s3cret"))).env(MARK, plugged.home.dir.path());
    // `jobmgr` itself has JOBMGR_SERVER__LISTEN.
    command.env("LANG", "C.UTF-8");
    let server = plugged.home.serve_by(command);
    let told = tell(&server, "env");
    let mut names: Vec<&str> = told.ended.result.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert!(names.contains(&"PATH") && names.contains(&"LANG") && names.contains(&MARK), "{names:?}");
    let may = ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TEMP", "TMP", "TMPDIR"];
    let may = [&may[..], &["TZ", "USER", "USERPROFILE", "XDG_RUNTIME_DIR", MARK]].concat();
    assert!(names.iter().all(|name| may.contains(name)), "{names:?}");
    assert!(!told.ended.result.contains("s3cret"), "{}", told.ended.result);
    // Nor in what the system says that it was started with.
    for runner in plugged.runners() {
        let environment = std::fs::read(format!("/proc/{runner}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains("s3cret"));
    }
}
