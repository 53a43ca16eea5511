//! What jobs write: standard output, standard error, structured output, progress, artifacts.

use std::time::{Duration, Instant};

use jobmgr::domain::job::{Ended as Stored, Log, LogBody, Reason};
use serde_json::json;

use crate::support::server::{Home, Server, eventually};

/// A jobspec that runs Python.
fn python(home: &Home, name: &str, script: &str, more: &str) {
    let script = toml::Value::String(format!("import json,os,sys,time\nenv=os.environ\n{script}"));
    home.spec(name, &format!("Command = \"python3\"\nArguments = [\"-c\", {script}]\n{more}"));
}

fn stored(home: &Home, id: i64) -> Stored {
    home.stored(id).ended.unwrap()
}

/// The bytes of a kept stream.
fn bytes(home: &Home, log: &Log) -> Vec<u8> {
    match &log.body {
        LogBody::Inline(bytes) => bytes.clone(),
        LogBody::Object { key, size } => {
            let bytes = std::fs::read(home.path("artifacts-store").join(key)).unwrap();
            assert_eq!(bytes.len() as u64, *size);
            bytes
        }
    }
}

#[test]
fn every_byte_is_kept_and_shown_as_far_as_json_can() {
    let home = Home::new("");
    python(&home, "bytes", "os.write(1, bytes(range(256))); os.write(2, b'\\xff\\0\\xfe err\\n')", "");
    let server = home.serve();
    let id = server.start("bytes", json!({}));
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(server.wait(id).result, String::from_utf8_lossy(&all));
    let ended = stored(&home, id);
    assert_eq!(bytes(&home, &ended.stdout), all);
    assert_eq!(bytes(&home, &ended.stderr), b"\xff\0\xfe err\n");
}

#[test]
fn characters_on_the_edges_of_pieces_stay_whole() {
    let home = Home::new("");
    // Pieces of 64 KiB end within characters of 2, 3 and 4 bytes; written in pieces of other sizes.
    let script = "text=('x'+'é日😀'*20000).encode()\n\
                  for at in range(0,len(text),997): os.write(1,text[at:at+997])";
    python(&home, "edges", script, "");
    let server = home.serve();
    let id = server.start("edges", json!({}));
    let text = format!("x{}", "é日😀".repeat(20_000));
    assert!(server.wait(id).result == text);
    let ended = stored(&home, id);
    assert!(matches!(ended.stdout.body, LogBody::Object { .. }), "more than a column should hold");
    assert!(bytes(&home, &ended.stdout) == text.as_bytes());
}

#[test]
fn large_streams_come_back_whole() {
    let home = Home::new("");
    let script = "for n in range(100000): os.write(1+n%2, b'%08d\\n' % n)";
    python(&home, "large", script, "Timeout = \"1m\"");
    let server = home.serve();
    let id = server.start("large", json!({}));
    let lines = |start: usize| (start..100_000).step_by(2).map(|n| format!("{n:08}\n")).collect::<String>();
    assert!(server.wait(id).result == lines(0));
    let ended = stored(&home, id);
    assert_eq!(ended.stdout.written, 450_000);
    assert!(bytes(&home, &ended.stdout) == lines(0).into_bytes());
    assert!(bytes(&home, &ended.stderr) == lines(1).into_bytes());
}

#[test]
fn the_result_is_cut_between_characters_and_the_log_is_not() {
    let home = Home::new("[Server]\nMaxResultBytes = 1001");
    python(&home, "small", "os.write(1, '日'.encode()*1000)", "");
    python(&home, "large", "os.write(1, '日'.encode()*100000); sys.exit(4)", "");
    let server = home.serve();
    let id = server.start("small", json!({}));
    assert_eq!(server.wait(id).result, "日".repeat(333));
    assert_eq!(stored(&home, id).stdout.written, 3000);
    let id = server.start("large", json!({}));
    assert_eq!(server.wait(id).result, format!("{}\nexit status 4", "日".repeat(333)));
    assert!(bytes(&home, &stored(&home, id).stdout) == "日".repeat(100_000).into_bytes());
}

