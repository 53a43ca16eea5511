//! What is special to Windows.

use std::time::Duration;

use jobmgr_plugin_api::{Kind, Outcome};

use crate::support::{alone, job, run};

#[test]
fn batch_files_are_refused_unless_they_are_allowed() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello.bat");
        std::fs::write(&path, "@echo hello %1\r\n@exit 3\r\n").unwrap();
        let whole = path.display().to_string();
        let short = dir.path().join("hello").display().to_string();
        for name in [whole, short] {
            let mut batch = job([name, "you".into()]);
            let ran = run(&batch);
            assert_eq!(ran.error().kind(), Kind::Invalid);
            assert!(ran.error().to_string().contains("AllowBatch"), "{ran:?}");
            batch.options.allow_batch = true;
            let ran = run(&batch);
            assert_eq!((ran.outcome(), ran.text().trim()), (&Outcome::exited(3), "hello you"));
        }
    });
}

#[test]
fn what_is_no_program_is_said_so() {
    alone(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.exe");
        std::fs::write(&path, "no program").unwrap();
        let ran = run(&job([path.display().to_string()]));
        assert_eq!(ran.error().kind(), Kind::Invalid);
        assert!(ran.error().to_string().contains("text.exe: exec format error"), "{ran:?}");
    });
}

#[test]
fn a_grandchild_with_the_output_is_given_two_seconds() {
    alone(|| {
        let ran = run(&job(["cmd", "/d", "/c", "start /b ping -n 600 127.0.0.1 & exit 3"]));
        assert_eq!(*ran.outcome(), Outcome::exited(3));
        assert!((1.9..10.0).contains(&ran.took.as_secs_f64()), "{:?}", ran.took);
        assert!(ran.warnings()[0].starts_with("output pipe left open"), "{ran:?}");
        assert!(jobmgr_executor_process::end_descendants(Duration::ZERO), "something is left");
    });
}

#[test]
fn what_is_for_linux_only_is_refused() {
    alone(|| {
        for (json, option) in [(r#"{"User": "somebody"}"#, "User"), (r#"{"Sandbox": "readonly"}"#, "Sandbox")] {
            let mut refused = job(["cmd", "/d", "/c", "exit 0"]);
            refused.options = jobmgr_plugin_api::serde_json::from_str(json).unwrap();
            let ran = run(&refused);
            assert_eq!(ran.error().kind(), Kind::Invalid);
            assert_eq!(ran.error().to_string(), format!("'{option}' is for Linux; on Windows, leave it out"));
        }
    });
}
