//! What a job sees and changes.

use std::os::unix::fs::PermissionsExt;

use jobmgr_executor_process::{Limits, Options, Sandbox, Size};
use jobmgr_plugin_api::Outcome;

use super::{Place, assert_no_group, can, sandbox, with};
use crate::linux::{assert_no_child, sh};
use crate::support::{alone, run};

#[test]
fn a_readonly_job_writes_in_its_own_directory_only() {
    alone(|| {
        if !can(&["Sandbox"]) {
            return;
        }
        let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "seen").unwrap();
        let (folder, secret) = (outside.path().display(), secret.display());
        let script = format!(
            "cat {secret}; echo; echo x > {folder}/made || echo 1; echo x >> {secret} || echo 2; rm {secret} || echo 3; \
             mkdir {folder}/more || echo 4; ln -s a {folder}/b || echo 5; mv artifacts {folder}/c || echo 6; \
             echo x > /dev/null && echo 7; echo y > artifacts/y && mv artifacts/y y && cat y; mktemp >/dev/null && echo 8; \
             echo err > /dev/stderr; (echo x > /proc/self/oom_score_adj) || echo 9"
        );
        let ran = place.run_in(sh(&script), sandbox(Sandbox::Readonly));
        assert_eq!(ran.text(), "seen\n1\n2\n3\n4\n5\n6\n7\ny\n8\n9\n", "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(std::fs::read_to_string(secret.to_string()).unwrap(), "seen");
        assert_eq!(*ran.outcome(), Outcome::exited(0));
    });
}

#[test]
fn a_private_job_reads_the_system_and_its_own_only() {
    alone(|| {
        if !can(&["Sandbox"]) {
            return;
        }
        let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
        let other = place.root.path().join("8-1");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("secret"), "seen").unwrap();
        std::fs::write(outside.path().join("given"), "given\n").unwrap();
        let script = format!(
            "cat {}/secret || echo 1; ls {} || echo 2; ls /root || echo 3; ls /home || echo 4; ls / || echo 5; \
             cat /etc/passwd > /dev/null && echo 6; ls /usr/bin > /dev/null && echo 7; echo own > own && cat own; \
             kill -0 {} || echo 8; sh -c 'ls /root' || echo 9; grep NoNewPrivs /proc/self/status",
            other.display(),
            place.root.path().display(),
            std::process::id(),
        );
        let ran = place.run_in(sh(&script), sandbox(Sandbox::Private));
        let said = ran.text().replace("\n8\n", "\n");
        assert_eq!(said, "1\n2\n3\n4\n5\n6\n7\nown\n9\nNoNewPrivs:\t1\n", "{}", String::from_utf8_lossy(&ran.stderr));
        // Where it starts is its own to read, not to write; so is its command.
        let program = outside.path().join("given.sh");
        std::fs::write(&program, "#!/bin/sh\ncat given; echo x > made || echo closed\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let mut job = with(crate::support::job([program.display().to_string()]), sandbox(Sandbox::Private));
        job.dir = place.own.display().to_string();
        job.working_directory = outside.path().display().to_string();
        let ran = run(&job);
        assert_eq!(ran.text(), "given\nclosed\n", "{}", String::from_utf8_lossy(&ran.stderr));
    });
}

#[test]
fn all_of_it_goes_together() {
    alone(|| {
        if !can(&["User", "Sandbox", "Memory", "Pids"]) {
            return;
        }
        let place = Place::new();
        let limits = Limits { memory: Some(Size(64 << 20)), pids: Some(30), cpus: None, files: Some(128) };
        let options = Options { user: Some("nobody".into()), limits, sandbox: Sandbox::Private, allow_batch: false };
        let ran =
            place.run_in(sh("id -un; ulimit -n; echo x > artifacts/x && echo made; ls /root || echo closed"), options);
        assert_eq!(ran.text(), "nobody\n128\nmade\nclosed\n", "{ran:?}");
        assert_no_child();
        assert_no_group();
    });
}