#[test]
fn a_failed_job_shows_its_output_then_the_reason() {
    let home = Home::new("");
    home.sh("plain", "printf 'all went'; echo noise >&2; exit 3", "");
    home.sh("line", "echo 'all went'; exit 3", "");
    home.sh("silent", "exit 3", "");
    home.sh("killed", "echo before; kill -9 $$", "");
    home.sh("late", "echo before; sleep 60", "Timeout = \"300ms\"");
    home.sh("needs", "", "[[Parameter]]\nName = \"n\"\nType = \"int\"");
    home.spec("missing", "Command = \"/no/such/program\"");
    home.spec("nowhere", "Command = \"true\"\nWorkingDirectory = \"/no/such/folder\"");
    let server = home.serve();
    for (name, parameters, result) in [
        ("plain", json!({}), "all went\nexit status 3"),
        ("line", json!({}), "all went\nexit status 3"),
        ("silent", json!({}), "exit status 3"),
        ("killed", json!({}), "before\nsignal: killed"),
        ("late", json!({}), "before\ntimeout after 300ms"),
        ("needs", json!({}), "parameter 'n' is required but not set"),
        ("absent", json!({}), "job does not exist"),
        ("missing", json!({}), "fork/exec /no/such/program: no such file or directory"),
        ("nowhere", json!({}), "chdir /no/such/folder: no such file or directory"),
    ] {
        let ended = server.run(name, parameters);
        assert_eq!((ended.status.as_str(), ended.result.as_str()), ("failed", result), "{name}");
    }
    let ended = server.run("needs", json!({ "n": "1x" }));
    assert!(ended.result.contains("'n'") && ended.result.contains("1x"), "{}", ended.result);
}

/// Runs a script that writes to `JOBMGR_OUTPUT`; gives the structured output and the warnings.
fn structured(home: &Home, server: &Server, name: &str, script: &str) -> (Option<serde_json::Value>, Vec<String>) {
    python(home, name, script, "");
    let id = server.start(name, json!({}));
    let ended = server.wait(id);
    assert_eq!(ended.status, "completed", "{ended:?}");
    let ended = stored(home, id);
    (ended.output, ended.warnings)
}

#[test]
fn structured_output_is_kept_or_a_warning_says_why_not() {
    let home = Home::new("");
    let server = home.serve();
    let whole = json!({ "text": "é\u{0}\n", "list": [1, 2.5, null, true], "large": 9_007_199_254_740_993_i64 });
    let script = format!("open(env['JOBMGR_OUTPUT'],'w').write(json.dumps(json.loads({:?})))", whole.to_string());
    assert_eq!(structured(&home, &server, "whole", &script), (Some(whole), vec![]));
    assert_eq!(structured(&home, &server, "none", "assert not os.path.exists(env['JOBMGR_OUTPUT'])"), (None, vec![]));
    for (name, script, why) in [
        ("text", "open(env['JOBMGR_OUTPUT'],'w').write('not so')", "it is not JSON"),
        ("empty", "open(env['JOBMGR_OUTPUT'],'w')", "it is not JSON"),
        ("bytes", "open(env['JOBMGR_OUTPUT'],'wb').write(b'\"\\xff\"')", "it is not JSON"),
        ("deep", "open(env['JOBMGR_OUTPUT'],'w').write('['*100000+']'*100000)", "it is not JSON"),
        ("huge", "open(env['JOBMGR_OUTPUT'],'w').write('\"'+'x'*(1<<20)+'\"')", "larger than 1048576 bytes"),
        ("sparse", "open(env['JOBMGR_OUTPUT'],'w').truncate(1<<40)", "larger than 1048576 bytes"),
        ("link", "os.symlink('/etc/hostname', env['JOBMGR_OUTPUT'])", "symlink"),
        ("fifo", "os.mkfifo(env['JOBMGR_OUTPUT'])", "fifo"),
        ("folder", "os.mkdir(env['JOBMGR_OUTPUT'])", ""),
    ] {
        let (output, warnings) = structured(&home, &server, name, script);
        assert_eq!(output, None, "{name}");
        let [warning] = &warnings[..] else { panic!("{name}: {warnings:?}") };
        assert!(warning.starts_with("JOBMGR_OUTPUT was left out: ") && warning.contains(why), "{name}: {warning}");
    }
}

#[test]
fn progress_is_in_the_row_while_the_job_runs() {
    let home = Home::new("");
    let script = "log=open(env['JOBMGR_PROGRESS'],'a')\n\
                  def say(line): log.write(line); log.flush()\n\
                  def wait(name):\n  while not os.path.exists(env['JOBMGR_PARAMETER_HOME']+'/'+name): time.sleep(.01)\n\
                  say('10 begun\\n'); time.sleep(.5); say('42.5 half\\n50 not yet'); wait('one')\n\
                  say(' so\\n'); wait('two'); say('100% done\\n')";
    python(&home, "slow", script, "Timeout = \"2m\"\n[[Parameter]]\nName = \"home\"\nType = \"string\"");
    let server = home.serve();
    let id = server.start("slow", json!({ "home": home.dir.path() }));
    let shows = |percent: f64, message: &str| {
        let progress = home.stored(id).progress;
        progress.is_some_and(|progress| progress.percent == percent && progress.message == message)
    };
    // The second line comes sooner after the first than progress is written, and no third one follows.
    eventually("the last complete line is shown", || shows(42.5, "half"));
    assert_eq!(server.job(id)["job"]["status"], "started");
    std::fs::write(home.path("one"), "").unwrap();
    eventually("the next line is shown", || shows(50.0, "not yet so"));
    std::fs::write(home.path("two"), "").unwrap();
    assert_eq!(server.wait(id).status, "completed");
    assert!(shows(100.0, "done"), "{:?}", home.stored(id).progress);
}

#[test]
fn a_line_that_is_no_progress_is_a_warning_once() {
    let home = Home::new("");
    home.sh("odd", "for word in half most all; do echo $word >> \"$JOBMGR_PROGRESS\"; sleep 0.3; done", "");
    let server = home.serve();
    let id = server.start("odd", json!({}));
    assert_eq!(server.wait(id).status, "completed");
    let warnings = stored(&home, id).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("JOBMGR_PROGRESS"), "{warnings:?}");
}

#[test]
fn too_many_or_too_large_artifacts_fail_the_job_and_keep_its_output() {
    let home = Home::new("[Worker]\nMaxArtifacts = 3\nMaxArtifactBytes = 1000");
    home.sh("many", "echo out; cd \"$JOBMGR_ARTIFACTS_DIR\"; touch a b c d", "");
    home.sh("large", "echo out; head -c 1001 /dev/zero > \"$JOBMGR_ARTIFACTS_DIR/a\"", "");
    home.sh("sparse", "truncate -s 1T \"$JOBMGR_ARTIFACTS_DIR/a\"", "");
    home.sh("failed", "cd \"$JOBMGR_ARTIFACTS_DIR\"; touch a b c d; exit 7", "");
    home.sh("enough", "cd \"$JOBMGR_ARTIFACTS_DIR\"; touch a b; head -c 1000 /dev/zero > c", "");
    let server = home.serve();
    for (name, begins) in [
        ("many", "out\ntoo many artifacts: more than 3 files"),
        ("large", "out\nthe artifacts are too large: at least 1001 bytes"),
        ("sparse", "the artifacts are too large: at least 1099511627776 bytes"),
    ] {
        let id = server.start(name, json!({}));
        let ended = server.wait(id);
        assert!(ended.status == "failed" && ended.result.starts_with(begins), "{name}: {ended:?}");
        assert!(ended.artifacts.is_empty());
        assert_eq!(home.stored(id).reason, Some(Reason::ArtifactLimit));
    }
    // The job's own failure stands.
    let id = server.start("failed", json!({}));
    assert_eq!(server.wait(id).result, "exit status 7");
    assert!(stored(&home, id).warnings[0].starts_with("too many artifacts"), "{:?}", stored(&home, id).warnings);
    assert_eq!(server.run("enough", json!({})).artifacts.len(), 3);
}

#[test]
fn what_is_no_plain_file_is_named_with_its_reason() {
    let home = Home::new("");
    std::fs::write(home.path("secret"), "canary").unwrap();
    let script = "cd \"$JOBMGR_ARTIFACTS_DIR\"; echo fine > fine.txt; mkdir -p sub/deep empty; : > sub/deep/nothing\n\
                  ln -s \"$JOBMGR_PARAMETER_HOME/secret\" link; ln -s .. up; ln -s . sub/loop; mkfifo pipe\n\
                  printf 'name\\n' > \"$(printf 'new\\nline.txt')\"; echo é > 'é ü.txt'";
    home.sh("mixed", script, "[[Parameter]]\nName = \"home\"\nType = \"string\"");
    let server = home.serve();
    let id = server.start("mixed", json!({ "home": home.dir.path() }));
    let ended = server.wait(id);
    let names: Vec<&str> = ended.artifacts.iter().map(|artifact| artifact["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fine.txt", "new\nline.txt", "sub/deep/nothing", "é ü.txt"]);
    assert_eq!(server.download(&ended.artifacts[0]), b"fine\n");
    assert_eq!(server.download(&ended.artifacts[1]), b"name\n");
    assert_eq!(server.download(&ended.artifacts[2]), b"");
    let skipped = stored(&home, id).skipped;
    let skipped: Vec<(&str, &str)> = skipped.iter().map(|one| (one.name.as_str(), one.reason.as_str())).collect();
    assert_eq!(skipped, [("link", "symlink"), ("pipe", "fifo"), ("sub/loop", "symlink"), ("up", "symlink")]);
}

#[test]
fn failed_and_timed_out_jobs_leave_their_artifacts_too() {
    let home = Home::new("");
    home.sh("failed", "echo 1 > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"; exit 1", "");
    home.sh("late", "echo 2 > \"$JOBMGR_ARTIFACTS_DIR/a.txt\"; sleep 60", "Timeout = \"300ms\"");
    let server = home.serve();
    for (name, content) in [("failed", b"1\n"), ("late", b"2\n")] {
        let ended = server.run(name, json!({}));
        assert_eq!(ended.status, "failed");
        assert_eq!(server.download(&ended.artifacts[0]), content);
    }
}

#[test]
fn each_job_gets_its_directory_as_new() {
    let home = Home::new("");
    let look = "out=[]\n\
        for path in ['.','artifacts']: out.append((oct(os.stat(path).st_mode), sorted(os.listdir(path)), os.listxattr(path)))\n\
        assert os.path.samefile('artifacts', env['JOBMGR_ARTIFACTS_DIR'])\n\
        print(out, os.environ['JOBMGR_JOB_ID'] in os.getcwd())";
    python(&home, "look", look, "");
    let leavings = [
        "pass",
        "open('.hidden','w')",
        "open('artifacts/.hidden','w')",
        "os.chmod('.',0o777)",
        "os.chmod('artifacts',0o2700)",
        "os.mkdir('artifacts/empty')",
        "os.rmdir('artifacts')",
        "os.rmdir('artifacts'); open('artifacts','w')",
        "os.rmdir('artifacts'); os.symlink('/tmp','artifacts')",
        "os.rmdir('artifacts'); os.rmdir(os.getcwd())",
        "os.setxattr('.','user.from',b'another job')",
        "os.setxattr('artifacts','user.from',b'another job')",
    ];
    for (n, leave) in leavings.iter().enumerate() {
        python(&home, &format!("leave{n}"), leave, "");
    }
    let server = home.serve();
    let new = "[('0o40700', ['artifacts'], []), ('0o40700', [], [])] True\n";
    assert_eq!(server.run("look", json!({})).result, new);
    for (n, leave) in leavings.iter().enumerate() {
        let left = server.run(&format!("leave{n}"), json!({}));
        assert_eq!(left.status, "completed", "{leave}: {left:?}");
        assert_eq!(server.run("look", json!({})).result, new, "after {leave}");
    }
    eventually("nothing is left", || home.left_of_jobs().is_empty());
}

#[test]
fn the_folder_of_a_failed_job_stays_for_a_while() {
    let home = Home::new("[Worker]\nKeepFailed = \"3s\"");
    home.sh("fails", "echo evidence > evidence; pwd; exit 1", "");
    home.sh("works", "pwd", "");
    let server = home.serve();
    let ended = server.run("fails", json!({}));
    let since = Instant::now();
    let evidence = std::path::Path::new(ended.result.lines().next().unwrap()).join("evidence");
    assert_eq!(std::fs::read_to_string(&evidence).unwrap(), "evidence\n");
    let works = server.run("works", json!({}));
    let folder = std::path::PathBuf::from(works.result.trim_end());
    eventually("that of a completed job goes at once", || !folder.exists());
    if since.elapsed() < Duration::from_secs(2) {
        assert!(evidence.exists());
    }
    eventually("it goes in the end", || !evidence.parent().unwrap().exists());
    assert!(since.elapsed() > Duration::from_secs(2));
}
